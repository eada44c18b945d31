"""Shares with limits over clusters, against exact limits and against draws with a known share."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, t

from echat_eval.errors import BadData
from echat_eval.stats import level_mean
from echat_eval.stats.shares import clustered_share


@pytest.mark.parametrize(("count", "n"), [(0, 40), (1, 40), (3, 120), (39, 40), (120, 120)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_independent_samples_have_the_exact_limits(count: int, n: int, level: float) -> None:
    share = clustered_share(np.arange(n) < count, range(n), level=level)
    exact = binomtest(count, n).proportion_ci(level, method="exact")
    assert (share.count, share.n, share.value) == (count, n, count / n)
    assert (share.low, share.high) == pytest.approx((exact.low, exact.high), abs=1e-9)
    assert share.effective_n == pytest.approx(n)


def test_events_of_whole_clusters_count_once_per_cluster() -> None:
    """30 clusters of 4 equal samples: design effect 119 / 29, and the quantiles of t with 29 and 119 df."""
    events = np.repeat(np.arange(30) < 3, 4)
    share = clustered_share(events, np.repeat(np.arange(30), 4))
    exact = binomtest(3, 30).proportion_ci(0.95, method="exact")
    assert share.effective_n == pytest.approx(120 * 29 / 119 * (t.ppf(0.975, 119) / t.ppf(0.975, 29)) ** 2)
    assert (share.low, share.high) == pytest.approx((exact.low, exact.high), abs=0.015)


def test_spread_below_chance_does_not_add_samples() -> None:
    """One event in each cluster: less variance over clusters than chance gives, and no more than n samples."""
    events = np.tile([1, 0, 0, 0], 30)
    share = clustered_share(events, np.repeat(np.arange(30), 4))
    exact = binomtest(30, 120).proportion_ci(0.95, method="exact")
    assert share.effective_n is not None
    assert share.effective_n <= 120
    assert share.low is not None
    assert share.low <= exact.low


def test_one_cluster_with_some_events_has_no_limits() -> None:
    share = clustered_share([1, 0, 0], ["a", "a", "a"])
    assert share.value == pytest.approx(1 / 3)
    assert (share.low, share.high) == (None, None)


def test_without_an_event_or_with_nothing_else_the_clusters_are_the_sample() -> None:
    """The gate's share and the leaderboard's mean of the same failures are one number with one interval."""
    crossed = np.stack([np.arange(40) // 8, np.arange(40) % 8], axis=1)
    for count, design, independent in ((0, crossed, 5), (40, crossed, 5), (0, np.arange(40) // 2, 20)):
        events = np.full(40, count > 0)
        share = clustered_share(events, design)
        exact = binomtest(independent * count // 40, independent).proportion_ci(0.95, method="exact")
        assert (share.low, share.high) == pytest.approx((exact.low, exact.high))
        shown = level_mean(100.0 * events, design, low=0, high=100)
        assert (shown.low, shown.high) == pytest.approx((100 * exact.low, 100 * exact.high))
    assert clustered_share([0, 0], ["a", "a"]).low is None


@pytest.mark.parametrize(("clusters", "each"), [(6, 5), (10, 20), (10, 80), (30, 4), (30, 1)])
def test_no_limit_falls_when_an_event_is_added(clusters: int, each: int) -> None:
    """Events come one in every cluster, then a second one; the first one may also be in any cluster."""
    design, place = np.repeat(np.arange(clusters), each), np.tile(np.arange(each), clusters)
    order = np.argsort(np.argsort(place, kind="stable"))
    n = clusters * each
    counts = range(n + 1) if n < 300 else [*range(40), *range(n - 39, n + 1)]
    shares = [clustered_share(order < count, design, level=0.9) for count in counts]
    lows = [float("nan") if share.low is None else share.low for share in shares]
    highs = [float("nan") if share.high is None else share.high for share in shares]
    assert np.diff(lows).min() >= -1e-12
    assert np.diff(highs).min() >= -1e-12
    assert highs[0] == pytest.approx(1 - 0.05 ** (1 / clusters))


def test_a_first_event_never_narrows_the_limit_in_uneven_clusters() -> None:
    design = np.repeat(np.arange(8), [1, 2, 3, 5, 8, 13, 21, 34])
    without = clustered_share(np.zeros(87), design)
    for cluster in range(8):
        first = np.arange(87) == np.flatnonzero(design == cluster)[0]
        one, but_one = clustered_share(first, design), clustered_share(~first, design)
        assert one.high is not None
        assert without.high is not None
        assert one.high >= without.high
        assert but_one.low == pytest.approx(1 - one.high)


def test_limits_hold_for_clustered_draws() -> None:
    """A share of 3 % whose events cluster (correlation 0.2): the lower limit is above it in at most 2.5 %."""
    rng, above, runs = np.random.default_rng(3), 0, 1500
    clusters = np.repeat(np.arange(20), 6)
    for _ in range(runs):
        events = rng.random((20, 6)) < rng.beta(0.12, 3.88, 20)[:, None]
        low = clustered_share(events.ravel(), clusters).low
        above += low is not None and low > 0.03
    assert above / runs <= 0.025


def test_an_event_other_than_0_or_1_is_refused() -> None:
    with pytest.raises(BadData, match="neither 0 nor 1"):
        clustered_share([0, 2], ["a", "b"])
