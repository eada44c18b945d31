"""Conversion between records and the rows of a run folder's JSONL files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData
from echat_eval.io.hashing import facts_of
from echat_eval.io.inside import leads_out
from echat_eval.io.schema import (
    SHA256,
    STRING,
    Rule,
    Schema,
    is_number,
    is_whole,
    list_of,
    mapping_of,
    number,
    one_of,
    record_schema,
    shorten,
    text,
    whole,
)
from echat_eval.labels.declared import stored_cues, stored_from
from echat_eval.languages import ERROR_RATES
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
from echat_eval.store.repeats import join_repeat, split_repeat
from echat_eval.systems.select import MAX_REPEATS

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
    # Checked without resolving, because the run folder may be a relative path or a link, and because this is
    # done for every row. A link that leaves the folder has other bytes than its name states, or the same.
    file = row["file"]
    if leads_out(file) or "\0" in file:
        raise BadData(f"audio path {shorten(file)} leaves the run folder")
    return AudioRef(path=root / file, sha256=row["sha256"], seconds=row["seconds"])


def _is_emotion(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and is_number(value[1])


_NAME = text("a name")
_STATE = one_of(STATES)
_OBJECT = Rule(lambda value: isinstance(value, dict), "an object", sure=dict)
_AUDIO_SCHEMA = Schema({"file": text("a path in the run folder"), "sha256": SHA256, "seconds": number(0)})
_AUDIO = Rule(_AUDIO_SCHEMA.holds, "an object of file, sha256 and seconds")
_LABELS = mapping_of(STRING, "an object of texts")
_IDENTITY = {"key": STRING, "system": _NAME, "task": _NAME, "sample_id": _NAME}
_REPLY = record_schema(
    Reply,
    {
        "text": STRING,
        "audio": _AUDIO,
        "think": STRING,
        "perceived": _LABELS,
        "reply_emotion": STRING,
        "first_audio_seconds": number(0),
        "finish_reason": STRING,
        "usage": mapping_of(number(), "an object of numbers"),
        "first_audible_seconds": number(0),
        "round_trip_seconds": number(0),
        "interruptions": whole(0),
    },
)
_RESPONSE = record_schema(
    Response,
    _IDENTITY
    | {
        "state": _STATE,
        "reason": STRING,
        "reply": Rule(lambda value: _REPLY.holds(value), "an object with the fields of a reply"),
        "seconds": number(0),
        "tries": whole(0),
        "cached": Rule(lambda value: isinstance(value, bool), "true or false"),
        "turns": list_of(Rule(lambda value: _REPLY.holds(value), ""), "a list of replies"),
    },
)
_ANNOTATION = record_schema(
    Annotation, _IDENTITY | {"annotator": _NAME, "state": _STATE, "reason": STRING, "values": _OBJECT}
)
_SCORE = record_schema(
    Score,
    _IDENTITY
    | {
        "metric": _NAME,
        "state": _STATE,
        "value": number(),
        "weight": number(0),
        "reason": STRING,
        "evidence": _OBJECT,
    },
)
_TURN = record_schema(
    Turn, {"role": one_of(("user", "assistant")), "text": STRING, "audio": _AUDIO, "cues": _LABELS}
)
_TURNS = list_of(Rule(lambda value: _TURN.holds(value), ""), "a list of turns")
_SAMPLE = record_schema(
    Sample,
    {
        "task": _NAME,
        "id": _NAME,
        "audio": _AUDIO,
        "transcript": STRING,
        "cues": _LABELS,
        "language": STRING,
        "source": one_of(("real", "synthetic")),
        "speaker": STRING,
        "contrast_group": STRING,
        "references": list_of(STRING, "a list of texts"),
        "history": _TURNS,
        "asks": STRING,
        "instruction": STRING,
        "expect": one_of(("same",)),
        "own_cues": _OBJECT,
        "error_rate": one_of(ERROR_RATES),
        "turns": _TURNS,
        "words_suggest": _LABELS,
    },
)


_NUMBERS = list_of(number(), "a list of numbers")
_TEXTS = list_of(STRING, "a list of texts")
_EVIDENCE = Schema(
    {
        "grades": mapping_of(number(), "an object of numbers"),
        "points": _NUMBERS,
        "variance": number(0).optional(),
        "reasons": _TEXTS,
        "models": _TEXTS,
        "servers": _TEXTS,
        "verdicts": _TEXTS,
        "prompt_sha256": _TEXTS,
        "heard": Rule(_is_emotion, "an emotion and its confidence", required=False),
        "tokens": Rule(
            lambda value: isinstance(value, list) and len(value) == 2 and all(map(is_whole, value)),
            "two whole numbers",
        ),
        "opinions": _LABELS.optional(),
        "uncapped": _NUMBERS.optional(),
    }
)


def _checked(schema: Schema, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row without its null values, which stand for defaults.

    Raises:
        BadData: an unknown or missing key, or a value of the wrong type.
    """
    if not schema.holds(row):
        raise BadData(next(schema.faults(row))[1])
    return {name: value for name, value in row.items() if value is not None}


