"""Content keys: the hash of everything that determines a row, and of nothing else.

A path, a time or a place in a file is never part of a key; audio counts by its bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from echat_eval.io.hashing import digest, facts_of
from echat_eval.records import AudioRef, Request, Response, Sample

__all__ = [
    "annotation_key",
    "case_digest",
    "request_for",
    "response_key",
    "score_key",
]


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
