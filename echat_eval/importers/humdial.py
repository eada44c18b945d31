"""HumDial's emotional-intelligence dialogues: the last turn is asked, the earlier ones are its history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from echat_eval.errors import UsageError
from echat_eval.importers.draft import (
    Draft,
    DraftTurn,
    ImportOptions,
    NoSample,
    Refusal,
    label_of,
    language_of,
    located,
    objects,
    source_of,
    text_of,
)

__all__ = ["read_humdial"]


def read_humdial(folder: Path, told: ImportOptions) -> Iterator[Draft | Refusal]:
    """Yield one draft per dialogue of every .jsonl; a folder named en or zh says the language.

    Which turn the challenge judges differs between its text and its code; here it is the last one, whose
    emotion is the sample's. Replies of an assistant are part of the history where rows hold them.

    Raises:
        UsageError: no .jsonl there.
    """
    files = [folder] if folder.is_file() else sorted(folder.rglob("*.jsonl"))
    if not files:
        raise UsageError(f"{folder}: no .jsonl below it")
    for path in files:
        tag = next((part for part in reversed(path.parent.parts) if part in ("en", "zh")), None)
        for where, row in objects(path):
            name = row.get("dialogue_id") if isinstance(row, dict) else None
            try:
                if not isinstance(row, dict):
                    raise NoSample("not a JSON object")
                yield _draft(where, row, told, tag, path)
            except NoSample as reason:
                yield Refusal(where=where, id=None if name is None else str(name), reason=str(reason))


def _draft(where: str, row: Mapping[str, Any], told: ImportOptions, tag: str | None, path: Path) -> Draft:
    turns = row.get("turns")
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, dict) for turn in turns):
        raise NoSample("has no turns")
    try:
        turns = sorted(turns, key=lambda turn: int(turn["turn_id"]))
    except (KeyError, TypeError, ValueError) as error:
        raise NoSample("a turn has no turn_id that is a number") from error
    if len({int(turn["turn_id"]) for turn in turns}) != len(turns):
        raise NoSample("two turns have one turn_id")
    folders = (path.parent, path.parent.parent, path.parent.parent.parent)
    *earlier, last = turns
    emotion = label_of("emotion", last.get("input_emotion") or last.get("emotion"))
    if emotion is None:
        raise NoSample("its last turn names no emotion")
    history: list[DraftTurn] = []
    for turn in earlier:
        audio = located(turn.get("split_audio_file"), told, *folders)
        history.append(DraftTurn(role="user", text=_words(turn), audio=audio))
        if isinstance(turn.get("response_text"), str) and turn["response_text"].strip():
            history.append(DraftTurn(role="assistant", text=turn["response_text"].strip()))
    return Draft(
        where=where,
        id=text_of(str(row.get("dialogue_id") or ""), "dialogue_id"),
        audio=located(last.get("split_audio_file"), told, *folders),
        transcript=_words(last),
        cues={"emotion": emotion},
        language=language_of(told, tag),
        source=source_of(told),
        history=tuple(history),
    )


def _words(turn: Mapping[str, Any]) -> str:
    return text_of(turn.get("input_text") or turn.get("text"), "words of a turn (text)")
