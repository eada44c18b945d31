"""Confidence sets of ranks against a count by hand, and their simultaneous coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from echat_eval.errors import BadData
from echat_eval.stats import RankSet, equivalent, rank_sets


def counted(p: np.ndarray, level: float) -> list[tuple[int, int]]:
    """Return the sets of a matrix of p-values, counted pair by pair with statsmodels' Holm."""
    systems = range(len(p))
    pairs = [(i, j) for i in systems for j in systems if i != j]
    adjusted = multipletests([np.nan_to_num(p[i, j], nan=1.0) for i, j in pairs], method="holm")[1]
    beaten = {pair for pair, q in zip(pairs, adjusted, strict=True) if q <= 1 - level}
    return [
        (1 + sum((i, j) in beaten for j in systems), len(p) - sum((j, i) in beaten for j in systems))
        for i in systems
    ]


@pytest.mark.parametrize("seed", range(20))
def test_sets_equal_a_count_with_holm_of_statsmodels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = rng.random((6, 6)) ** rng.integers(1, 12)
    p[rng.random(p.shape) < 0.1] = np.nan
    assert [(s.low, s.high) for s in rank_sets(p, level=0.9)] == counted(p, 0.9)


def test_a_pair_without_a_test_may_be_in_either_order() -> None:
    p = np.array([[np.nan, np.nan, 1.0], [np.nan, np.nan, 1.0], [1e-6, 1e-6, np.nan]])
    assert rank_sets(p) == [RankSet(1, 2), RankSet(1, 2), RankSet(3, 3)]


def test_one_system_is_first_and_none_has_no_set() -> None:
    assert rank_sets(np.ones((1, 1))) == [RankSet(1, 1)]
    assert rank_sets(np.ones((0, 0))) == []


def test_p_values_that_are_no_square_are_refused() -> None:
    with pytest.raises(BadData, match="one row and one column per system"):
        rank_sets(np.ones((2, 3)))


def test_systems_whose_sets_overlap_never_have_a_single_first_and_third() -> None:
    rng = np.random.default_rng(1)
    for _ in range(300):
        found = rank_sets(rng.random((6, 6)) ** rng.integers(1, 30))
        first = [s for s in found if s.rank == 1]
        assert not any(s.low == 1 for s in found if s not in first) or not first


def test_equivalent_pairs_are_adjusted_over_the_pairs() -> None:
    p = np.full((3, 3), np.nan)
    p[0, 1], p[0, 2], p[1, 2] = 0.02, 0.024, 0.9  # Holm: 0.06, 0.06, 0.9
    assert not equivalent(p).any()
    p[0, 1] = 0.016  # 0.048, 0.048, 0.9
    assert equivalent(p).tolist() == [[False, True, True], [True, False, False], [True, False, False]]


@pytest.mark.parametrize("step", [0.0, 0.5])
def test_all_sets_hold_at_once_in_95_percent_of_draws(step: float) -> None:
    """Five systems on 30 independent samples, with p-values of scipy's paired t-test."""
    rng, runs, covered = np.random.default_rng(2), 1500, 0
    levels = -step * np.arange(5)
    truth = [(1 + int((levels > x).sum()), 5 - int((levels < x).sum())) for x in levels]
    # One common part and own noise: (runs, samples, systems).
    drawn = rng.standard_normal((runs, 30, 1)) + rng.standard_normal((runs, 30, 5)) + levels
    d = drawn[..., :, None] - drawn[..., None, :]
    t = d.mean(axis=1) / np.where((se := d.std(axis=1, ddof=1) / 30**0.5) > 0, se, np.inf)
    for p in scipy_stats.t.cdf(t, 29):
        sets = rank_sets(p)
        covered += all(s.low <= a and s.high >= b for s, (a, b) in zip(sets, truth, strict=True))
    assert covered / runs >= 0.95 - 2 * (0.05 * 0.95 / runs) ** 0.5
