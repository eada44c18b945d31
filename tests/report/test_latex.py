"""LaTeX tables: they compile alone and in a paper, fit its columns, and print every letter."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from echat_eval.leaderboard.table_choice import TableChoice
from echat_eval.report.cells import Block, Table, TableCell, TableRow
from echat_eval.report.latex import latex
from echat_eval.report.latex_text import latex_text
from echat_eval.report.published import published_blocks, published_tables
from echat_eval.report.runs import merge_runs
from echat_eval.report.tables import run_tables
from echat_eval.store.run_folder import RunFolder
from tests.support.scripted_world import HOSTILE
from tests.support.typesetting import typeset

#: Replaces the scaling of too wide tables by a line of the log with their width.
MEASURE = r"\def\resizebox#1#2#3{\setbox0\hbox{#3}\typeout{WIDTH \the\wd0 of \the\linewidth}\box0}"


def made_table(letters: str = "") -> Table:
    """Return a table that fits no column beside its intervals."""
    cell = TableCell(text="-12.3 [-15.6, -9.9] {-20.1..30.4}")
    systems = ("a-system-with-a-name-of-forty-characters (floor)", "系统", "b")
    rows = tuple(TableRow(label=name, cells=(TableCell(text="1 to 3"), *[cell] * 7)) for name in systems)
    title = "A title of a block that is far longer than any of its columns, and than the paper: " * 2
    return Table(
        name="made",
        caption=f"Everything{letters and ': '}{letters}",
        columns=("rank", *(f"Task number {n}, points ↑" for n in range(7))),
        blocks=(Block(rows=rows), Block(rows=rows[2:], title=title, published=True)),
        notes=(f'Notes in "quotes" {letters}',),
    )


@pytest.fixture(scope="module")
def tables(usual_run: RunFolder, hostile_run: RunFolder) -> list[Table]:
    unmarked = TableChoice(bold="none")  # the tests behind marks take seconds
    merged = merge_runs([usual_run], choice=unmarked)
    return [
        *run_tables(merged, published_blocks(list(merged.tasks)), "careful"),
        run_tables(merge_runs([hostile_run], choice=unmarked), {})[0],
        next(table for table in published_tables() if table.name.startswith("table-4-")),
        made_table(),
    ]


@pytest.mark.parametrize(
    ("encoding", "columns"), [("", "twocolumn"), (r"\usepackage[T1]{fontenc}", "onecolumn")]
)
def test_tables_fit_a_paper_by_input(
    tables: list[Table], tmp_path: Path, encoding: str, columns: str
) -> None:
    inputs = ""
    for wide in (False, True):
        for number, table in enumerate(tables):
            (tmp_path / f"t{wide}{number}.tex").write_text(latex(table, wide=wide), encoding="utf-8")
            inputs += rf"\input{{t{wide}{number}}}\clearpage"
    (tmp_path / "paper.tex").write_text(
        rf"\documentclass[{columns}]{{article}}{encoding}\usepackage{{booktabs,graphicx,textcomp}}{MEASURE}"
        rf"\begin{{document}}before {inputs} after\end{{document}}",
        encoding="utf-8",
    )
    log = typeset("pdflatex", tmp_path, "paper")
    assert "etc/passwd" not in log
    widths = [tuple(map(float, pair)) for pair in re.findall(r"WIDTH ([\d.]+)pt\s?of ([\d.]+)pt", log)]
    assert len(widths) >= 2 * len(tables)
    # A text of 345 points is narrower than that of any conference with one column.
    assert all(width < 1.15 * room for width, room in widths)
    if columns == "twocolumn":
        assert all(width < 1.03 * room for width, room in widths)


def test_a_file_compiles_alone_with_every_letter(tmp_path: Path) -> None:
    letters = " ".join([*(chr(code) for code in range(0x20, 0x180)), *"əșеş情😀\u0301", "e\u0301", HOSTILE])
    (tmp_path / "t.tex").write_text(latex(made_table(letters)), encoding="utf-8")
    assert "Missing character" not in typeset("pdflatex", tmp_path, "t")


def test_chinese_is_printed_by_xelatex(tmp_path: Path) -> None:
    (tmp_path / "t.tex").write_text(latex(made_table("情绪 ą đ")), encoding="utf-8")
    assert "Missing character" not in typeset("xelatex", tmp_path, "t")
    if shutil.which("pdftotext") is None or not fonts_with_chinese():
        pytest.skip("no pdftotext, or no font with Chinese letters (Debian: poppler-utils, fonts-noto-cjk)")
    subprocess.run(["pdftotext", "t.pdf"], cwd=tmp_path, check=True)
    text = (tmp_path / "t.txt").read_text(encoding="utf-8")
    assert "情绪 ą đ" in text
    assert "U+" not in text


def fonts_with_chinese() -> bool:
    if shutil.which("fc-list") is None:
        return False
    return bool(subprocess.run(["fc-list", ":lang=zh"], capture_output=True, check=True).stdout)


def test_no_column_is_stretched_by_a_title(tmp_path: Path) -> None:
    table = made_table()
    assert r"\makebox[0pt][l]" in latex(table)
    bare = replace(table, blocks=tuple(replace(block, title="") for block in table.blocks))
    for name, shown in (("titled", table), ("bare", bare)):
        text = latex(shown, wide=True).replace(
            r"\usepackage{textcomp", rf"\AtBeginDocument{{{MEASURE}}}\usepackage{{textcomp"
        )
        (tmp_path / f"{name}.tex").write_text(text, encoding="utf-8")
    widths = [
        re.findall(r"WIDTH ([\d.]+)pt", typeset("pdflatex", tmp_path, name)) for name in ("titled", "bare")
    ]
    assert widths[0] == widths[1] != []


def test_a_table_higher_than_a_page_has_several_floats(tmp_path: Path) -> None:
    rows = tuple(replace(made_table().blocks[0].rows[1], label=f"system {n}") for n in range(14))
    text = latex(replace(made_table(), blocks=(Block(rows=rows),)))
    assert text.count(r"\begin{table}") == text.count("(continued)") + 1 > 1
    assert text.count(r"\label{") == 1
    assert text.count("Notes in") == 1
    (tmp_path / "t.tex").write_text(text, encoding="utf-8")
    log = typeset("pdflatex", tmp_path, "t")
    assert "Float too large" not in log


def test_letters_without_a_glyph_become_code_points() -> None:
    for letter in "ĦħĸĿŀŉŦŧſ情":
        assert latex_text(letter) == rf"\EChatLetter{{{ord(letter):04X}}}{{{letter}}}"
    assert latex_text("Łódź Ğ Ĳ œ ž é") == "Łódź Ğ Ĳ œ ž é"


def test_hostile_names_are_escaped() -> None:
    shown = latex_text(HOSTILE)
    assert r"\input" not in shown.replace(r"\textbackslash{}input", "")
    assert not re.search(r"(?<!\\)[$%&#_]", shown)
