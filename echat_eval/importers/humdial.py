"""HumDial's emotional-intelligence dialogues: the last turn is the query, earlier turns are its history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from echat_eval.importers.draft import (
    Draft,
    DraftTurn,
    ImportOptions,
    Refusal,
    RowRefused,
    find_audio,
    label_of,
    language_of,
    source_of,
    text_of,
)
from echat_eval.importers.rows import drafts_of_rows

__all__ = ["read_humdial"]


def read_humdial(folder: Path, options: ImportOptions) -> Iterator[Draft | Refusal]:
    """Return one draft per dialogue of every .jsonl; a folder named en or zh gives the language.

    The challenge's text and code disagree on which turn is judged. Here it is the last turn, and its emotion
    is the sample's label. The history includes replies of the assistant if the rows hold them.

    Raises:
        UsageError: the folder holds no .jsonl.
    """
    return drafts_of_rows(
        folder,
        ("*.jsonl",),
        lambda place, row, path: [_draft(place, row, path, options)],
        ids=("dialogue_id",),
    )


def _draft(location: str, row: Mapping[str, Any], path: Path, options: ImportOptions) -> Draft:
    tag = next((part for part in reversed(path.parent.parts) if part in ("en", "zh")), None)
    turns = _in_order(row.get("turns"))
    folders = (path.parent, path.parent.parent, path.parent.parent.parent)
    *earlier, last = turns
    emotion = label_of("emotion", last.get("input_emotion") or last.get("emotion"))
    if emotion is None:
        raise RowRefused("its last turn names no emotion")
    history: list[DraftTurn] = []
    for turn in earlier:
        audio = find_audio(turn.get("split_audio_file"), options, *folders)
        history.append(DraftTurn(role="user", text=_transcript(turn), audio=audio, cues=_cues_of(turn)))
        if isinstance(turn.get("response_text"), str) and turn["response_text"].strip():
            history.append(DraftTurn(role="assistant", text=turn["response_text"].strip()))
    return Draft(
        location=location,
        id=text_of(str(row.get("dialogue_id") or ""), "dialogue_id"),
        audio=find_audio(last.get("split_audio_file"), options, *folders),
        transcript=_transcript(last),
        cues={"emotion": emotion},
        language=language_of(options, tag),
        source=source_of(options),
        history=tuple(history),
    )


def _in_order(turns: Any) -> list[Mapping[str, Any]]:
    """Return the turns by their number; as they stand if none has one, as in EIBench's files of replies."""
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, dict) for turn in turns):
        raise RowRefused("has no turns")
    if not any("turn_id" in turn for turn in turns):
        return turns
    try:
        numbers = [int(turn["turn_id"]) for turn in turns]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise RowRefused("a turn has no turn_id that is a number") from error
    if len(set(numbers)) != len(numbers):
        raise RowRefused("two turns have the same turn_id")
    return [turn for _, turn in sorted(zip(numbers, turns, strict=True), key=lambda pair: pair[0])]


def _cues_of(turn: Mapping[str, Any]) -> dict[str, str]:
    """Return the emotion of an earlier turn; a spelling that is no label of the benchmark is left out."""
    try:
        emotion = label_of("emotion", turn.get("input_emotion") or turn.get("emotion"))
    except RowRefused:
        return {}
    return {} if emotion is None else {"emotion": emotion}


def _transcript(turn: Mapping[str, Any]) -> str:
    return text_of(turn.get("input_text") or turn.get("text"), "words of a turn (text)")
