"""Tables as Markdown and CSV, with all names escaped; `latex` has the third format."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from echat_eval.io.csv_cells import safe_cell
from echat_eval.io.display import TABLE_NAME_CHARACTERS, markdown_text, unique_labels

if TYPE_CHECKING:
    from echat_eval.report.cells import Table, TableCell

__all__ = ["csv_text", "markdown", "number_and_rest", "short_names"]


def short_names(table: Table) -> dict[str, str]:
    """Return name -> label of the columns and rows of a printed table; labels differ where names do."""
    rows = unique_labels((row.label for block in table.blocks for row in block.rows), TABLE_NAME_CHARACTERS)
    return unique_labels((table.stub, *table.columns), TABLE_NAME_CHARACTERS) | rows


def number_and_rest(text: str) -> tuple[str, str]:
    """Return a cell's number and what follows it in brackets; other texts, such as "1 to 3", are whole."""
    number, _, rest = text.partition(" ")
    return (number, rest) if rest.startswith(("[", "(", "{")) else (text, "")


def _md_cell(cell: TableCell) -> str:
    number, rest = number_and_rest(cell.text)
    text = markdown_text(number)
    text = f"**{text}**" if cell.mark == "best" else f"<u>{text}</u>" if cell.mark == "second" else text
    return f"{text} {markdown_text(rest)}" if rest else text


def markdown(table: Table) -> str:
    """Return a table as Markdown; the title of a block is a separate row."""
    lines = [f"**{markdown_text(table.caption)}**", ""]
    short = short_names(table)
    lines.append("| " + " | ".join(markdown_text(c) for c in (table.stub, *table.columns)) + " |")
    lines.append("|---|" + "--:|" * len(table.columns))
    for block in table.blocks:
        if block.title:
            lines.append(f"| *{markdown_text(block.title)}* |" + " |" * len(table.columns))
        for row in block.rows:
            label = markdown_text(short[row.label]) + (" †" if block.published else "")
            lines.append("| " + " | ".join([label, *map(_md_cell, row.cells)]) + " |")
    return "\n".join([*lines, "", *(line for note in table.notes for line in (markdown_text(note), ""))])


def csv_text(table: Table) -> str:
    """Return a table as CSV, one line per cell; no cell can be a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["table", "block", "row", "column", "value", "low", "high", "state", "mark"])
    for block in table.blocks:
        kind = "published" if block.published else block.title.lower() or "measured"
        for row in block.rows:
            for column, cell in zip(table.columns, row.cells, strict=True):
                numbers = ["" if x is None else x for x in (cell.value, cell.low, cell.high)]
                texts = [safe_cell(text) for text in (table.name, kind, row.label, column)]
                writer.writerow([*texts, *numbers, cell.state, cell.mark])
    return out.getvalue()
