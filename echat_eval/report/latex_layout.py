"""How a printed table fits a paper: intervals beside or below their numbers, and panels of columns.

Nothing is scaled to fit, because a scaled table has a font size of its own. Widths are estimated with the
Computer Modern fonts, which are wider than Times.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Layout", "Page", "broken", "floats_of", "layout_of", "points"]

#: Shares of the font size, of Computer Modern Roman.
_NARROW, _WIDE = set(" .,:;'|!iljftI()[]{}-"), set("mwMW%@~↑↓†…Δ–")
#: Where a line may end; an arrow stays with the unit before it.
_SPLIT = re.compile(r"(?<=[^A-Za-z0-9.(\[{'])(?=[^ ↑↓])")
#: Width of a letter that pdfTeX prints as a code point.
_CODE_POINT = 4.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The width that a table may take, and its fonts.

    Attributes:
        points: width.
        font: of the numbers.
        em: width of two digits in it; small fonts of Computer Modern are wider than their size.
        gap: points between two columns, half of it on each side.
        environment: of LaTeX.
    """

    points: float
    font: str
    em: float
    gap: float
    environment: str

    @classmethod
    def of(cls, *, wide: bool) -> Page:
        """Return one column of a paper in two columns, or the text width of one in one column."""
        if wide:
            return cls(points=397, font=r"\small", em=9.25, gap=8, environment="table*")
        return cls(points=229, font=r"\footnotesize", em=8.5, gap=6, environment="table")


#: The same width in the font of intervals.
SMALL = 8.0
#: Points of a line, of a row with an interval below its number, and of a page without caption and notes.
_LINE, _STACKED, _PAGE = 11.0, 21.0, 470.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How the columns stand.

    Attributes:
        stacked: intervals stand below their numbers.
        stub: lines of a label of a row, at most this wide (points).
        panels: numbers of the columns of each panel.
        headings: lines of each column's heading.
        widths: points of each panel.
    """

    stacked: bool
    stub: float
    panels: tuple[tuple[int, ...], ...]
    headings: tuple[tuple[str, ...], ...]
    widths: tuple[float, ...]


def points(text: str, size: float) -> float:
    """Return the estimated width of text in a font whose two digits are `size` points wide.

    >>> points("0000", 10.0)
    20.0
    """
    return size * sum(_share(c) for c in text)


def _share(character: str) -> float:
    if character in _NARROW:
        return 0.33
    if character in _WIDE:
        return 0.85
    if ord(character) >= 0x180:
        return _CODE_POINT
    return 0.72 if character.isupper() else 0.5


def broken(text: str, width: float, size: float) -> tuple[str, ...]:
    """Return text in lines of at most `width` points; spaces at a break stay.

    A part without a place for a break is broken anywhere.

    >>> broken("Cue contrast, points", 50, 8.0)
    ('Cue contrast, ', 'points')
    """
    lines = [""]
    for part in _SPLIT.split(text):
        whole = points(part.rstrip(), size) <= width
        for piece in [part] if whole else part:
            if lines[-1] and points((lines[-1] + piece).rstrip(), size) > width:
                lines.append("")
            lines[-1] += piece
    return tuple(lines)


def layout_of(
    page: Page, labels: Sequence[str], headings: Sequence[str], cells: Sequence[Sequence[tuple[str, str]]]
) -> Layout:
    """Return the widest layout that fits: beside, then below, then below in several panels.

    Args:
        page: the width.
        labels: of the rows; the first is the heading of their column.
        headings: of the columns.
        cells: (rows) of (columns) of a number and its interval.
    """
    stub = min(max(points(label, page.em) for label in labels), 0.4 * page.points)
    found = None
    for stacked in (False, True):
        columns = [
            _column(heading, [row[n] for row in cells], page, stacked=stacked)
            for n, heading in enumerate(headings)
        ]
        panels = _panels([width for _, width in columns], page.points - stub, page.gap)
        found = Layout(
            stacked=stacked,
            stub=stub,
            panels=panels,
            headings=tuple(lines for lines, _ in columns),
            widths=tuple(stub + sum(columns[n][1] + page.gap for n in panel) for panel in panels),
        )
        if len(panels) == 1:
            break
    assert found is not None
    return found


def _column(
    heading: str, cells: Sequence[tuple[str, str]], page: Page, *, stacked: bool
) -> tuple[tuple[str, ...], float]:
    """Return the lines of a heading, and the points of its column."""
    numbers = [(points(number, page.em), points(rest, SMALL)) for number, rest in cells]
    space = 0.33 * page.em
    body = max((max(a, b) if stacked else a + (space + b if b else 0) for a, b in numbers), default=0.0)
    # A heading is broken between its words, unless one is very long.
    longest = max(points(part.rstrip(), page.em) for part in _SPLIT.split(heading))
    lines = broken(heading, max(body, min(longest, 9 * page.em), 4.2 * page.em), page.em)
    return lines, max(body, *(points(line.rstrip(), page.em) for line in lines))


def _panels(widths: Sequence[float], room: float, gap: float) -> tuple[tuple[int, ...], ...]:
    """Return the columns of each panel, in as few panels as fit, the widest of them as narrow as possible.

    >>> _panels([50, 50, 50, 50], 160, 6)  # not three columns and one
    ((0, 1), (2, 3))
    """
    widest = _filled(widths, room, gap)
    narrower = (
        _filled(widths, sum(widths[a:b]) + (b - a - 1) * gap, gap)
        for a in range(len(widths))
        for b in range(a + 1, len(widths) + 1)
        if sum(widths[a:b]) + (b - a - 1) * gap <= room
    )
    fitting = [panels for panels in narrower if len(panels) == len(widest)]

    def width(panels: tuple[tuple[int, ...], ...]) -> float:
        return max(sum(widths[n] for n in panel) + (len(panel) - 1) * gap for panel in panels)

    return min(fitting, key=width, default=widest)


def _filled(widths: Sequence[float], room: float, gap: float) -> tuple[tuple[int, ...], ...]:
    """Return the columns of each panel, filled one after the other; every panel has at least one."""
    panels: list[list[int]] = [[]]
    used = 0.0
    for number, width in enumerate(widths):
        if panels[-1] and used + gap + width > room:
            panels.append([])
            used = 0.0
        panels[-1].append(number)
        used += gap + width
    return tuple(map(tuple, panels))


def floats_of(layout: Layout, *, rows: int, titles: int) -> list[list[int]]:
    """Return the panels of each float, so that none is higher than a page; a float has at least one.

    Args:
        rows: of each panel.
        titles: of blocks in each panel.
    """
    floats: list[list[int]] = [[]]
    used = 0.0
    for number, panel in enumerate(layout.panels):
        heading = max((len(layout.headings[column]) for column in panel), default=1)
        height = rows * (_STACKED if layout.stacked else _LINE) + (heading + titles + 2) * _LINE
        if floats[-1] and used + height > _PAGE:
            floats.append([])
            used = 0.0
        floats[-1].append(number)
        used += height
    return floats
