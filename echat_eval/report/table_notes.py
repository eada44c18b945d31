"""Notes below the tables of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from echat_eval.leaderboard.render import NO_INTERVAL_NOTE
from echat_eval.report.marks import ALPHA

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from echat_eval.report.cells import Table
    from echat_eval.report.marks import Mark

__all__ = ["INTERVAL_NOTE", "mark_note", "sentences", "with_interval_note"]

_MARK_NOTE = (
    "Bold: better than every other system of its column by paired tests, Holm-adjusted over the whole "
    f"table, p < {ALPHA}. Underlined: second, and better than every remaining system. No mark: the tests do "
    "not support one, or rows are missing."
)
#: The same where no number is marked.
_NO_MARK_NOTE = (
    "No number is bold: in no column is a system better than every other one by paired tests, Holm-adjusted "
    f"over the whole table, p < {ALPHA}, or rows are missing."
)
#: By convention: without any test.
_BEST_NOTE = (
    "Bold: the best mean of its column among systems, underlined: the second, without any test. No mark in a "
    "column where rows of a system are missing."
)
INTERVAL_NOTE = (
    "Brackets: 95 % interval over clusters (samples that share a speaker, a transcript or a contrast group). "
    '"-": not applicable. "?": rows are missing. {a..b}: the mean with the missing rows at their worst and '
    "best."
)


def sentences(lines: Iterable[str]) -> list[str]:
    """Return lines for running text: the items of a list stand behind the line before them.

    >>> sentences(["Shares:", "- a: 0.4", "- b: 0.1", "Rank: 1"])
    ['Shares: a: 0.4. b: 0.1.', 'Rank: 1']
    """
    found: list[str] = []
    for line in lines:
        if line.startswith("- ") and found:
            found[-1] += f" {line[2:]}."
        else:
            found.append(line)
    return found


def mark_note(marks: Mapping[tuple[str, str], Mark], bold: str) -> str:
    """Return what bold and underline mean in a table with these marks."""
    if bold == "best":
        return _BEST_NOTE
    return _MARK_NOTE if marks else _NO_MARK_NOTE


def with_interval_note(table: Table) -> Table:
    """Return a table with what "[no spread]" and "[one cluster]" mean, if it has such a cell."""
    texts = [cell.text for block in table.blocks for row in block.rows for cell in row.cells]
    if not any("[no spread]" in text or "[one cluster]" in text for text in texts):
        return table
    at = table.notes.index(INTERVAL_NOTE) + 1 if INTERVAL_NOTE in table.notes else 0
    return replace(table, notes=(*table.notes[:at], NO_INTERVAL_NOTE, *table.notes[at:]))
