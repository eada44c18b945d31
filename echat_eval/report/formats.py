"""Tables as LaTeX (booktabs), Markdown and CSV, with all names escaped."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

from echat_eval.io.csv_cells import safe_cell
from echat_eval.io.display import TABLE_NAME_CHARACTERS, markdown_text, one_line, unique_labels

if TYPE_CHECKING:
    from echat_eval.report.cells import Table, TableCell

__all__ = ["csv_text", "latex", "latex_text", "markdown", "shortened"]

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "-": "{-}",
    "[": "{[}",
    "]": "{]}",
    "†": r"$^\dagger$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "…": r"\ldots{}",
    "Δ": r"$\Delta$",
    "–": "--",
}
#: The first letters without a glyph in the fonts of pdfTeX, and letters of Latin Extended-A without one.
_NO_GLYPH_FROM, _NO_GLYPH = 0x180, set("ĦħĸĿŀŉŦŧſ")

#: Lets a file compile alone, or give only its table when read by \input: \@nodocument is \relax inside a
#: document but not before it.
_HEAD = r"""% Made by echat-eval report. Compiles alone, or by \input under booktabs, graphicx, textcomp.
\expandafter\ifx\csname @nodocument\endcsname\relax\let\EChatEnd\relax\else
\documentclass{article}
\usepackage[utf8]{inputenc}\usepackage[T1]{fontenc}\usepackage{textcomp,booktabs,graphicx}
\usepackage[landscape,margin=15mm]{geometry}
\let\EChatEnd\enddocument
\begin{document}
\fi
% pdfTeX prints characters without a font as code points; XeTeX and LuaTeX print them.
\providecommand{\EChatLetter}[2]{\ifdefined\Umathchar#2\else{\scriptsize[U+#1]}\fi}
"""


def shortened(name: str) -> str:
    """Return a name for a printed table."""
    return one_line(name, TABLE_NAME_CHARACTERS)


def _short_names(table: Table) -> dict[str, str]:
    """Return name -> label of the columns and rows of a printed table; labels differ where names do."""
    rows = unique_labels((row.label for block in table.blocks for row in block.rows), TABLE_NAME_CHARACTERS)
    return unique_labels((table.stub, *table.columns), TABLE_NAME_CHARACTERS) | rows


def latex_text(text: str) -> str:
    r"""Return text escaped for LaTeX.

    >>> latex_text("a_b \\input{x}")
    'a\\_b \\textbackslash{}input\\{x\\}'
    """
    return "".join(_letter(c) for c in text if c.isprintable())


def _letter(character: str) -> str:
    if character in _LATEX:
        return _LATEX[character]
    if ord(character) < _NO_GLYPH_FROM and character not in _NO_GLYPH:
        return character
    return rf"\EChatLetter{{{ord(character):04X}}}{{{character}}}"


def _parts(text: str) -> tuple[str, str]:
    """Return a cell's number and what follows it in brackets; other texts, such as "1 to 3", are whole."""
    number, _, rest = text.partition(" ")
    return (number, rest) if rest.startswith(("[", "(", "{")) else (text, "")


def _latex_cell(cell: TableCell) -> str:
    number, rest = _parts(cell.text)
    text = latex_text(number)
    if cell.mark:
        text = (r"\textbf{" if cell.mark == "best" else r"\underline{") + text + "}"
    return text + (rf" {{\scriptsize {latex_text(rest)}}}" if rest else "")


def latex(table: Table) -> str:
    """Return a table as LaTeX that compiles alone and by \\input."""
    width = len(table.columns) + 1
    short = _short_names(table)
    lines = [
        _HEAD + r"\begin{table}[htbp]",
        r"\centering\small",
        rf"\caption{{{latex_text(table.caption)}}}",
        rf"\label{{tab:echat-{re.sub('[^a-z0-9-]', '-', table.name.lower())}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{@{{}}l{'r' * (width - 1)}@{{}}}}",
        r"\toprule",
        " & ".join(latex_text(short[c]) for c in (table.stub, *table.columns)) + r" \\",
    ]
    for block in table.blocks:
        lines.append(r"\midrule")
        if block.title:
            words = rf"\scriptsize\itshape {latex_text(block.title)}"
            lines.append(rf"\multicolumn{{{width}}}{{@{{}}p{{0.95\linewidth}}}}{{{words}}} \\")
        for row in block.rows:
            label = latex_text(short[row.label]) + (_LATEX["†"] if block.published else "")
            lines.append(" & ".join([label, *map(_latex_cell, row.cells)]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}}"]
    if table.notes:
        lines += ["", r"\smallskip\parbox{\linewidth}{\scriptsize " + latex_text(" ".join(table.notes)) + "}"]
    return "\n".join([*lines, r"\end{table}", r"\EChatEnd", ""])


def _md_cell(cell: TableCell) -> str:
    number, rest = _parts(cell.text)
    text = markdown_text(number)
    text = f"**{text}**" if cell.mark == "best" else f"<u>{text}</u>" if cell.mark == "second" else text
    return f"{text} {markdown_text(rest)}" if rest else text


def markdown(table: Table) -> str:
    """Return a table as Markdown; the title of a block is a separate row."""
    lines = [f"**{markdown_text(table.caption)}**", ""]
    short = _short_names(table)
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
