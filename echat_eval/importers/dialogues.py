"""Dialogues of WavBench and Audio MultiChallenge: the last turn is the query, after its history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from echat_eval.importers.draft import (
    Draft,
    DraftTurn,
    ImportOptions,
    Refusal,
    RowRefused,
    audio_of,
    find_audio,
    label_of,
    language_of,
    source_of,
    text_of,
)
from echat_eval.importers.rows import drafts_of_rows
from echat_eval.labels import CUES, UNKNOWN, to_label

__all__ = ["read_audiomc", "read_wavbench"]


def read_wavbench(folder: Path, options: ImportOptions) -> Iterator[Draft | Refusal]:
    """Return one draft per dialogue of WavBench's `multi_round_understanding.json`.

    The labels of `multi_round_generation.json` are of the requested reply, not of the voice that asks; that
    file is left out. The form is that of WavBench's loader: `Acoustic/json`, with audio below `Acoustic`.

    Raises:
        UsageError: the folder holds no such file.
    """
    return drafts_of_rows(
        folder,
        ("multi_round_understanding.json",),
        lambda place, row, path: [_wavbench(place, row, path, options)],
    )


def read_audiomc(folder: Path, options: ImportOptions) -> Iterator[Draft | Refusal]:
    """Return one draft per dialogue of Audio MultiChallenge's Parquet files.

    The data set labels no voice. Rows need a further column named after a cue, such as `emotion`, with the
    label of the last turn; others are refused.

    Raises:
        UsageError: the folder holds no Parquet file.
    """
    return drafts_of_rows(
        folder, ("*.parquet",), lambda place, row, path: [_audiomc(place, row, path, options)]
    )


def _wavbench(location: str, row: Mapping[str, Any], path: Path, options: ImportOptions) -> Draft:
    last = _turns_in(row, "user{}_wav")
    label = row.get(f"label{last}")
    cues = _cues_of(label)
    if not cues:
        raise RowRefused(f"label{last} {str(label)[:60]!r} is a label of none, or of several, shipped cues")
    folders = (path.parent, path.parent.parent)
    turns = [
        DraftTurn(
            role="user",
            text=text_of(row.get(f"user{number}"), f"words of a turn (user{number})"),
            audio=find_audio(row[f"user{number}_wav"], options, *folders),
            cues=_cues_of(row.get(f"label{number}")),
        )
        for number in range(1, last + 1)
    ]
    *earlier, query = turns
    assert query.audio is not None
    return Draft(
        location=location,
        id=text_of(str(row.get("id") or ""), "id"),
        audio=query.audio,
        transcript=query.text or "",
        cues=cues,
        language=language_of(options, row.get("language")),
        source=source_of(options),
        history=tuple(earlier),
    )


def _audiomc(location: str, row: Mapping[str, Any], path: Path, options: ImportOptions) -> Draft:
    last = _turns_in(row, "user_turn_{}_audio")
    cues = {cue: label for cue in CUES if (label := label_of(cue, row.get(cue))) is not None}
    if not cues:
        raise RowRefused(
            "names no cue: the data set labels no voice; add a column such as emotion with the label of the "
            "last turn"
        )
    history: list[DraftTurn] = []
    for number in range(1, last):
        audio, _ = audio_of(row[f"user_turn_{number}_audio"], options, path.parent)
        words = text_of(row.get(f"user_turn_{number}_transcript"), f"words of turn {number}")
        history.append(DraftTurn(role="user", text=words, audio=audio))
        if isinstance(reply := row.get(f"assistant_turn_{number}_transcript"), str) and reply.strip():
            history.append(DraftTurn(role="assistant", text=reply.strip()))
    audio, suffix = audio_of(row[f"user_turn_{last}_audio"], options, path.parent)
    return Draft(
        location=location,
        id=text_of(str(row.get("id") or ""), "id"),
        audio=audio,
        suffix=suffix,
        transcript=text_of(row.get(f"user_turn_{last}_transcript"), f"words of turn {last}"),
        cues=cues,
        language=language_of(options, row.get("language") or "en"),
        source=source_of(options),
        history=tuple(history),
    )


def _turns_in(row: Mapping[str, Any], key: str) -> int:
    """Return the number of turns with audio, from 1 without a gap."""
    last = next(number for number in count(1) if not row.get(key.format(number))) - 1
    if not last:
        raise RowRefused(f"has no {key.format(1)}")
    return last


def _cues_of(value: Any) -> dict[str, str]:
    """Return the cue that a label belongs to, and the label; empty if it is of none, or of several."""
    found = {cue: to_label(cue, str(value)) for cue in CUES} if value else {}
    known = {cue: label for cue, label in found.items() if label not in (None, UNKNOWN, "other")}
    return {cue: str(label) for cue, label in known.items()} if len(known) == 1 else {}
