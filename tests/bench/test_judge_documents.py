"""Committed results of bench/judges: the goals they reach, and the documents that show them."""

from __future__ import annotations

import json
from pathlib import Path

from bench.judges import ppi, short
from bench.support.cells import markdown

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
ROWS = json.loads(ppi.RESULTS.read_text(encoding="utf-8"))["cells"]


def test_the_short_form_names_every_bench() -> None:
    modules = {path.stem for path in (ROOT / "bench" / "judges").glob("*.py")}
    assert set(short.BENCHES) == modules - {"short"}


def test_the_document_shows_the_means_with_a_judge() -> None:
    assert [row["cell"] for row in ROWS] == [cell.name for cell in ppi.CELLS]
    assert markdown(ROWS, ppi.COLUMNS) in PAGE


def test_means_with_a_judge_cover_and_are_narrower() -> None:
    for cell, row in zip(ppi.CELLS, ROWS, strict=True):
        assert row["runs"] >= 2_000
        assert row["width"] <= 1.05
        if cell.picked:
            assert row["coverage"] < 50, "clusters picked by hand are the case that fails"
            continue
        assert 93 <= row["coverage"] <= 97.5
        assert row["coverage, judge"] < 10
        plain = not (cell.saturated or cell.matched)
        if (
            cell.correlation >= 0.7
            and cell.rated >= 40
            and plain
            and cell.severity <= 5
            and cell.raters >= 20
        ):
            assert row["width"] <= 0.80


def test_the_shape_of_a_cell_is_measured_anew() -> None:
    row = ppi.measure(ppi.Cell(40, 400, 0.7), 40, 1)
    assert row["width"] < 0.85
    assert row["coverage, judge"] < 20
