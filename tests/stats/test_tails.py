"""Bounds of skewed and sparse differences: formulas by hand, the edge of the rule, simulations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from echat_eval.stats import cluster_mean, ratio_difference, spread
from echat_eval.stats.tails import Moves, one_sided_errors, share_limit
from tests.support.present import present

WIDTH = 100.0


def moved(n: int, down: int = 0, up: int = 0, by: float = 100.0) -> np.ndarray:
    x = np.zeros(n)
    x[:down], x[down : down + up] = -by, by
    return x


def change(x: np.ndarray, clusters: np.ndarray | None = None, width: float | None = WIDTH):  # type: ignore[no-untyped-def]
    return cluster_mean(x, np.arange(len(x)) if clusters is None else clusters, change=True, width=width)


def test_two_changed_of_a_thousand_stay_within_a_margin_of_three() -> None:
    estimate = change(moved(1000, down=2))
    exact = scipy_stats.binomtest(2, 1000).proportion_ci(method="exact").high
    assert estimate.low == pytest.approx(-100 * exact)
    assert -1 < estimate.low < cluster_mean(moved(1000, down=2), np.arange(1000)).low


@pytest.mark.parametrize(("down", "exact"), [(50, True), (51, False)])
def test_the_exact_bound_ends_where_more_than_half_of_the_clusters_moved(down: int, exact: bool) -> None:
    x = moved(100, down=down, by=1.0)
    plain = cluster_mean(x, np.arange(100))
    assert (present(change(x).high) > present(plain.high) + 1) == exact


def test_a_direction_without_moved_clusters_is_bounded_by_the_range() -> None:
    # Nothing moved up in 100 clusters: at most 3.6 % of them do, each by at most the range.
    estimate = change(moved(100, down=5, by=10.0))
    unseen = WIDTH * (1 - 0.025 ** (1 / 100))
    q = scipy_stats.t.ppf(0.975, 99)
    half_down = q * estimate.se
    assert estimate.high == pytest.approx(-0.5 + np.hypot(min(half_down, 0.5), unseen))
    # With an open range the largest move that was seen stands for it.
    seen = change(moved(100, down=5, by=10.0), width=None)
    assert seen.high == pytest.approx(-0.5 + np.hypot(min(half_down, 0.5), unseen / 10))


def test_nothing_moved_has_no_interval_of_its_own() -> None:
    assert change(np.zeros(50)).low is None
    words = np.arange(1, 51)
    assert ratio_difference(words, words, words, words, np.arange(50)).low is None


def test_unequal_clusters_count_as_fewer() -> None:
    sizes = np.array([50, *([1] * 50)])
    clusters = np.repeat(np.arange(51), sizes)
    x = np.zeros(100)
    x[-1] = -100.0
    h = sizes / 100
    effective = 1 / (h**2).sum()
    assert effective < 4
    limit = float(share_limit(np.asarray(0.01 * effective), np.asarray(effective), 0.025))
    assert change(x, clusters).low == pytest.approx(-100 * limit)
    assert limit == pytest.approx(scipy_stats.beta.ppf(0.975, 0.01 * effective + 1, 0.99 * effective))


def test_skew_lengthens_the_side_it_points_to() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(0, 10, 120) - 60.0 * (np.arange(120) % 30 == 0)
    plain, got = cluster_mean(x, np.arange(120)), change(x)
    q = scipy_stats.t.ppf(0.975, 119)
    longer = -scipy_stats.skew(x) * (2 * q**2 + 1) / 6 / 120**0.5 * plain.se
    assert got.low == pytest.approx(plain.low - longer)
    assert got.high == pytest.approx(plain.high)
    assert change(-x).high == pytest.approx(-got.low)


def test_few_clusters_do_not_react_to_the_skewness_of_chance() -> None:
    rng = np.random.default_rng(1)
    reacted = 0
    for _ in range(200):
        x = rng.normal(size=20)
        got = change(x)
        excess = abs(scipy_stats.skew(x)) - 0.5 * (6 / 20) ** 0.5
        reacted += got.se_low > got.se or got.se_high > got.se
        assert (max(got.se_low, got.se_high) > got.se) == (excess > 0)
    assert 40 < reacted < 160


@pytest.mark.parametrize(("n", "share"), [(40, 0.03), (100, 0.03), (150, 0.03), (400, 0.03)])
def test_rare_large_drops_seldom_pass(n: int, share: float) -> None:
    """3 % of the samples fall by 100, the true drop is the margin of 3: at most 3 % of 5,000 runs pass."""
    d = -100.0 * (np.random.default_rng(n).random((5000, n)) < share)
    mean = d.mean(axis=1)
    shares, squares = np.full(n, 1 / n), (d**2).sum(axis=1)
    found = spread(d - mean[:, None], shares, squares=squares - n * mean**2, n=n)
    lost = np.negative(d, dtype=np.float64)
    moves = Moves(up=np.zeros_like(lost), down=lost, squares=(0 * squares, squares))
    low, _ = one_sided_errors(d - mean[:, None], shares, found, n=n, level=0.95, moves=moves, width=100.0)
    q = scipy_stats.t.ppf(0.975, n - 1)
    assert (mean - q * low > -3).mean() <= 0.03
    assert (mean - q * found.se > -3).mean() > 0.03, "Student's t alone passes too often"
