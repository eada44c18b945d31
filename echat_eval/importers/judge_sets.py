"""Sets that judges are held against: queries, replies to them, and people's labels of these replies.

TRACE       each query is a sample, with the replies of its pairs. Before its words stands the speaker's
            emotion, age or gender in brackets (S2S-Arena).
VStyle      each instruction of the ability "empathy" is a sample, with the reply of every model that people
            rated. Opinion scores of 1 to 5 become 0 to 100.

Rows of other kinds are refused with a reason. `human_labels` has the forms and their sources.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData, UsageError
from echat_eval.importers.draft import (
    Draft,
    DraftReply,
    Refusal,
    RowRefused,
    find_audio,
    label_of,
    language_of,
    source_of,
    text_of,
)
from echat_eval.importers.human_labels import (
    HIGHEST,
    LOWEST,
    WINNERS,
    label_rows,
    opinions_of,
    pair_answers,
    pair_rows,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from echat_eval.importers.draft import ImportOptions

__all__ = ["read_trace", "read_vstyle"]

#: People's answer about a pair -> grades of its replies; other answers are ties.
_SHARES, _EQUAL = {WINNERS[0]: (1.0, 0.0), WINNERS[1]: (0.0, 1.0)}, (0.5, 0.5)
#: "[emotion: sad]What should I do now?", "[men voice]..."
_TAG = re.compile(r"\s*\[(?:emotion:\s*(?P<emotion>[^\]]+)|(?P<voice>[^\]:]+) voice)\]\s*(?P<words>.+)", re.S)
#: The spelling of one label in the published file.
_MISSPELT = {"fealful": "fear"}
_VOICES = {
    "children": ("age", "child"),
    "adults": ("age", "adult"),
    "men": ("gender", "male"),
    "women": ("gender", "female"),
}
#: VStyle's class of a query -> emotion.
_EMPATHY = {
    "anger": "anger",
    "sadness_disappointment": "sad",
    "anxiety_fear": "fear",
    "joy_excitement": "happy",
}
#: Keys of the recording of a query.
_QUERY_KEYS = (
    "instruction_audio_path",
    "instruct_audio_path",
    "instruct_audio",
    "audio_path",
    "audio",
    "file_name",
)


def read_trace(path: Path, options: ImportOptions) -> Iterator[Draft | Refusal]:
    """Yield one draft per query with the replies of its pairs, and a refusal per pair that cannot be used.

    The label of the speaker's emotion, age or gender stands before the words of a query.

    Raises:
        UsageError: a folder without such a file.
        BadData: not a file of TRACE's form.
    """
    if path.is_dir():
        files = sorted(path.rglob("s2sarena.json"))
        if len(files) != 1:
            raise UsageError(f"{path}: {len(files)} files s2sarena.json below it; give one file of labels")
        path = files[0]
    found: dict[Path, list[_Pair]] = {}
    for location, row, index in pair_rows(path):
        try:
            pair = _pair(location, row, index, path.parent, options)
            found.setdefault(pair.query, []).append(pair)
        except RowRefused as refused:
            yield Refusal(location=location, id=index, reason=str(refused))
    for query, pairs in found.items():
        first = pairs[0]
        yield Draft(
            location=first.location,
            id=first.ident,
            audio=query,
            transcript=first.words,
            cues=first.cues,
            language=language_of(options),
            source=source_of(options),
            replies=_replies_in(pairs),
        )


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two replies to a query: (model, audio) each, and answers by dimension; `ident` names the query."""

    location: str
    index: str
    ident: str
    cues: Mapping[str, str]
    words: str
    query: Path
    replies: tuple[tuple[str, Path], tuple[str, Path]]
    answers: Mapping[str, str]


def _pair(location: str, row: Mapping[str, Any], index: str, folder: Path, options: ImportOptions) -> _Pair:
    cues, words = _spoken(text_of(row.get("instruction_text"), "instruction_text"))
    answers = pair_answers(location, row)
    language_of(options), source_of(options)  # refused before audio is searched
    query, first, second = (
        find_audio(row.get(name), options, folder)
        for name in ("instruction_path", "audio1_path", "audio2_path")
    )
    if len({query, first, second}) < 3:
        raise RowRefused(
            "its instruction and its replies are one file; name the folder above all of them with --audio"
        )
    models = [_system_name(row.get(name), name) for name in ("model_a", "model_b")]
    ident = re.sub(r"[\\/]+", "-", str(row["instruction_path"]).rpartition(".")[0]).strip("-.")
    replies = ((models[0], first), (models[1], second))
    return _Pair(location, index, ident, cues, words, query, replies, answers)


def _replies_in(pairs: Sequence[_Pair]) -> tuple[DraftReply, ...]:
    """Return the replies in pairs of one query; a model's second reply is that of `MODEL-2`, and so on."""
    systems: dict[tuple[str, Path], str] = {}
    grades: dict[tuple[str, Path], dict[tuple[str, str], float]] = {}
    for pair in pairs:
        for side, reply in enumerate(pair.replies):
            if reply not in systems:
                number = 1 + sum(model == reply[0] for model, _ in systems)
                systems[reply] = reply[0] if number == 1 else f"{reply[0]}-{number}"
            # One rating per pair: people compared some replies more than once, in different pairs.
            for dimension, answer in pair.answers.items():
                grade = _SHARES.get(answer, _EQUAL)[side]
                grades.setdefault(reply, {})[f"pair-{pair.index}", dimension] = grade
    return tuple(
        DraftReply(system=system, audio=reply[1], grades=grades[reply], scale=(0.0, 1.0))
        for reply, system in systems.items()
    )


