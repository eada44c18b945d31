"""Committed results of bench/stats: the goals they reach, and the documents that show them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.stats import calibration, listening_gap, match_people, one_rater, people, recall, task_leaks
from bench.support.cells import markdown

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")


def rows(results: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(results.read_text(encoding="utf-8"))["cells"]
    return found


def test_macro_recall_covers_at_least_93_percent_or_is_untold() -> None:
    found = rows(recall.RESULTS)
    assert [row["cell"] for row in found] == [cell.name for cell in recall.CELLS]
    for cell, row in zip(recall.CELLS, found, strict=True):
        assert row["runs"] >= 10_000
        if 1 in cell.speakers:
            assert (row["coverage"], row["untold"]) == (None, 100)
        else:
            assert row["coverage"] >= 93


@pytest.mark.parametrize(
    "bench",
    [listening_gap, recall, people, match_people, calibration, one_rater, task_leaks],
    ids=lambda bench: bench.RESULTS.stem,
)
def test_the_document_shows_the_results(bench: Any) -> None:
    assert markdown(rows(bench.RESULTS), bench.COLUMNS) in PAGE


def test_means_of_ratings_cover_at_least_93_percent() -> None:
    found = rows(people.RESULTS)
    assert [row["cell"] for row in found] == [cell.name for cell in people.CELLS]
    assert min(row["runs"] for row in found) >= 10_000
    assert min(row["coverage"] for row in found) >= 93
    assert found[0]["coverage, over replies"] < 65


def test_match_rates_by_people_cover_at_least_93_percent() -> None:
    found = rows(match_people.RESULTS)
    assert [row["cell"] for row in found] == [cell.name for cell in match_people.CELLS]
    assert min(row["runs"] for row in found) >= 5_000
    assert min(row["coverage"] for row in found) >= 93
    assert found[1]["coverage, over groups"] < 90


def test_the_listening_gap_holds_and_is_detected() -> None:
    found = rows(listening_gap.RESULTS)
    assert [row["cell"] for row in found] == [cell.name for cell in listening_gap.CELLS]
    for cell, row in zip(listening_gap.CELLS, found, strict=True):
        assert row["runs"] >= 1000
        assert row["holds"] >= 93.5
        assert abs(row["mean gap"] - cell.gap) < 0.5
        if "transcript only" in cell.system:
            assert row["holds 0"] >= 93.5
        elif cell.gap:
            assert row["detected"] >= (95 if "gold" in cell.system else 80)


def test_the_listening_gap_of_a_short_run_is_the_planted_one() -> None:
    crossed = next(c for c in listening_gap.CELLS if c.system == "gap of 20" and "crossed" in c.design)
    row = listening_gap.measure(crossed, 12, 0)
    assert abs(row["mean gap"] - 20) < 4
    assert row["detected"] >= 80


def test_a_judge_like_one_rater_is_held_at_zero_and_a_noisier_one_is_not() -> None:
    found = rows(one_rater.RESULTS)
    assert [row["cell"] for row in found] == [cell.name for cell in one_rater.CELLS]
    for cell, row in zip(one_rater.CELLS, found, strict=True):
        if cell.judge_noise > 1:
            assert row["judge - rater"] < -0.2
            assert max(row[column] for column in one_rater.HOLDS) < 50
        elif not cell.severity:
            assert abs(row["judge - rater"]) < 0.01 < 0.09 < row["judge - people"]
            assert min(row[column] for column in one_rater.HOLDS) >= 93


def test_calibrated_classifiers_are_held_at_zero() -> None:
    found = rows(calibration.RESULTS)
    assert [row["cell"] for row in found] == [cell.name for cell in calibration.CELLS]
    for cell, row in zip(calibration.CELLS, found, strict=True):
        assert row["coverage"] >= 94
        if not cell.gap:
            assert 94 <= row["contains 0"] <= 98


@pytest.mark.parametrize("cell", recall.CELLS[:1] + recall.CELLS[3:4], ids=lambda cell: cell.name)
def test_macro_recall_covers_in_a_short_run(cell: recall.Cell) -> None:
    assert recall.measure(cell, 150, 0)["coverage"] >= 90


def test_leaks_are_refused_at_the_stated_rates() -> None:
    found = rows(task_leaks.RESULTS)
    assert len(found) == len(task_leaks.CELLS)
    by_leak = {
        leak: [r["refused"] for r in found if r["cell"].startswith(leak)] for leak in ("no", "leak of 5")
    }
    assert max(by_leak["no"]) <= 2.5
    assert max(by_leak["leak of 5"]) <= 4.0  # 2.5, and a standard error of 1.1
    assert all(72 <= r["refused"] <= 88 for r in found if r["cell"].startswith("leak of 10"))
