"""docs/gate.md shows the committed results of the gate's benches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.gate import crossed, drift, levels, plan, sequential, short, sparse
from bench.gate.draws import Cell
from echat_eval.stats import as_design

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")


def test_tables_of_crossed_sparse_and_bounded_scores_are_those_of_the_results() -> None:
    found = json.loads(crossed.RESULTS.read_text(encoding="utf-8"))
    assert crossed.table(found["cells"]) in PAGE
    assert crossed.table_of_few(found["few"]) in PAGE
    assert sparse.table(json.loads(sparse.RESULTS.read_text(encoding="utf-8"))["worlds"]) in PAGE
    assert levels.table(json.loads(levels.RESULTS.read_text(encoding="utf-8"))["cells"]) in PAGE


def test_crossed_cells_keep_their_rates() -> None:
    found = json.loads(crossed.RESULTS.read_text(encoding="utf-8"))
    assert min(cell["runs"] for part in ("cells", "few") for cell in found[part]) >= 20_000
    for cell in found["cells"]:
        assert cell["false pass, two-way"] <= 3.5
        assert cell["coverage, two-way"] >= 93
    for cell in found["few"]:
        assert cell[f"false pass, {crossed.GIVEN}"] <= 3.0


@pytest.mark.parametrize("cell", crossed.FEW_CELLS[:2], ids=lambda cell: cell.name)
def test_few_levels_are_measured_given_these_levels(cell: crossed.Cell) -> None:
    row = crossed.measure(cell, 400)
    assert row[f"false pass, {crossed.GIVEN}"] < 6  # type: ignore[operator]
    assert row[f"false pass, others, {crossed.GIVEN}"] > 8  # type: ignore[operator]


def test_runs_keep_the_chances_of_their_plan() -> None:
    found = json.loads(plan.RESULTS.read_text(encoding="utf-8"))
    assert plan.table(found["rows"]) in PAGE
    assert found["worst distance"] == round(plan.worst(found["rows"]), 2) <= 2.0
    assert min(row["runs"] for row in found["rows"]) >= 20_000


@pytest.mark.parametrize("number", [2, 5])
def test_a_plan_keeps_its_chances_in_short(number: int) -> None:
    cell, margin = plan.CELLS[number]
    row = plan.measure(cell, margin, 2000, as_design(cell.units()))
    assert plan.worst([row]) < 4  # Monte Carlo error of 2,000 runs: 1.1


def test_looks_keep_their_rates() -> None:
    found = json.loads(sequential.RESULTS.read_text(encoding="utf-8"))
    assert sequential.table(found["summary"]) in PAGE
    assert sequential.summary(found["cells"]) == found["summary"]
    assert found["summary"]["worst false pass"] <= 3.0
    assert found["summary"]["worst false regress"] <= 5.5
    assert found["summary"]["least same verdict"] >= 93
    assert min(cell["runs"] for cell in found["cells"]) >= 400


def test_looks_stop_early_in_short() -> None:
    row = sequential.measure(Cell("lognormal", 100, 0.1, 600), 50)
    assert row["looks"] == 5
    assert row["calls twice"] < 75 < row["calls margin"]
    assert row["same verdict"] >= 90
    assert row["false pass"] <= 12  # 50 runs


def test_the_short_form_names_every_bench() -> None:
    modules = {path.stem for path in (ROOT / "bench" / "gate").glob("*.py")}
    assert set(short.BENCHES) == modules - {"draws", "short"}


def test_drops_by_a_shifted_judge_keep_their_rates() -> None:
    found = json.loads(drift.RESULTS.read_text(encoding="utf-8"))
    assert found["further calls"] <= 10
    assert [row["world"] for row in found["worlds"]] == [world.name for world in drift.WORLDS]
    for row in found["worlds"]:
        assert row["runs"] >= 3000
        assert row["false drop, anchors"] <= 3.0
        assert row["false pass, anchors"] <= 3.0
    assert found["worlds"][2]["false drop, today"] > 14
    assert drift.table(found) in PAGE


def test_a_short_run_of_the_shift_finds_it() -> None:
    row = drift.measure(drift.World(between=8.0), 40)
    assert row["shift detected"] > 50
    assert row["false drop, anchors"] <= 10 < row["false drop, today"]
