"""Tables of a paper as data: text, mark and sources of each cell.

`formats` renders the tables; `provenance` records the sources of the cells.
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
        text: printed text, interval included.
        value, low, high: numbers for CSV.
        state: "value", "missing" or "not applicable".
        mark: "best" (bold) or "second" (underlined), if a test supports it.
        sources: rows behind the cell, for `provenance`. Keys: "scores" (metric, task, systems), "several
            scores" (a list of these), "replies" (system, task, cue), "ratings" (sha256, system, task) or
            "published" (table, row, column).
        mark_sources: rows behind the mark.
    """

    text: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    state: Literal["value", "missing", "not applicable"] = "value"
    mark: Literal["", "best", "second"] = ""
    sources: Mapping[str, Any] = field(default_factory=dict)
    mark_sources: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One row: its label and one cell per column."""

    label: str
    cells: tuple[TableCell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A group of rows with an optional title.

    Attributes:
        published: whether labels are printed with a dagger.
    """

    rows: tuple[TableRow, ...]
    title: str = ""
    published: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table.

    Attributes:
        name: stem of its files.
        columns: headings after the first column, which holds the row labels.
        stub: heading of the first column.
    """

    name: str
    caption: str
    columns: tuple[str, ...]
    blocks: tuple[Block, ...]
    notes: tuple[str, ...] = ()
    stub: str = "system"