def _identified(schema: Schema, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of a response, annotation or score; its field `repeat` becomes part of its sample id."""
    if "repeat" not in row:
        return _checked(schema, row)
    repeat = row["repeat"]
    if not is_whole(repeat, low=2, high=MAX_REPEATS):
        raise BadData(f"'repeat' is {shorten(repeat)}, expected a whole number from 2 to {MAX_REPEATS}")
    found = _checked(schema, {name: value for name, value in row.items() if name != "repeat"})
    return {**found, "sample_id": join_repeat(found["sample_id"], repeat)}


def _identity_row(record: Response | Annotation | Score, skip: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the fields of a row, the number of a repeat beside the id of its sample."""
    row = _plain(record, skip)
    name, repeat = split_repeat(record.sample_id)
    return row if repeat == 1 else {**row, "sample_id": name, "repeat": repeat}


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
    skip = ("reply", "turns") if response.cached else ("reply", "turns", "cached")
    row = _identity_row(response, skip=skip)
    if response.reply is not None:
        row["reply"] = _reply_row(response.reply, root)
    if response.turns is not None:
        row["turns"] = [_reply_row(reply, root) for reply in response.turns]
    return row


def _reply_row(reply: Reply, root: Path) -> dict[str, Any]:
    row = _plain(reply, skip=("audio",))
    return row if reply.audio is None else {**row, "audio": _audio_row(reply.audio, root)}


def _reply_from(row: Mapping[str, Any], root: Path) -> Reply:
    found = _checked(_REPLY, row)
    return Reply(**{**found, "audio": _audio_from(found.get("audio"), root)})


def response_from(row: Mapping[str, Any], root: Path) -> Response:
    """Return the response in a row."""
    found = _identified(_RESPONSE, row)
    if (found["state"] == "value") != ("reply" in found):
        raise BadData(f"state is '{found['state']}', {'with' if 'reply' in found else 'without'} a reply")
    if "reply" in found:
        found["reply"] = _reply_from(found["reply"], root)
    if "turns" in found:
        found["turns"] = tuple(_reply_from(reply, root) for reply in found["turns"])
    return Response(**found)


def row_of_annotation(annotation: Annotation) -> dict[str, Any]:
    """Return an annotation as a row."""
    return _identity_row(annotation)


def annotation_from(row: Mapping[str, Any]) -> Annotation:
    """Return the annotation in a row."""
    return Annotation(**_identified(_ANNOTATION, row))


def row_of_score(score: Score) -> dict[str, Any]:
    """Return a score as a row; `value` is always present, and null if there is none."""
    row = {**_identity_row(score, skip=("evidence",)), "value": score.value}
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
    if not _JUDGE_FIELDS - {"opinions", "uncapped"} <= row.keys() <= _JUDGE_FIELDS:
        return row
    row = {**dict.fromkeys(_JUDGE_FIELDS), **_checked(_EVIDENCE, row)}
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
        opinions=row["opinions"] or {},
        uncapped=None if row["uncapped"] is None else tuple(row["uncapped"]),
    )


def score_from(row: Mapping[str, Any]) -> Score:
    """Return the score in a row."""
    found = _identified(_SCORE, row)
    if found["state"] == "value" and "value" not in found:
        raise BadData("state is 'value', without a value")
    if "evidence" in found:
        found["evidence"] = _evidence_from(found["evidence"])
    return Score(**found)


def row_of_sample(sample: Sample, root: Path) -> dict[str, Any]:
    """Return a sample as a row of the run's snapshot."""
    row = _plain(sample, skip=("audio", "history", "turns", "own_cues"))
    row["audio"] = _audio_row(sample.audio, root)
    for name, turns in (("history", sample.history), ("turns", sample.turns)):
        if turns:
            row[name] = [
                {**_plain(turn, skip=("audio",)), "audio": _audio_row(turn.audio, root)} for turn in turns
            ]
    if sample.own_cues:
        row["own_cues"] = stored_cues(sample.own_cues)
    return row


def sample_from(row: Mapping[str, Any], root: Path) -> Sample:
    """Return the sample in a row of the run's snapshot."""
    found = _checked(_SAMPLE, row)
    found["audio"] = _audio_from(found["audio"], root)
    found["references"] = tuple(found.get("references", ()))
    if "own_cues" in found:
        found["own_cues"] = stored_from(found["own_cues"])
    for name in ("history", "turns"):
        if name in found:
            found[name] = tuple(
                Turn(**{**_checked(_TURN, turn), "audio": _audio_from(turn.get("audio"), root)})
                for turn in found[name]
            )
    return Sample(**found)
