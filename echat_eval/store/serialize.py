"""Conversion between records and the rows of a run folder's JSONL files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData
from echat_eval.io.hashing import facts_of
from echat_eval.records import (
    STATES,
    Annotation,
    AudioRef,
    JudgeEvidence,
    Reply,
    Response,
    Sample,
    Score,
    Turn,
    Waveform,
)

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "annotation_from",
    "content_of_score",
    "json_of_evidence",
    "response_from",
    "row_of_annotation",
    "row_of_response",
    "row_of_sample",
    "row_of_score",
    "sample_from",
    "score_from",
]


def _audio_row(audio: AudioRef | Waveform | None, root: Path) -> dict[str, Any] | None:
    if audio is None:
        return None
    if isinstance(audio, Waveform):
        raise TypeError("store a waveform before writing its row")
    return {"file": str(audio.path.relative_to(root)), "sha256": audio.sha256, "seconds": audio.seconds}


def _audio_from(row: Mapping[str, Any] | None, root: Path) -> AudioRef | None:
    if row is None:
        return None
    # Checked without resolving, because the run folder may be a relative path or a link.
    file = PurePosixPath(row["file"])
    if file.is_absolute() or ".." in file.parts:
        raise BadData(f"{root}: audio path {row['file']!r} leaves the run folder")
    return AudioRef(path=root / file, sha256=row["sha256"], seconds=row["seconds"])


def _plain(record: Any, skip: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the fields of a record as JSON values, without those that are None or empty."""
    row: dict[str, Any] = {}
    for name in _fields_of(type(record)):
        value = getattr(record, name)
        if value is None or name in skip:
            continue
        if not isinstance(value, str | float | int):
            if value == () or value == {}:
                continue
            if isinstance(value, Mapping):
                value = dict(value)
            elif isinstance(value, tuple):
                value = list(value)
        row[name] = value
    return row


_FIELDS: dict[type, tuple[str, ...]] = {}
#: Field of a judge's evidence -> its name in rows.
_NAME_IN_ROWS = {"voice_emotion": "heard"}
_JUDGE_FIELDS = frozenset(_NAME_IN_ROWS.get(field.name, field.name) for field in fields(JudgeEvidence))


def _fields_of(kind: type) -> tuple[str, ...]:
    if kind not in _FIELDS:
        _FIELDS[kind] = tuple(field.name for field in fields(kind))
    return _FIELDS[kind]


def row_of_response(response: Response, root: Path) -> dict[str, Any]:
    """Return a response as a row; audio becomes a path relative to the run folder."""
    row = _plain(response, skip=("reply",) if response.cached else ("reply", "cached"))
    if response.reply is not None:
        row["reply"] = _plain(response.reply, skip=("audio",))
        if response.reply.audio is not None:
            row["reply"]["audio"] = _audio_row(response.reply.audio, root)
    return row


def response_from(row: Mapping[str, Any], root: Path) -> Response:
    """Return the response in a row."""
    reply = None
    if row.get("reply") is not None:
        inner = dict(row["reply"])
        inner["audio"] = _audio_from(inner.get("audio"), root)
        reply = Reply(**inner)
    return Response(**{**row, "reply": reply})


def row_of_annotation(annotation: Annotation) -> dict[str, Any]:
    """Return an annotation as a row."""
    return _plain(annotation)


def annotation_from(row: Mapping[str, Any]) -> Annotation:
    """Return the annotation in a row."""
    return Annotation(**row)


def row_of_score(score: Score) -> dict[str, Any]:
    """Return a score as a row; `value` is always present, and null if there is none."""
    row = {**_plain(score, skip=("evidence",)), "value": score.value}
    evidence = json_of_evidence(score.evidence)
    return {**row, "evidence": evidence} if evidence else row


def json_of_evidence(evidence: Mapping[str, Any] | JudgeEvidence) -> dict[str, Any]:
    """Return the evidence of a score as plain JSON."""
    if not isinstance(evidence, JudgeEvidence):
        return dict(evidence)
    facts: dict[str, Any] = facts_of(evidence)
    return {_NAME_IN_ROWS.get(name, name): value for name, value in facts.items()}


def content_of_score(score: Score) -> dict[str, Any]:
    """Return all facts of a score as plain JSON, to be hashed."""
    return {**facts_of(score), "evidence": json_of_evidence(score.evidence)}


def _evidence_from(row: Mapping[str, Any]) -> Mapping[str, Any] | JudgeEvidence:
    """Return the evidence in a row; a judge's has the fields of `JudgeEvidence`."""
    if not _JUDGE_FIELDS - {"opinions"} <= row.keys() <= _JUDGE_FIELDS:
        return row
    emotion, (prompt_tokens, answer_tokens) = row["heard"], row["tokens"]
    return JudgeEvidence(
        grades=row["grades"],
        points=tuple(row["points"]),
        variance=row["variance"],
        reasons=tuple(row["reasons"]),
        models=tuple(row["models"]),
        servers=tuple(row["servers"]),
        verdicts=tuple(row["verdicts"]),
        prompt_sha256=tuple(row["prompt_sha256"]),
        voice_emotion=None if emotion is None else (emotion[0], emotion[1]),
        tokens=(prompt_tokens, answer_tokens),
        opinions=row.get("opinions", {}),
    )


def score_from(row: Mapping[str, Any]) -> Score:
    """Return the score in a row."""
    if row.get("state") not in STATES:
        raise BadData(
            f"score of {row.get('sample_id')!r}: state {row.get('state')!r}; states are {', '.join(STATES)}"
        )
    return Score(**{**row, "evidence": _evidence_from(row.get("evidence", {}))})


def row_of_sample(sample: Sample, root: Path) -> dict[str, Any]:
    """Return a sample as a row of the run's snapshot."""
    row = _plain(sample, skip=("audio", "history"))
    row["audio"] = _audio_row(sample.audio, root)
    if sample.history:
        row["history"] = [
            {**_plain(turn, skip=("audio",)), "audio": _audio_row(turn.audio, root)}
            for turn in sample.history
        ]
    return row


def sample_from(row: Mapping[str, Any], root: Path) -> Sample:
    """Return the sample in a row of the run's snapshot."""
    inner = dict(row)
    inner["audio"] = _audio_from(row["audio"], root)
    inner["references"] = tuple(row.get("references", ()))
    inner["history"] = tuple(
        Turn(**{**turn, "audio": _audio_from(turn.get("audio"), root)}) for turn in row.get("history", ())
    )
    return Sample(**inner)
