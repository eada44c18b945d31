"""Tables of a user's own: a mapping names the column of each field; a row becomes a draft or a refusal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from echat_eval.errors import BadData, UsageError
from echat_eval.importers.draft import (
    Draft,
    DraftTurn,
    ImportOptions,
    Refusal,
    RowRefused,
    audio_of,
    language_of,
    row_label,
    source_of,
    text_of,
)
from echat_eval.importers.mapping import FIELDS, Column, TableMapping, folded
from echat_eval.importers.table_files import columns_of, read_rows, table_files
from echat_eval.io.jsonl import loads
from echat_eval.labels import CUES, cues_with

__all__ = ["plain_mapping", "read_table"]

_LAST_NUMBER = re.compile(r"\d+(?=\D*$)")


def read_table(source: Path, options: ImportOptions) -> Iterator[Draft | Refusal]:
    """Yield one draft or refusal per row of a table, or of the tables in a folder.

    Without a mapping, columns whose names are those of fields and cues are taken.

    Raises:
        UsageError: no table there.
        BadData: the table cannot be read, or lacks a column of the mapping.
    """
    mapping = options.mapping or TableMapping()
    if mapping.form != "table":
        raise UsageError(
            f"{mapping.location}: is of the format '{mapping.form}', not of a table; import that"
        )
    needed = ("audio", "transcript") if options.needs_audio else ("transcript",)
    number = 0
    for path in table_files(source, options.files or mapping.files):
        columns = columns_of(path)
        mapping.check_columns(columns, path.name)
        rows = _RowReader(options.mapping or plain_mapping(columns, path), columns, options, path.parent)
        rows.check(needed)
        for location, row in read_rows(path):
            yield read_draft(rows, location, row, number)
            number += 1


def plain_mapping(columns: Sequence[str], path: Path) -> TableMapping:
    """Return the mapping of a table whose columns have the names of fields and cues."""
    named = {key: Column(name=key) for key in (*FIELDS, *CUES) if key in columns}
    if "audio" not in named and "file_name" in columns:
        named["audio"] = Column(name="file_name")
    return TableMapping(columns=named, location=str(path))


def read_draft(
    reader: _RowReader, location: str, row: Mapping[str, Any] | str, number: int
) -> Draft | Refusal:
    """Return the draft of a row, or why it is refused."""
    ident = None
    try:
        if isinstance(row, str):
            raise RowRefused(row)
        ident = reader.ident(row, number)
        return reader.draft(location, ident, row, number)
    except RowRefused as refused:
        return Refusal(location=location, id=ident, reason=str(refused))


class _RowReader:
    """Turns rows into drafts.

    Args:
        columns: the table's columns.
        folder: folder of the table, in which audio is searched.
    """

    def __init__(
        self, mapping: TableMapping, columns: Sequence[str], options: ImportOptions, folder: Path
    ) -> None:
        self._mapping, self._columns, self._options, self._folder = mapping, columns, options, folder
        self._known_cues = cues_with(mapping.own_cues)
        self._cues = [cue for cue in self._known_cues if cue in mapping.columns or cue in mapping.constants]
        self._known = frozenset((*mapping.columns, *mapping.constants))
        #: Fields that are the cell of a column as it is; a table of a million rows asks often.
        self._plain = {
            key: column.name for key, column in mapping.columns.items() if column.name and not column.pattern
        }
        #: (field or cue, cell) -> label; tables repeat a few spellings.
        self._labels: dict[tuple[str, str | None], str | None] = {}

    def check(self, needed: Sequence[str]) -> None:
        """Raise BadData if the mapping has no column for a field that every row needs."""
        named = (*self._mapping.columns, *self._mapping.constants)
        if missing := [key for key in needed if key not in named]:
            raise BadData(
                f"{self._mapping.location}: no column for '{missing[0]}' (columns: "
                f"{', '.join(self._columns[:20])}); write a mapping with --guess, check it, and give it with "
                "--map"
            )

    def ident(self, row: Mapping[str, Any], number: int) -> str:
        """Return the row's id; without a column for it, the number of the row."""
        if "id" not in self._mapping.columns:
            return f"row-{number + 1:04}"
        return text_of(self._cell("id", row, number), "id")

    def draft(self, location: str, ident: str, row: Mapping[str, Any], number: int) -> Draft:
        """Return the row's draft.

        Raises:
            RowRefused: the row lacks something, or has a spelling that the mapping does not know.
        """
        cues, spellings = self._read_cues(row, number)
        audio, suffix = self._audio(row, number)
        return Draft(
            location=location,
            id=ident,
            audio=audio,
            suffix=suffix,
            transcript=text_of(self._cell("transcript", row, number), "transcript"),
            cues=cues,
            language=self._language(self._cell("language", row, number)),
            source=self._source(self._cell("source", row, number)),
            speaker=self._cell("speaker", row, number),
            references=self._references(row, number),
            history=self._history(row, number),
            expect=self._expect(row, number),
            note=self._cell("note", row, number),
            spellings=spellings,
        )

    def _value(self, key: str, row: Mapping[str, Any], number: int) -> Any:
        """Return the value of a field as the table has it."""
        if key in self._mapping.constants:
            return self._mapping.constants[key]
        column = self._mapping.columns.get(key)
        if column is None:
            return None
        if column.first is not None:
            return _counted(column.first, number)
        value = row.get(str(column.name))
        if column.pattern is None or value is None:
            return value
        cells = value if isinstance(value, list) else [value]
        matches = (column.pattern.search(str(cell)) for cell in cells)
        return next((match[1] for match in matches if match), None)

    def _cell(self, key: str, row: Mapping[str, Any], number: int) -> str | None:
        """Return the value of a field as text; None if the cell is empty."""
        name = self._plain.get(key)
        if name is not None:
            value = row.get(name)
        elif key in self._known:
            value = self._value(key, row, number)
        else:
            return None
        if isinstance(value, str):
            return value.strip() or None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return str(value) if isinstance(value, int | float) else None

    def _language(self, cell: str | None) -> str:
        key = ("language", cell)
        if key not in self._labels:
            self._labels[key] = language_of(self._options, self._translated("language", cell))
        return str(self._labels[key])

    def _source(self, cell: str | None) -> Literal["real", "synthetic"]:
        return source_of(self._options, self._translated("source", cell))

    def _expect(self, row: Mapping[str, Any], number: int) -> Literal["same"] | None:
        cell = self._translated("expect", self._cell("expect", row, number))
        if cell is None or cell == "same":
            return cell  # type: ignore[return-value]
        raise RowRefused(f"expect is {cell[:60]!r}; expected same, or an empty cell where replies differ")

    def _translated(self, key: str, cell: str | None) -> str | None:
        return cell if cell is None else self._mapping.labels.get(key, {}).get(folded(cell), cell)

    def _read_cues(self, row: Mapping[str, Any], number: int) -> tuple[dict[str, str], dict[str, str]]:
        """Return cue -> label, and cue -> spelling where it is another."""
        cues, spellings = {}, {}
        for cue in self._cues:
            cell = self._cell(cue, row, number)
            if cell is None:
                continue
            key = (cue, cell)
            if key not in self._labels:
                self._labels[key] = self._label(cue, cell)
            label = self._labels[key]
            if label is not None:
                cues[cue] = label
                # A number read by cut-offs is no spelling of a label.
                if label != cell and not (cue in self._mapping.cut_offs and _number(cell) is not None):
                    spellings[cue] = cell
        return cues, spellings

    def _label(self, cue: str, cell: str) -> str | None:
        """Return the label of a spelling: of the mapping, of its cut-offs, or an alias of the cue."""
        labels = self._mapping.labels.get(cue, {})
        if folded(cell) in labels:
            return labels[folded(cell)]
        if cue in self._mapping.cut_offs and (value := _number(cell)) is not None:
            label = next((label for low, label in self._mapping.cut_offs[cue] if value >= low), None)
            if label is None:
                raise RowRefused(f"{cue} {cell[:60]!r} is below every cut-off of the mapping")
            return label
        if _number(cell) is not None and cue == "age":
            raise RowRefused(f"age {cell[:60]!r} is a number; give cut_offs in the mapping")
        return row_label(self._known_cues[cue], cell)

    def _audio(self, row: Mapping[str, Any], number: int) -> tuple[Path | bytes, str]:
        if not self._options.needs_audio:
            return b"", ".wav"
        return audio_of(self._value("audio", row, number), self._options, self._folder)

    def _references(self, row: Mapping[str, Any], number: int) -> tuple[str, ...]:
        if "references" not in self._known:
            return ()
        value = self._value("references", row, number)
        values = value if isinstance(value, list) else [value]
        return tuple(text.strip() for text in values if isinstance(text, str) and text.strip())

    def _history(self, row: Mapping[str, Any], number: int) -> tuple[DraftTurn, ...]:
        """Return the earlier turns: a list of {role, text, audio}, in a CSV file as JSON."""
        value = self._value("history", row, number) if "history" in self._known else None
        if isinstance(value, str):
            try:
                value = loads(value) if value.strip() else None
            except ValueError as error:
                raise RowRefused("its history is not JSON") from error
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(turn, dict) for turn in value):
            raise RowRefused("its history is no list of turns, each with role and text")
        return tuple(self._turn(turn) for turn in value)

    def _turn(self, turn: Mapping[str, Any]) -> DraftTurn:
        role, text, audio = turn.get("role"), turn.get("text"), turn.get("audio")
        if role not in ("user", "assistant"):
            raise RowRefused(f"a turn of its history has role {str(role)[:40]!r}, expected user or assistant")
        text = text.strip() if isinstance(text, str) else None
        if not text and audio is None:
            raise RowRefused("a turn of its history has neither text nor audio")
        return DraftTurn(role=role, text=text, audio=None if audio is None else self._turn_audio(audio))

    def _turn_audio(self, audio: Any) -> Path | bytes:
        return audio_of(audio, self._options, self._folder)[0]


def _counted(first: str, number: int) -> str:
    """Return a name whose last number is counted up.

    >>> _counted("sit/sit_001.wav", 11)
    'sit/sit_012.wav'
    """
    stem, dot, suffix = first.rpartition(".")
    text, tail = (stem, dot + suffix) if stem and not suffix.isdigit() else (first, "")
    return _LAST_NUMBER.sub(lambda m: f"{int(m[0]) + number:0{len(m[0])}}", text) + tail


def _number(cell: str) -> float | None:
    try:
        value = float(cell.replace(",", "."))
    except ValueError:
        return None
    return value if abs(value) < 1e9 else None
