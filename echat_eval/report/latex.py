"""Tables as LaTeX (booktabs), which compile alone or by \\input, in papers of one or two columns."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from echat_eval.report.figure_style import CHINESE_FONTS
from echat_eval.report.formats import number_and_rest, short_names
from echat_eval.report.latex_layout import SMALL, Page, broken, floats_of, layout_of
from echat_eval.report.latex_text import MACROS, latex_text, needs_font

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from echat_eval.report.cells import Block, Table, TableCell
    from echat_eval.report.latex_layout import Layout

__all__ = ["alone", "latex"]


def alone(body: str, *, made: str, packages: str, width: float, ending: str = "") -> str:
    """Return a file that compiles alone, or contributes only its body when read by \\input.

    \\@nodocument is \\relax inside a document but not before it.

    Args:
        body: LaTeX.
        made: what the file is, for its first line.
        packages: names that the body needs, separated by commas.
        width: points of the text, if it compiles alone.
        ending: LaTeX behind the body, if it compiles alone.
    """
    if ending:
        body = "\n".join([body, r"\ifx\EChatEnd\relax\else", ending, r"\fi"])
    return rf"""% Made by echat-eval report: {made}. Compiles alone, or by \input under {packages}.
\expandafter\ifx\csname @nodocument\endcsname\relax\let\EChatEnd\relax\else
\documentclass{{article}}
\usepackage[textwidth={width:g}pt,textheight=240mm]{{geometry}}
\ifdefined\Umathchar\usepackage{{fontspec}}\else\usepackage[utf8]{{inputenc}}\usepackage[T1]{{fontenc}}\fi
\usepackage{{{packages}}}
{_font(body)}\let\EChatEnd\enddocument
\begin{{document}}
\fi
{MACROS}{body}
\EChatEnd
"""


def _font(body: str) -> str:
    """Return the choice of a second font for XeTeX and LuaTeX, if the text needs one."""
    if not needs_font(body):
        return ""
    tried = "".join(rf"\EChatTry{{{name}}}" for name in CHINESE_FONTS)
    return (
        r"\ifdefined\Umathchar" + "\n"
        r"\def\EChatTry#1{\ifdefined\EChatFont\else\IfFontExistsTF{#1}{\newfontfamily\EChatFont{#1}}{}\fi}"
        f"\n{tried}\n" + r"\fi" + "\n"
    )


def latex(table: Table, *, wide: bool = False) -> str:
    """Return a table as LaTeX.

    Args:
        table: the table.
        wide: for both columns of a paper in two columns, or the text width of one in one column.
    """
    page = Page.of(wide=wide)
    short = short_names(table)
    rows = [row for block in table.blocks for row in block.rows]
    layout = layout_of(
        page,
        [short[table.stub], *(short[row.label] for row in rows)],
        [short[column] for column in table.columns],
        [[number_and_rest(cell.text) for cell in row.cells] for row in rows],
    )
    notes = latex_text(" ".join(note if note.endswith(".") else f"{note}." for note in table.notes))
    floats = floats_of(layout, rows=len(rows), titles=sum(bool(block.title) for block in table.blocks))
    lines: list[str] = []
    for number, panels in enumerate(floats):
        continued = " (continued)" if number else ""
        lines += [
            *([r"\addtocounter{table}{-1}"] if number else []),
            rf"\begin{{{page.environment}}}[htbp]",
            # Most classes leave no room below a caption, which then touches the rule.
            rf"\centering{page.font}\setlength{{\belowcaptionskip}}{{5pt}}",
            rf"\setlength{{\tabcolsep}}{{{page.gap / 2:g}pt}}",
            r"\def\EChatLines#1#2{\begin{tabular}[#1]{@{}#2@{}}}",
            _cell_macro(stacked=layout.stacked),
            rf"\caption{{{latex_text(table.caption + continued)}}}",
        ]
        if not number:
            lines.append(rf"\label{{tab:echat-{re.sub('[^a-z0-9-]', '-', table.name.lower())}}}")
        for panel in panels:
            lines += [r"\par\smallskip"] if panel != panels[0] else []
            lines += _panel(table, short, page, layout, panel)
        if notes and number == len(floats) - 1:
            lines += [rf"\par\smallskip\parbox{{\linewidth}}{{\scriptsize {notes}}}"]
        lines.append(rf"\end{{{page.environment}}}")
    return alone("\n".join(lines), made="a table", packages="textcomp,booktabs,graphicx", width=page.points)


def _cell_macro(*, stacked: bool) -> str:
    """Return the definition of a number with its interval."""
    if stacked:
        return r"\def\EChatCell#1#2{\EChatLines{t}{r}#1\\[-1pt]{\scriptsize #2}\end{tabular}}"
    return r"\def\EChatCell#1#2{#1 {\scriptsize #2}}"


def _panel(table: Table, short: dict[str, str], page: Page, layout: Layout, number: int) -> Iterator[str]:
    """Yield the lines of one panel: some columns of every row."""
    columns = layout.panels[number]
    # A document may be narrower than its class promises; only then the table is made smaller.
    yield r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
    yield rf"\begin{{tabular}}{{@{{}}l{'r' * len(columns)}@{{}}}}"
    yield r"\toprule"
    stub = _lines(broken(short[table.stub], layout.stub, page.em), "b", "l")
    yield " & ".join([stub, *(_lines(layout.headings[n], "b", "r") for n in columns)]) + r" \\"
    for block in table.blocks:
        yield r"\midrule"
        yield from _title(block, len(columns) + 1, layout.widths[number])
        for row in block.rows:
            label = _lines(broken(short[row.label], layout.stub, page.em), "t", "l")
            label += latex_text("†") if block.published else ""
            yield " & ".join([label, *(_cell(row.cells[n]) for n in columns)]) + r" \\"
            if layout.stacked:
                yield r"\addlinespace[2pt]"
    yield r"\bottomrule"
    yield r"\end{tabular}}"


def _title(block: Block, columns: int, width: float) -> Iterator[str]:
    """Yield the title of a block. Boxes without width cannot stretch a column."""
    for line in broken(block.title, max(width, 1), SMALL) if block.title else ():
        words = rf"\makebox[0pt][l]{{\scriptsize\itshape {latex_text(line.rstrip())}}}"
        yield rf"\multicolumn{{{columns}}}{{@{{}}l}}{{{words}}} \\"


def _lines(lines: Sequence[str], place: str, side: str) -> str:
    """Return lines as one cell; a break where no space is has a mark, for readers of the file."""
    if len(lines) == 1:
        return latex_text(lines[0])
    text = latex_text(lines[0].rstrip())
    for before, line in pairwise(lines):
        text += (r"\\ " if before.endswith(" ") else r"\\{}") + latex_text(line.rstrip())
    return rf"\EChatLines{{{place}}}{{{side}}}{text}\end{{tabular}}"


def _cell(cell: TableCell) -> str:
    number, rest = number_and_rest(cell.text)
    text = latex_text(number)
    if cell.mark:
        text = (r"\textbf{" if cell.mark == "best" else r"\underline{") + text + "}"
    return rf"\EChatCell{{{text}}}{{{latex_text(rest)}}}" if rest else text
