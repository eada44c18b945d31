"""Comparisons: paired, sliced, marked, with what flipped and where it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from echat_eval.analysis import ScoredSystem, check_table, compare, to_text, trend
from echat_eval.analysis.compare_runs import compare_runs
from echat_eval.analysis.compare_text import trend_text
from echat_eval.analysis.trend import Trend
from echat_eval.errors import BadData, UsageError
from echat_eval.gate import MetricRule, decide
from echat_eval.gate.policy import build_policy
from echat_eval.store.manifest import RunManifest, SystemFacts
from tests.support.present import present

Table = Callable[..., pd.DataFrame]
RULES = {"empathy": MetricRule(higher_is_better=True, low=0, high=100)}


def run(name: str, frame: pd.DataFrame, **hashes: str) -> ScoredSystem:
    return ScoredSystem(
        name=name,
        system="ours",
        frame=check_table(frame),
        hashes={("tasks", k): v for k, v in hashes.items()},
    )


def test_times_by_different_clocks_are_not_compared(table: Table) -> None:
    def live(name: str, turn: str) -> ScoredSystem:
        both = [table(n=50), table(n=50, metric="first_audio_seconds")]
        manifest = RunManifest(systems={"ours": SystemFacts(settings={"turn": turn, "pace": "real_time"})})
        return replace(run(name, pd.concat(both)), manifest=manifest)

    timed = {"first_audio_seconds": MetricRule(higher_is_better=False)}
    old, new = live("old", "commit"), live("new", "vad")
    found = compare(old, new, metrics=RULES | timed)
    assert {cell.metric for cell in found.cells} == {"empathy"}
    why = "first_audio_seconds: not compared: new was measured with turn=vad and old with turn=commit"
    assert any(why in note for note in found.notes)
    with pytest.raises(UsageError, match=why):
        compare(old, new, metrics=timed)
    assert compare(old, live("new", "commit"), metrics=timed).cells
    assert compare(old, new, metrics=timed, anyway=True).cells


def test_tasks_are_paired_t_tests_adjusted_by_holm(table: Table) -> None:
    one, other = table(n=200, per_cluster=1), table(-2, seed=2, n=200, per_cluster=1)
    got = compare(run("a", one), run("b", other), metrics=RULES)
    tasks = {cell.name: cell for cell in got.cells if cell.part == "task"}
    raw = {}
    for task, cell in tasks.items():
        d = (other["value"] - one["value"])[one["task"] == task]
        want = scipy_stats.ttest_1samp(d, 0)
        interval = want.confidence_interval()
        # Forty clusters: the side that the skewness points to is longer by skew x (2 q^2 + 1) / 6 / sqrt(n).
        q, skew = scipy_stats.t.ppf(0.975, len(d) - 1), scipy_stats.skew(d)
        low, high = (1 + max(0, s * skew) * (2 * q**2 + 1) / 6 / len(d) ** 0.5 / q for s in (-1, 1))
        mean = d.mean()
        assert cell.low == pytest.approx(mean - low * (mean - interval.low))
        assert cell.high == pytest.approx(mean + high * (interval.high - mean))
        sides = (want.statistic / high, -want.statistic / low)
        raw[task] = min(1, 2 * min(scipy_stats.t.cdf(t, len(d) - 1) for t in sides))
        assert cell.p == pytest.approx(raw[task])
        assert 0.99 < cell.p / want.pvalue < 2
        assert (cell.won, cell.lost) == pytest.approx(((d > 0).mean(), (d < 0).mean()))
    adjusted = multipletests(list(raw.values()), method="holm")[1]
    assert [tasks[task].adjusted for task in raw] == pytest.approx(list(adjusted))
    pooled = next(cell for cell in got.cells if cell.part == "pooled")
    assert pooled.adjusted == pooled.p
    assert pooled.n == 200


def test_clusters_that_agree_by_chance_exclude_little_and_no_interval_leaves_the_range(table: Table) -> None:
    one = table(n=4, per_cluster=2)
    other = one.assign(value=one["value"] - np.tile([28.0, 0.0], 2))
    got = compare(run("a", one), run("b", other), metrics=RULES)
    pooled = next(cell for cell in got.cells if cell.part == "pooled")
    assert present(pooled.difference).value == pytest.approx(-14)
    # Two clusters: at most 1 - 0.025 ** (1 / 2) of all differ from these, by up to 100 points.
    assert (pooled.low, pooled.high) == pytest.approx(
        (-14 - 100 * (1 - 0.025**0.5), -14 + 100 * (1 - 0.025**0.5))
    )
    assert present(pooled.p) > 0.2
    apart = one.assign(value=np.repeat([0.0, 90.0], 2)), one.assign(value=np.repeat([90.0, 0.0], 2))
    wide = compare(run("a", apart[0]), run("b", apart[1]), metrics=RULES)
    assert all((cell.low, cell.high) == (-100, 100) for cell in wide.cells if cell.part == "pooled")


def test_shares_and_flips_follow_the_direction(table: Table) -> None:
    one = table(n=40, per_cluster=2)
    other = one.assign(value=one["value"] + np.tile([0.0, 3.0, -5.0, -1.0], 10))
    rule = {"empathy": MetricRule(higher_is_better=True)}
    got = compare(run("a", one), run("b", other), metrics=rule)
    pooled = got.cells[0]
    assert (pooled.won, pooled.lost, pooled.tied) == (0.25, 0.5, 0.25)
    assert [flip.change for flip in got.flips[:10]] == pytest.approx([-5.0] * 10)
    assert len(got.flips) == 30
    turned = compare(run("a", one), run("b", other), metrics={"empathy": MetricRule(higher_is_better=False)})
    assert turned.cells[0].won == 0.5
    assert turned.flips[0].change == pytest.approx(-3.0)


def test_slices_are_secondary(table: Table) -> None:
    kinds: dict[str, Any] = {
        "source": np.where(np.arange(400) % 3 == 0, "real", "synthetic"),
        "language": "en",
    }
    got = compare(run("a", table().assign(**kinds)), run("b", table(seed=2).assign(**kinds)), metrics=RULES)
    slices = [cell for cell in got.cells if cell.part == "slice"]
    assert [cell.name for cell in slices] == ["source = real", "source = synthetic"]
    assert all(cell.adjusted is None for cell in slices)
    assert any("secondary" in line for line in to_text(got))


def test_unlike_runs_are_refused_or_marked(table: Table) -> None:
    one, other = run("a", table(), emotion="1111", age="2"), run("b", table(seed=2), emotion="3333", age="2")
    with pytest.raises(UsageError, match=r"task 'emotion' differs \(1111 in a, 3333 in b\)"):
        compare(one, other, metrics=RULES)
    lines = to_text(compare(one, other, metrics=RULES, anyway=True))
    numbers = [line for line in lines if "[" in line]
    assert len(numbers) == 6
    assert all(line.endswith("†") for line in numbers)
    assert not any(
        "†" in line for line in to_text(compare(one, replace(other, hashes=one.hashes), metrics=RULES))
    )


def test_missing_rows_widen_and_one_cluster_cannot_tell(table: Table) -> None:
    whole = compare(run("a", table()), run("b", table(seed=2)), metrics=RULES).cells[0]
    holed = compare(run("a", table()), run("b", table(seed=2, missing=0.1)), metrics=RULES).cells[0]
    assert holed.missing > 0
    assert holed.low is not None
    assert whole.low is not None
    assert holed.low < whole.low - 3
    alone = compare(run("a", table(per_cluster=400)), run("b", table(seed=2, per_cluster=400)), metrics=RULES)
    assert alone.cells[0].low is None
    assert any("cannot tell" in line for line in to_text(alone))


def test_a_sample_with_two_gold_labels_is_refused_in_one_line(table: Table) -> None:
    labels = ["sad"] * 400
    other = table(seed=2).assign(label=["happy", *labels[1:]])
    message = "task 'emotion', sample 's0': the label is 'happy' in the candidate and 'sad' in the baseline, and 0 more"
    with pytest.raises(BadData, match=message):
        compare(run("a", table().assign(label=labels)), run("b", other), metrics=RULES)
    assert compare(run("a", table().assign(label=labels)), run("b", table(seed=2)), metrics=RULES).cells


def test_tasks_with_scales_of_their_own_have_no_difference_over_all_and_the_gate_decides_by_it(
    table: Table,
) -> None:
    facts = {"higher_is_better": True, "low": 0.0, "high": 100.0, "pooled": False, "title": "Empathy"}
    runs = [replace(run(f"stage {k}", table(2.0 * k, seed=k)), metrics={"empathy": facts}) for k in range(3)]
    compared = compare_runs(runs)
    parts = {cell.part for found in compared.comparisons for cell in found.cells}
    assert parts == {"task"}
    assert "empathy: by task only; each task has a scale of its own" in compared.comparisons[0].notes
    assert {found.task for found in compared.trends} == set(runs[0].frame["task"])
    (title,) = [line for line in trend_text(list(compared.trends), marked=False) if " -> stage 1" in line]
    assert title.startswith("empathy: stage 0 -> stage 1")

    one_task = compare_runs([replace(r, frame=r.frame[r.frame["task"] == "age"]) for r in runs[:2]])
    assert [cell.part for cell in one_task.comparisons[0].cells] == ["pooled", "task"]
    policy = build_policy({"margin": 3, "metrics": {"empathy": {}}}, known={"empathy": facts})
    decision = decide(runs[1].frame, runs[0].frame, policy)
    (whole,) = [cell for cell in compare(*runs[:2], metrics=RULES).cells if cell.part == "pooled"]
    assert decision.difference == whole.difference


def test_a_trend_is_the_slope_within_samples(table: Table) -> None:
    runs = [run(f"stage {k}", table(2.0 * k, seed=k, noise=4)) for k in range(3)]
    pooled, *tasks = trend(runs, metrics=RULES)
    wide = np.column_stack([r.frame["value"] for r in runs])
    want = np.polyfit([0, 1, 2], wide.T, 1)[0]
    assert pooled.slope.value == pytest.approx(want.mean())
    assert pooled.slope.low is not None
    assert pooled.slope.low > 1
    assert [one.task for one in tasks] == ["age", "emotion", "event", "gender", "multi"]
    assert pooled.means == pytest.approx(tuple(wide.mean(axis=0)))


def test_a_trend_runs_over_the_samples_all_runs_have(table: Table) -> None:
    runs = [run("1", table()), run("2", table(seed=2, missing=0.2)), run("3", table(seed=3).iloc[50:])]
    assert trend(runs, metrics=RULES)[0].slope.n < 300


@pytest.mark.parametrize("average", ["mean", "macro", "ratio"])
def test_the_interval_of_a_trend_covers_missing_rows_at_their_worst_and_best(
    table: Table, average: Literal["mean", "macro", "ratio"]
) -> None:
    rule = MetricRule(higher_is_better=False, low=0, high=100, average=average)
    columns = {"label": np.where(np.arange(400) % 3, "sad", "happy"), "weight": np.arange(400) % 7 + 1.0}
    frames = [table(k, seed=k).assign(**columns) for k in range(3)]

    def slope(early: float, late: float) -> Trend:
        """Return the trend with these values in some rows of the first and of the last run."""
        gone = [frame.copy() for frame in frames]
        gone[0].loc[:30, "value"], gone[2].loc[20:60, "value"] = early, late
        return trend([run(str(k), frame) for k, frame in enumerate(gone)], metrics={"empathy": rule})[0]

    holed = slope(np.nan, np.nan)
    worst, best = slope(0.0, 100.0), slope(100.0, 0.0)
    kept = trend([run(str(k), frame[61:]) for k, frame in enumerate(frames)], metrics={"empathy": rule})[0]
    assert (holed.missing, holed.slope, holed.means) == (61, kept.slope, kept.means)
    assert (holed.low, holed.high) == pytest.approx((worst.low, best.high))
    assert present(holed.low) < present(kept.low)
    assert present(kept.high) < present(holed.high)


def test_a_trend_with_missing_rows_and_an_open_range_cannot_tell_or_has_a_cap(table: Table) -> None:
    runs = [run("1", table()), run("2", table(seed=2)), run("3", table(seed=3, missing=0.05))]
    (open_both,) = trend(runs, metrics={"empathy": MetricRule(higher_is_better=True)})[:1]
    assert (open_both.low, open_both.high) == (None, None)
    assert any("cannot tell" in line for line in trend_text([open_both], marked=False))
    compared = compare_runs(runs, metrics={"empathy": MetricRule(higher_is_better=True, low=0)})
    (pooled,) = [found for found in compared.trends if found.task is None]
    largest = max(one.frame["value"].max() for one in runs)
    assert pooled.rule.missing_at_most == 2 * largest
    assert pooled.low is not None
    assert f"{pooled.missing} missing" in trend_text([pooled], marked=False)[-1]
    assert any(note.startswith("trend of empathy: it has no upper end; each") for note in compared.notes)


def test_names_cannot_steer_the_terminal(table: Table) -> None:
    odd = table().assign(task="emo\x1b[2Jtion")
    lines = to_text(
        compare(run("a\x1b[31m", odd), run("b", odd.assign(value=odd["value"] / 2)), metrics=RULES)
    )
    assert not any("\x1b" in line for line in lines)
