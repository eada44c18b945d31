"""A mapping guessed from the names and the content of a table's columns, written for review."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from echat_eval.errors import BadData, UsageError
from echat_eval.importers.mapping import FIELDS
from echat_eval.importers.speakers import Speaker, find_speakers
from echat_eval.importers.table_files import columns_of, read_rows, table_files
from echat_eval.io.files import write_atomically
from echat_eval.labels import ALIASES, CUES, LABELS, UNKNOWN, to_label

__all__ = ["Guess", "guessed_mapping", "write_guess"]

#: Field or cue -> usual names of its column, the most usual first.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "utt_id", "utt", "utterance_id", "uid", "key", "qid", "sample_id", "segment_id", "clip_id"),
    "audio": ("audio", "file_name", "filename", "audio_path", "audio_file", "wav", "wav_path", "path",
              "file", "filepath", "file_path", "datei", "recording"),
    "transcript": ("transcript", "transcription", "text", "sentence", "utterance", "words", "query",
                   "question", "prompt", "content", "said", "spoken", "spoken_text", "satz"),
    "language": ("language", "lang", "locale", "sprache"),
    "source": ("source",),
    "speaker": ("speaker", "speaker_id", "spk", "spk_id", "spkid", "actor", "actor_id", "subject",
                "participant", "participant_id", "client_id", "caller", "caller_id", "user_id", "voice",
                "sprecher", "person"),
    "references": ("references", "reference", "reply", "answer", "response"),
    "history": ("history", "dialogue", "turns"),
    "expect": ("expect",),
    "note": ("note", "notes", "comment", "remark"),
    "emotion": ("emotion", "emo", "mood", "affect", "feeling", "label", "gefühl", "stimmung", "感情", "情感"),
    "age": ("age", "age_group", "years", "age_years", "age_in_years", "speaker_age", "alter", "年齢", "年龄"),
    "gender": ("gender", "sex", "geschlecht", "性別", "性别"),
    "event": ("event", "sound", "vocalization", "vocalisation", "nonverbal", "sound_event"),
}  # fmt: skip
#: Rows that are looked at, and spellings of a column that are kept.
MAX_ROWS, MAX_SPELLINGS = 100_000, 60
_AUDIO = re.compile(r"\.(wav|flac|mp3|ogg|opus|m4a|wma)$", re.I)
#: Years of age at which the labels begin; to be reviewed like everything else.
_AGES = {"child": 0, "adult": 18, "old": 60}


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """A guessed mapping.

    Attributes:
        text: content of the mapping file.
        remarks: what was found and what must be filled in, one line each.
    """

    text: str
    remarks: tuple[str, ...]


@dataclass(slots=True)
class _Seen:
    """Content of a column: its spellings with their counts, up to a limit, and the kinds of its cells."""

    filled: int = 0
    spellings: Counter[str] = field(default_factory=Counter)
    audio: int = 0
    numbers: int = 0


def write_guess(table: Path, path: Path, files: str | None = None) -> tuple[str, ...]:
    """Write the guessed mapping of a table; return remarks on it.

    Raises:
        UsageError: the file exists already, or no table there.
        BadData: the table cannot be read, or has no rows.
    """
    if path.exists():
        raise UsageError(f"{path}: exists already; remove it, or name another file with --map")
    guessed = guessed_mapping(table, files)
    write_atomically(path, guessed.text)
    return guessed.remarks


def guessed_mapping(source: Path, files: str | None = None) -> Guess:
    """Return the mapping of a table.

    Raises:
        UsageError: no table there.
        BadData: the table cannot be read, or has no rows.
    """
    path = table_files(source, files)[0]
    columns = columns_of(path)
    seen, rows = _looked_at(path, columns)
    if not rows:
        raise BadData(f"{path}: no rows")
    field_columns = _by_name(columns)
    _by_content(field_columns, seen)
    spelled = {cue: _unknown_spellings(cue, seen[field_columns[cue]]) for cue in CUES if cue in field_columns}
    speaker = None if "speaker" in field_columns else find_speakers(rows, field_columns, columns)
    text = "".join(_lines(path, field_columns, speaker, spelled, seen))
    return Guess(text=text, remarks=tuple(_remarks(path, columns, field_columns, speaker, spelled)))


def _looked_at(path: Path, columns: Sequence[str]) -> tuple[dict[str, _Seen], list[dict[str, str]]]:
    """Return what each column holds, and the first rows as text."""
    seen = {name: _Seen() for name in columns}
    rows: list[dict[str, str]] = []
    for _, row in read_rows(path):
        if isinstance(row, str):
            continue
        cells = {name: _text(value) for name, value in row.items() if name in seen}
        rows.append(cells)
        for name, cell in cells.items():
            if cell:
                _look(seen[name], cell, row[name])
        if len(rows) >= MAX_ROWS:
            break
    return seen, rows


def _text(value: Any) -> str:
    if isinstance(value, dict):  # embedded audio
        value = value.get("path") or ("embedded.wav" if value.get("bytes") else None)
    if isinstance(value, bytes):
        return "embedded.wav"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() if isinstance(value, str | int | float) else ""


def _look(seen: _Seen, cell: str, value: Any) -> None:
    seen.filled += 1
    if cell in seen.spellings or len(seen.spellings) <= MAX_SPELLINGS:
        seen.spellings[cell] += 1
    seen.audio += bool(_AUDIO.search(cell)) or isinstance(value, bytes | dict)
    seen.numbers += bool(re.fullmatch(r"\d{1,3}([.,]\d+)?", cell))


def _by_name(columns: Iterable[str]) -> dict[str, str]:
    """Return field -> the column with the most usual name for it."""
    plain = {re.sub(r"[\s\-]+", "_", name.strip()).casefold(): name for name in reversed(list(columns))}
    field_columns: dict[str, str] = {}
    for key, names in _NAMES.items():
        found = next((plain[name] for name in names if name in plain), None)
        if found is not None and found not in field_columns.values():
            field_columns[key] = found
    return field_columns


def _by_content(field_columns: dict[str, str], seen: Mapping[str, _Seen]) -> None:
    """Correct and complete the choice by what the columns hold."""
    audio = [name for name, column in seen.items() if column.filled and column.audio >= 0.9 * column.filled]
    if audio and field_columns.get("audio") not in audio:
        field_columns["audio"] = audio[0]
    for cue in CUES:
        if cue in field_columns and not _fits(cue, seen[field_columns[cue]]):
            del field_columns[cue]
    for name, column in seen.items():
        if name in field_columns.values() or not column.filled or column.numbers == column.filled:
            continue
        for cue in CUES:
            if cue not in field_columns and _fits(cue, column):
                field_columns[cue] = name
                break
    if "transcript" not in field_columns and (text := _longest_text(field_columns, seen)):
        field_columns["transcript"] = text
    # Columns that a later field took from an earlier one.
    for key in FIELDS:
        if key != "audio" and key in field_columns and field_columns[key] == field_columns.get("audio"):
            del field_columns[key]


def _fits(cue: str, column: _Seen) -> bool:
    """Return whether most cells are labels of a cue in any spelling, or years of age."""
    if not column.filled or (len(column.spellings) > MAX_SPELLINGS and column.numbers != column.filled):
        return False
    if cue == "age" and column.numbers >= 0.9 * column.filled:
        return True
    known = sum(rows for spelling, rows in column.spellings.items() if _label(cue, spelling) is not None)
    return known >= 0.3 * column.filled


def _longest_text(field_columns: Mapping[str, str], seen: Mapping[str, _Seen]) -> str | None:
    """Return the column that no field has yet with the longest texts, which differ from row to row."""
    lengths = {
        name: sum(map(len, column.spellings)) / len(column.spellings)
        for name, column in seen.items()
        if name not in field_columns.values()
        and not column.numbers
        and len(column.spellings) > 0.3 * min(column.filled, MAX_SPELLINGS)
    }
    longest = max(lengths, key=lambda name: lengths[name], default=None)
    return longest if longest is not None and lengths[longest] >= 8 else None


def _label(cue: str, spelling: str) -> str | None:
    label = to_label(cue, spelling)
    return None if label == UNKNOWN else label


def _unknown_spellings(cue: str, column: _Seen) -> dict[str, int]:
    """Return the spellings that are no label and no alias, with their rows; years of age have cut-offs."""
    if cue == "age" and column.numbers >= 0.9 * column.filled:
        return {s: n for s, n in column.spellings.most_common() if not s[0].isdigit() and not _label(cue, s)}
    return {s: n for s, n in column.spellings.most_common() if _label(cue, s) is None}


def _close(cue: str, spelling: str) -> str | None:
    names = {**{label: label for label in LABELS[cue]}, **ALIASES[cue]}
    close = get_close_matches(spelling.casefold(), list(names), n=1, cutoff=0.75)
    return names[close[0]] if close and names[close[0]] != UNKNOWN else None


def _quoted(text: str) -> str:
    """Return a text as a YAML string; JSON strings are."""
    return json.dumps(text, ensure_ascii=False)


def _lines(
    path: Path,
    field_columns: Mapping[str, str],
    speaker: Speaker | None,
    spelled: Mapping[str, Mapping[str, int]],
    seen: Mapping[str, _Seen],
) -> Iterable[str]:
    yield f"# Guessed from {path.name}; check every line. docs/import.md describes the form.\ncolumns:\n"
    for key in (*FIELDS, *CUES):
        if key in field_columns:
            yield f"  {key}: {_quoted(field_columns[key])}\n"
        elif key == "speaker" and speaker is not None:
            yield f"  speaker: {speaker.yaml()}  # {speaker.count} of them\n"
    if cues := [cue for cue in CUES if cue in field_columns]:
        yield f"cues: [{cues[0]}]  # what the task tests; the other cues are kept with the samples\n"
    if any(spelled.values()):
        yield "labels:  # spelling in the table: label; null leaves these rows unlabelled\n"
    for cue, spellings in spelled.items():
        if spellings:
            yield f"  {cue}:  # {', '.join(LABELS[cue])}\n"
        for spelling, rows in spellings.items():
            close = _close(cue, spelling)
            why = "; by its spelling" if close else ""
            yield f"    {_quoted(spelling)}: {close or 'null'}  # {rows} rows{why}\n"
    if (
        "age" in field_columns
        and seen[field_columns["age"]].numbers >= 0.9 * seen[field_columns["age"]].filled
    ):
        bounds = ", ".join(f"{label}: {low}" for label, low in _AGES.items())
        yield f"cut_offs:  # the lowest age in years of each label\n  age: {{{bounds}}}\n"
    missing = [key for key in ("language", "source") if key not in field_columns]
    if missing:
        yield "constants:  # the same for every row\n"
        yield from (f"  {key}: null  # {_HINTS[key]}\n" for key in missing)
    yield "task:\n  licence: null  # such as CC BY 4.0, or internal\n"
    yield "  consent: null  # what the speakers agreed to, and where that is recorded\n"
    yield "  redistributable: false  # true: pages and exports may hold the audio\n"


_HINTS = {"language": "fill in: a BCP 47 tag, such as en", "source": "fill in: real or synthetic"}


def _remarks(
    path: Path,
    columns: Sequence[str],
    field_columns: Mapping[str, str],
    speaker: Speaker | None,
    spelled: Mapping[str, Mapping[str, int]],
) -> Iterable[str]:
    yield "found: " + ", ".join(f"{key} in {name}" for key, name in field_columns.items())
    if speaker is not None:
        yield f"found: speaker in {speaker.yaml()}, because the same {speaker.count} read every sentence"
    for key in ("audio", "transcript"):
        if key not in field_columns:
            yield f"not found: {key}; name its column (columns: {', '.join(columns[:20])})"
    if not any(cue in field_columns for cue in CUES):
        yield f"not found: any cue ({', '.join(CUES)}); name the column of the label, or define a cue"
    for cue, spellings in spelled.items():
        if spellings:
            rows = sum(spellings.values())
            listed = ", ".join(list(spellings)[:6])
            yield f"{cue}: {rows} rows have {len(spellings)} spellings that are no label: {listed}; map them"
    for key in ("language", "source"):
        if key not in field_columns:
            yield f"{key}: {_HINTS[key]}"
    used = {*field_columns.values(), speaker.column if speaker is not None else None}
    if unused := [name for name in columns if name not in used]:
        yield f"not used: {', '.join(unused[:20])}; name those that hold a field or a cue under columns"