def _system_name(model: Any, key: str) -> str:
    """Return a model's name as that of a system, which is also a file's."""
    return re.sub(r"[^\w.+-]+", "-", text_of(model, key)).strip(".-")[:100]


def _spoken(text: str) -> tuple[dict[str, str], str]:
    """Return the labels before an instruction, and its words."""
    found = _TAG.fullmatch(text)
    if found is not None and found["emotion"]:
        spelling = found["emotion"].strip().casefold()
        label = label_of("emotion", _MISSPELT.get(spelling, spelling))
        if label is not None:
            return {"emotion": label}, found["words"].strip()
    if found is not None and found["voice"] and (voice := _VOICES.get(found["voice"].strip().casefold())):
        return dict((voice,)), found["words"].strip()
    raise RowRefused(
        "states no emotion, age or gender of the speaker before its words, and rubrics grade by that; "
        "`check judge --labels` takes a judge's own rows"
    )


def read_vstyle(folder: Path, options: ImportOptions) -> Iterator[Draft | Refusal]:
    """Yield one draft per instruction, with every reply that people rated; a refusal per other reply.

    Raises:
        UsageError: no labels, or no rows of replies.
        BadData: labels or rows of another form.
    """
    files = [folder] if folder.is_file() else sorted(folder.rglob("metadata.jsonl"))
    if not files:
        raise UsageError(f"{folder}: no metadata.jsonl below it; expected the rows of VStyle-responses")
    if options.labels is None:
        raise UsageError(
            "vstyle without --labels; name the folder of annotators, such as human_eval_res/en of "
            "VStyle-eval-results"
        )
    people, _ = opinions_of(options.labels)
    queries = _queries(options.audio)
    found: dict[str, list[tuple[str, Mapping[str, Any], Path]]] = {}
    for path in files:
        for location, row in label_rows(path):
            if row.get("response_audio_path") is not None:
                found.setdefault(str(row.get("instruct_id")), []).append((location, row, path.parent))
    if not found:
        raise BadData(f"{files[0]}: no row has 'response_audio_path'; expected the rows of VStyle-responses")
    for instruct, rows in found.items():
        yield from _instruction(instruct, rows, people, queries, folder, options)


def _instruction(
    instruct: str,
    rows: list[tuple[str, Mapping[str, Any], Path]],
    people: Mapping[tuple[str, str], Mapping[str, float]],
    queries: Mapping[str, tuple[str, Path]],
    folder: Path,
    options: ImportOptions,
) -> Iterator[Draft | Refusal]:
    """Yield the draft of an instruction and a refusal for each of its replies that cannot be used."""
    replies: dict[str, DraftReply] = {}
    first: Draft | None = None
    for location, row, parent in rows:
        ident = str(row.get("id"))
        try:
            reply = _rated_reply(row, people.get((ident, instruct), {}), parent, folder, options)
            if reply.system in replies:
                raise RowRefused(f"a second reply of '{reply.system}' to instruction {instruct}")
            first = first or _query(location, row, instruct, queries, parent, options)
            replies[reply.system] = reply
        except RowRefused as refused:
            yield Refusal(location=location, id=ident, reason=str(refused))
    if first is not None:
        yield replace(first, replies=tuple(replies.values()))


def _rated_reply(
    row: Mapping[str, Any],
    opinions: Mapping[str, float],
    parent: Path,
    folder: Path,
    options: ImportOptions,
) -> DraftReply:
    _emotion(row)
    if not opinions:
        raise RowRefused("no annotator rated this reply")
    text = row.get("response_text")
    return DraftReply(
        system=_system_name(row.get("model_name"), "model_name"),
        audio=find_audio(row["response_audio_path"], options, parent / "wav", parent, folder),
        text=text.strip() if isinstance(text, str) else None,
        grades={
            (rater, "score"): 100 * (value - LOWEST) / (HIGHEST - LOWEST) for rater, value in opinions.items()
        },
        scale=(0.0, 100.0),
    )


def _query(
    location: str,
    row: Mapping[str, Any],
    instruct: str,
    queries: Mapping[str, tuple[str, Path]],
    parent: Path,
    options: ImportOptions,
) -> Draft:
    name, beside = next(
        ((str(row[key]), parent) for key in _QUERY_KEYS[:2] if row.get(key)),
        queries.get(instruct, (None, parent)),
    )
    if name is None:
        raise RowRefused(
            f"no recording of instruction {instruct}; name the folder of VStyle's queries with --audio"
        )
    return Draft(
        location=location,
        id=f"instruct-{instruct}",
        audio=find_audio(name, options, beside / "wav", beside),
        transcript=text_of(row.get("instruct_text"), "instruct_text"),
        cues={"emotion": _emotion(row)},
        language=language_of(options),
        source=source_of(options),
    )


def _emotion(row: Mapping[str, Any]) -> str:
    ability, _, kind = str(row.get("ability") or "").partition("/")
    if ability != "empathy" or kind not in _EMPATHY:
        known = ", ".join(f"empathy/{name}" for name in _EMPATHY)
        raise RowRefused(
            f"ability {str(row.get('ability'))[:60]!r} states no emotion of the speaker; expected {known}"
        )
    return _EMPATHY[kind]


def _queries(folder: Path | None) -> dict[str, tuple[str, Path]]:
    """Return instruct_id -> recording of the query and the folder of its row, of the queries' own rows."""
    found: dict[str, tuple[str, Path]] = {}
    for path in sorted(folder.rglob("metadata.jsonl")) if folder is not None else ():
        for _, row in label_rows(path):
            ident = row.get("instruct_id", row.get("id"))
            name = next((row[key] for key in _QUERY_KEYS if isinstance(row.get(key), str)), None)
            if ident is not None and name is not None and row.get("response_audio_path") is None:
                found[str(ident)] = name, path.parent
    return found
