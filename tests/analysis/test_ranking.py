"""Ranks of systems on the samples they share, against scipy and statsmodels, and with rows that are not there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from echat_eval.analysis.metric_rule import MetricRule
from echat_eval.analysis.ranking import Ranking, SystemRows, rank_systems
from echat_eval.errors import UsageError
from tests.support.present import present

POINTS = MetricRule(higher_is_better=True, low=0, high=100)


def ranked(
    columns: dict[str, np.ndarray],
    *,
    rule: MetricRule = POINTS,
    weights: np.ndarray | None = None,
    units: np.ndarray | None = None,
    **options: Any,
) -> Ranking:
    """Return the ranking of scores, (samples,) each; NaN: missing, infinite: not applicable."""
    rows = {}
    for name, column in columns.items():
        states = np.full(len(column), "value", dtype=object)
        states[np.isnan(column)], states[np.isinf(column)] = "missing", "not applicable"
        values = np.where(np.isfinite(column), column, np.nan)
        rows[name] = SystemRows(states, values, np.ones(len(column)) if weights is None else weights)
    samples = len(next(iter(columns.values())))
    if units is None:  # every sample is a cluster of its own
        units = np.stack([np.arange(samples)] * 2, axis=1)
    labels = [None] * samples
    return rank_systems(rows, metric="score", rule=rule, units=units, labels=labels, **options)


def sets_of(ranking: Ranking) -> dict[str, str]:
    return {name: str(found) for name, found in ranking.sets.items()}


def mirrored(levels: list[float], samples: int, seed: int, noise: float = 10.0) -> dict[str, np.ndarray]:
    """Return scores whose differences are symmetric, so that the bounds of Student's t need no correction."""
    half = np.random.default_rng(seed).normal(0, noise, (samples // 2, len(levels)))
    drawn = 50 + np.array(levels) + np.concatenate([half, -half])
    return {f"s{number}": column for number, column in enumerate(drawn.T)}


@pytest.mark.parametrize("seed", range(5))
def test_sets_of_independent_samples_come_from_paired_t_tests_and_holm(seed: int) -> None:
    columns = mirrored([0, 0, 2, 4, 8], 60, seed)
    names = list(columns)
    pairs = [(a, b) for a in names for b in names if a != b]
    p = [scipy_stats.ttest_rel(columns[a], columns[b], alternative="less").pvalue for a, b in pairs]
    rejected = multipletests(p, alpha=0.05, method="holm")[0]
    worse = {pair for pair, shown in zip(pairs, rejected, strict=True) if shown}
    expected = {
        a: (1 + sum((a, b) in worse for b in names), 5 - sum((b, a) in worse for b in names)) for a in names
    }
    assert {n: (s.low, s.high) for n, s in ranked(columns).sets.items()} == expected


def test_where_lower_is_better_the_order_is_turned() -> None:
    columns = mirrored([0, 20], 40, 1, noise=5.0)
    assert sets_of(ranked(columns)) == {"s0": "2", "s1": "1"}
    lower = MetricRule(higher_is_better=False, low=0, high=100)
    assert sets_of(ranked(columns, rule=lower)) == {"s0": "1", "s1": "2"}


def test_a_system_scored_on_the_easy_half_is_ranked_by_that_half_on_both_sides() -> None:
    rng = np.random.default_rng(3)
    ease = np.repeat([30.0, -30.0], 100)
    good = 50 + ease + rng.normal(0, 3, 200)
    half = np.where(ease > 0, 50 + ease - 3.5 + rng.normal(0, 3, 200), np.inf)
    assert half[:100].mean() > good.mean()  # its mean alone would make it the first
    found = ranked({"half": half, "good": good})
    assert sets_of(found) == {"half": "2", "good": "1"}
    assert (found.samples, found.fewest) == ({"half": 100, "good": 200}, {"half": 100, "good": 100})


def test_missing_rows_count_at_their_worst_and_at_their_best() -> None:
    rng = np.random.default_rng(4)
    first, second = (level + rng.normal(0, 2, 200) for level in (54.0, 50.0))
    assert sets_of(ranked({"a": first, "b": second})) == {"a": "1", "b": "2"}
    gone = np.where(np.arange(200) < 16, np.nan, first)  # 8 % at 0 or 100 move the mean by 4 or more
    assert sets_of(ranked({"a": gone, "b": second})) == {"a": "1 to 2", "b": "1 to 2"}
    open_range = MetricRule(higher_is_better=True)
    assert sets_of(ranked({"a": gone, "b": second - 900}, rule=open_range)) == {"a": "1 to 2", "b": "1 to 2"}


def test_missing_rows_without_an_upper_end_count_up_to_a_cap() -> None:
    """One missing row of 200 must not undo an order; many may."""
    rng = np.random.default_rng(4)
    first, second = (level + rng.normal(0, 2, 200) for level in (20.0, 30.0))
    rule = MetricRule(higher_is_better=False, low=0)

    def sets(gone: int, **facts: Any) -> dict[str, str]:
        rows = {"a": np.where(np.arange(200) < gone, np.nan, first), "b": second}
        return sets_of(ranked(rows, rule=replace(rule, **facts)))

    assert sets(1) == {"a": "1", "b": "2"}
    assert sets(1, low=None) == {"a": "1 to 2", "b": "1 to 2"}
    assert sets(1, missing_at_most=10_000.0) == {"a": "1 to 2", "b": "1 to 2"}
    assert sets(60) == {"a": "1 to 2", "b": "1 to 2"}


def test_clusters_make_the_sets_wider_than_rows_do() -> None:
    rng = np.random.default_rng(5)
    speakers = np.repeat(np.arange(8), 25)
    effect = rng.normal(0, 6, 8)
    columns = {
        "a": 52 + (effect - effect.mean())[speakers] + rng.normal(0, 3, 200),
        "b": 50 + rng.normal(0, 3, 200),
    }
    assert ranked(columns).sets["a"].rank is not None
    units = np.stack([speakers, np.arange(200)], axis=1)
    assert ranked(columns, units=units).sets["a"].rank is None


def test_a_ratio_metric_is_ranked_by_its_ratio() -> None:
    words = np.tile([1.0, 20.0], 60)
    rng = np.random.default_rng(6)
    # "a" has errors in the short sentences, "b" in the long ones: the means of the rows say the reverse.
    short_errors = np.where(words == 1, 60.0, 0.0) + rng.normal(5, 1, 120)
    long_errors = np.where(words == 1, 0.0, 40.0) + rng.normal(5, 1, 120)
    columns = {"a": short_errors, "b": long_errors}
    rule = MetricRule(higher_is_better=False, low=0)
    assert sets_of(ranked(columns, rule=rule)) == {"a": "2", "b": "1"}
    ratio = MetricRule(higher_is_better=False, low=0, average="ratio")
    assert sets_of(ranked(columns, rule=ratio, weights=words)) == {"a": "1", "b": "2"}


def test_systems_without_a_shared_sample_have_every_rank() -> None:
    left, right = np.full(40, 90.0), np.full(40, 10.0)
    left[20:], right[:20] = np.inf, np.inf
    found = ranked({"a": left, "b": right})
    assert sets_of(found) == {"a": "1 to 2", "b": "1 to 2"}
    assert found.fewest == {"a": 0, "b": 0}


def test_a_value_outside_the_range_leaves_the_ranks_open() -> None:
    columns = mirrored([0, 20, 20], 40, 1, noise=5.0)
    columns["s1"][0] = 400.0
    assert sets_of(ranked(columns)) == {"s0": "2 to 3", "s1": "1 to 3", "s2": "1 to 2"}


@pytest.mark.parametrize(("level", "margin"), [(0.0, 2.0), (0.5, 2.0), (1.5, 2.0), (1.5, 4.0), (2.5, 2.0)])
def test_equivalence_of_two_systems_is_the_test_of_statsmodels(level: float, margin: float) -> None:
    columns = mirrored([level, 0], 80, 7, noise=3.0)
    p, *_ = ttost_paired(columns["s0"], columns["s1"], -margin, margin)
    found = present(ranked(columns, margin=margin).equivalence)
    assert found.margin == margin
    assert found.pairs == ((("s0", "s1"),) if p <= 0.05 else ())


def test_equivalent_systems_can_differ_significantly() -> None:
    found = ranked(mirrored([1.0, 0], 400, 8, noise=1.0), margin=2.0)
    assert sets_of(found) == {"s0": "1", "s1": "2"}
    assert present(found.equivalence).pairs == (("s0", "s1"),)
    assert ranked(mirrored([1.0, 0], 400, 8)).equivalence is None


def test_missing_rows_that_may_lie_beyond_the_margin_leave_equivalence_open() -> None:
    columns = mirrored([0, 0], 80, 7, noise=3.0)
    assert present(ranked(columns, margin=3.0).equivalence).pairs
    columns["s1"][:6] = np.nan
    assert not present(ranked(columns, margin=3.0).equivalence).pairs


@pytest.mark.parametrize("margin", [0.0, -2.0, float("nan"), float("inf")])
def test_a_margin_that_is_not_above_0_is_refused(margin: float) -> None:
    with pytest.raises(UsageError, match="margin of equivalence is"):
        ranked(mirrored([0, 1], 20, 1), margin=margin)
