"""Tables of numbers on a terminal: a number is never cut, whatever the width.

A table that is too wide is printed in blocks, one below the other, which repeat the labels of its rows.
Labels are shortened only where a single column would not fit beside them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from textwrap import wrap
from typing import TYPE_CHECKING

from echat_eval.io.display import printable, unique_labels

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType
    from rich.table import Table

__all__ = ["Cells", "fitted"]

#: Characters between two columns, and at the two edges together.
_BETWEEN, _EDGES = 3, 2
#: Names are never shorter.
_SHORTEST_NAME = 12


@dataclass(frozen=True, slots=True)
class Cells:
    """A table of texts.

    Attributes:
        caption: printed above.
        titles: of the columns.
        sections: rows, divided by lines.
        labels: number of leading columns that name a row; the others are numbers.
        name: the label column with names of systems, which are shortened rather than broken.
        note: printed below; "" for none.
    """

    caption: str
    titles: Sequence[str]
    sections: Sequence[Sequence[Sequence[str]]]
    labels: int
    name: int = 0
    note: str = ""


def fitted(cells: Cells, width: int) -> list[RenderableType]:
    """Return a table in as many blocks as `width` characters need, and its note.

    Args:
        cells: with at least one label.
        width: characters of a line.
    """
    shown: list[RenderableType] = []
    cells = _printable(cells)
    if cells.sections:
        labels, left = _label_widths(cells, width)
        shown += [
            _block(cells, labels, block, first=not number)
            for number, block in enumerate(_blocks(cells, left))
        ]
    return [*shown, *([cells.note] if cells.note else [])]


def _printable(cells: Cells) -> Cells:
    """Return a table as the terminal prints it: what acts on a terminal is an escape, and has its width."""
    return replace(
        cells,
        titles=[printable(title) for title in cells.titles],
        sections=[[[printable(text) for text in row] for row in rows] for rows in cells.sections],
    )


def _label_widths(cells: Cells, width: int) -> tuple[list[int], int]:
    """Return the width of each label column, and what is left for numbers.

    Where the widest number does not fit beside the labels, labels are broken between words, then names are
    shortened.
    """
    widths = [_width(cells, column) for column in range(cells.labels)]
    numbers = [_width(cells, column) for column in range(cells.labels, len(cells.titles))]
    room = width - _EDGES - _BETWEEN * cells.labels - max(numbers, default=0)
    if sum(widths) > room:
        widths = [
            size if column == cells.name else _width(cells, column, broken=True)
            for column, size in enumerate(widths)
        ]
        left = room - sum(widths) + widths[cells.name]
        widths[cells.name] = min(widths[cells.name], max(_SHORTEST_NAME, left))
    return widths, width - _EDGES - sum(widths) - _BETWEEN * cells.labels


def _blocks(cells: Cells, left: int) -> Iterator[list[int]]:
    """Yield the number columns of each block; one block without any if there are none."""
    block: list[int] = []
    used = 0
    for column in range(cells.labels, len(cells.titles)):
        size = _width(cells, column)
        if block and used + _BETWEEN + size > left:
            yield block
            block, used = [], 0
        used += size + (_BETWEEN if block else 0)
        block.append(column)
    yield block


def _width(cells: Cells, column: int, *, broken: bool = False) -> int:
    """Return the characters of a column: titles may be broken between words, cells only if `broken`."""
    from rich.cells import cell_len

    texts = [row[column] for rows in cells.sections for row in rows]
    if broken:
        texts = [word for text in texts for word in text.split()]
    return max(map(cell_len, (*texts, *cells.titles[column].split(), "")))


def _block(cells: Cells, labels: Sequence[int], columns: Sequence[int], *, first: bool) -> Table:
    """Return one block."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(cells.caption) if first else None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for column, size in enumerate(labels):
        table.add_column(Text(cells.titles[column]), width=size, no_wrap=column == cells.name)
    for column in columns:
        size = _width(cells, column)
        title = cells.titles[column]
        # A column that does not wrap would cut a title of several words.
        title = title if len(title) <= size else "\n".join(wrap(title, size))
        table.add_column(Text(title), justify="right", width=size, no_wrap=True)
    names = unique_labels((row[cells.name] for rows in cells.sections for row in rows), labels[cells.name])
    for rows in cells.sections:
        for row in rows:
            texts = [names[text] if column == cells.name else text for column, text in enumerate(row)]
            table.add_row(*(Text(texts[column]) for column in (*range(cells.labels), *columns)))
        table.add_section()
    return table
