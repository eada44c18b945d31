"""Tables of a paper as data: what each cell shows, how it is marked and what it was made of.

How they look is `formats`' business; what each cell rests on is written down by `provenance`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["NOT_APPLICABLE", "Block", "Table", "TableCell", "TableRow"]

NOT_APPLICABLE = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCell:
    """One cell.

    Attributes:
        text: what is printed, interval included.
        value, low, high: as numbers, for CSV.
        state: "value", "missing" or "not applicable".
        mark: "best" (bold) or "second" (underlined), where a test supports it.
        rests_on: what it was made of; `provenance` reads it. Keys: "scores" (metric, task, systems),
            "replies" (system, task, cue) or "published" (table, row, column).
        mark_rests_on: the same for the mark.
    """

    text: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    state: Literal["value", "missing", "not applicable"] = "value"
    mark: Literal["", "best", "second"] = ""
    rests_on: Mapping[str, Any] = field(default_factory=dict)
    mark_rests_on: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One line: its label, and one cell a column."""

    label: str
    cells: tuple[TableCell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Rows that belong together, under a title of their own if it has one.

    Attributes:
        published: every label is printed with a dagger.
    """

    rows: tuple[TableRow, ...]
    title: str = ""
    published: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table.

    Attributes:
        name: of its files.
        columns: headings behind the first column, which names the row.
        stub: heading of the first column.
    """

    name: str
    caption: str
    columns: tuple[str, ...]
    blocks: tuple[Block, ...]
    notes: tuple[str, ...] = ()
    stub: str = "system"
