"""Change points have a known error rate, find a change where it is, and read a nightly folder of runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

import echat_eval as ev
from echat_eval.analysis.change_points import ERROR, cuts
from echat_eval.analysis.nightly import specs_of
from echat_eval.api import trend
from echat_eval.cli.compare_gate import compare_command
from echat_eval.errors import BadData, UsageError
from echat_eval.stats import cluster_mean
from tests.support.score_tables import scores

NIGHTS, CLUSTERS, SIZE = 8, 20, 3


def drawn(rng: np.random.Generator, shift: np.ndarray) -> Callable[[np.ndarray], object]:
    """Return the estimator of a series of nights with these shifts, with effects of clusters on each night."""
    units = np.repeat(np.arange(CLUSTERS), SIZE)
    values = rng.normal(60, 10, (len(units), 1)) + rng.normal(0, 5, (len(units), NIGHTS)) + shift
    values += rng.normal(0, 3, (CLUSTERS, NIGHTS))[units]
    return lambda factors: cluster_mean(values @ factors, units)


def test_a_metric_that_never_changed_rarely_has_a_change_point() -> None:
    rng, runs = np.random.default_rng(1), 300
    false = sum(bool(cuts(NIGHTS, drawn(rng, np.zeros(NIGHTS)))) for _ in range(runs))  # type: ignore[arg-type]
    assert false / runs <= ERROR + 2 * (ERROR * (1 - ERROR) / runs) ** 0.5
    assert false > 0, "the bound is not far off"


def test_a_change_is_found_where_it_is_and_rarely_another_one() -> None:
    rng, runs, place = np.random.default_rng(2), 100, 5
    shift = np.where(np.arange(NIGHTS) < place, 0.0, -6.0)
    found = [cuts(NIGHTS, drawn(rng, shift)) for _ in range(runs)]  # type: ignore[arg-type]
    at_place = [[change for change in changes if change[0] == place] for changes in found]
    assert sum(map(bool, at_place)) >= 0.9 * runs
    assert sum(len(changes) > 1 for changes in found) <= 0.12 * runs
    sizes = [changes[0][1].value for changes in at_place if changes]
    assert np.mean(sizes) == pytest.approx(-6, abs=0.5)


def test_two_changes_are_found() -> None:
    shift = np.array([0, 0, 0, 8, 8, 8, 0, 0.0])
    found = cuts(NIGHTS, drawn(np.random.default_rng(3), shift))  # type: ignore[arg-type]
    assert [place for place, *_ in found] == [3, 6]
    assert [np.sign(size.value) for _, size, _ in found] == [1, -1]


@pytest.fixture
def nights(tmp_path: Path) -> Path:
    """A folder of twelve tables; the score falls at night 9, and night 4 lacks the error rate."""
    folder = tmp_path / "nightly"
    folder.mkdir()
    for night in range(1, 13):
        table = scores(-8.0 * (night >= 9), night, n=120).assign(direction="higher", low=0, high=100)
        errors = scores(0, 100 + night, n=120, metric="wer").assign(direction="lower", low=0, average="ratio")
        errors = errors.assign(value=errors["value"] / 10, weight=np.arange(120) % 7 + 1.0)
        parts = [table] if night == 4 else [table, errors]
        pd.concat(parts).to_csv(folder / f"night-{night}.csv", index=False)
    return folder


def test_a_nightly_folder_becomes_one_figure_and_one_table(nights: Path, tmp_path: Path) -> None:
    out = tmp_path / "trend"
    done: Result = CliRunner().invoke(
        compare_command, [str(nights), "--trend", str(out)], standalone_mode=False
    )
    assert done.exception is None
    lines = done.output.splitlines()
    assert lines[0] == "12 runs, night-1 to night-12; above 0 is better"
    assert any(line.startswith("  empathy") and "night-9 -7." in line for line in lines)
    assert any(line.startswith("  wer") and line.endswith("no change point") for line in lines)
    assert "note: wer: without night-4, where 0 of 120 samples have a value" in lines
    table = pd.read_csv(out / "trend.csv")
    assert table["change"].notna().sum() == 1
    wer = table.query("metric == 'wer'").set_index("run")["mean"]
    assert wer.isna().sum() == 1
    raw = pd.read_csv(nights / "night-1.csv").query("metric == 'wer'")
    assert wer["night-1"] == pytest.approx(np.average(raw["value"], weights=raw["weight"]))
    assert "night-9 -7." in (out / "trend.md").read_text().replace("\\", "").replace("\u200b", "")
    assert (out / "trend.png").read_bytes().startswith(b"\x89PNG")
    again = trend(str(nights), out=out)
    assert again == lines


def test_runs_are_named_as_everywhere(nights: Path, tmp_path: Path) -> None:
    specs = [f"{name}={nights}/night-{n}.csv" for name, n in (("old", 1), ("mid", 8), ("new", 9))]
    lines = trend(*specs, out=tmp_path / "out", metrics="empathy")
    assert lines[0].startswith("3 runs, old to new")
    assert "new -" in lines[1]


def test_a_folder_is_read_in_the_order_of_its_numbers(nights: Path, tmp_path: Path) -> None:
    assert [spec.partition("=")[0] for spec in specs_of([str(nights)])] == [
        f"night-{n}" for n in range(1, 13)
    ]
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadData, match="a folder without runs, baselines or tables"):
        specs_of([str(tmp_path / "empty")])
    with pytest.raises(UsageError, match="the folder has 12 runs, which have names of their own"):
        specs_of([f"all={nights}"])


def test_a_trend_of_one_run_is_misuse(nights: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="got 1 run; expected two or more"):
        trend(f"{nights}/night-1.csv", out=tmp_path / "out")
    assert ev.compare(f"{nights}/night-1.csv", f"{nights}/night-2.csv").comparisons
