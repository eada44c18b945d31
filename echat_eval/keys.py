"""Content keys: the hash of everything that determines a row, and of nothing else.

A path, a time or a place in a file is never part of a key; audio counts by its bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from echat_eval.jsonl import dumps
from echat_eval.records import AudioRef, Request, Response, Sample

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "annotation_key",
    "case_digest",
    "digest",
    "facts_of",
    "request_for",
    "response_key",
    "score_key",
    "sha256_of_file",
]

#: Raised whenever a key's meaning changes, so that old rows are done again, never misread.
KEY_VERSION = 1


def facts_of(value: Any) -> Any:
    """Return what a value says, as plain JSON: records as mappings, audio as its hash."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list | tuple):
        return [facts_of(inner) for inner in value]
    if isinstance(value, AudioRef):
        return value.sha256
    if (names := _fields_of(type(value))) is not None:
        return {name: facts_of(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(name): facts_of(inner) for name, inner in value.items()}
    return value


_FIELDS: dict[type, tuple[str, ...] | None] = {}


def _fields_of(kind: type) -> tuple[str, ...] | None:
    """Return the names of a record's fields; None of what is no record."""
    if kind not in _FIELDS:
        _FIELDS[kind] = tuple(field.name for field in fields(kind)) if is_dataclass(kind) else None
    return _FIELDS[kind]


def digest(kind: str, facts: Any) -> str:
    """Return the sha256 of a kind and its facts.

    >>> digest("x", {"a": 1, "b": 2}) == digest("x", {"b": 2, "a": 1}) != digest("y", {"a": 1, "b": 2})
    True
    """
    return hashlib.sha256(dumps([KEY_VERSION, kind, facts_of(facts)]).encode()).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Return the hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def request_for(sample: Sample) -> Request:
    """Return what a system may know of a sample. The id says nothing, but is the same every time."""
    opaque = digest("request", [sample.task, sample.id, sample.audio])[:16]
    return Request(
        id=opaque,
        audio=sample.audio,
        language=sample.language,
        history=sample.history,
        instruction=sample.instruction,
    )


def response_key(
    name: str, settings: Mapping[str, Any], fingerprint: str | None, asked: Request | Sample
) -> str:
    """Return the key of a response; an oracle is asked with the whole sample."""
    # The id is opaque and the harness's own: the same audio asked twice is the same question.
    question = {k: v for k, v in facts_of(asked).items() if k != "id"}
    return digest("response", [name, settings, fingerprint, type(asked).__name__, question])


def annotation_key(
    name: str, version: str, settings: Mapping[str, Any], fingerprint: str, audio: AudioRef, language: str
) -> str:
    """Return the key of an annotation: the instrument and the bytes it heard."""
    return digest("annotation", [name, version, settings, fingerprint, audio, language])


def case_digest(sample: Sample, response: Response) -> str:
    """Return the hash of all that a scorer can see of one case but its annotations.

    It holds what was said, not how its row is keyed: a system asked again may answer otherwise.
    """
    said = [response.state, response.reason, response.reply, response.seconds]
    return digest("case", [sample, said])


def score_key(scorer: Mapping[str, Any], metric: str, cases: list[Any], sample_id: str) -> str:
    """Return the key of a score.

    Args:
        scorer: name, version, settings and fingerprint.
        metric: the metric's name.
        cases: of every case the score may depend on, in order, its digest and its annotations' keys.
        sample_id: whose score it is.
    """
    return digest("score", [scorer, metric, cases, sample_id])
