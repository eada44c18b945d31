"""The first checks of the cluster mean; the oracles live in test_stats_oracles.py."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from echat_eval.stats import cluster_mean, connected_clusters, mean_bounds


def test_equal_clusters_are_a_t_interval_on_cluster_means() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(9, 7))
    got = cluster_mean(x.ravel(), np.repeat(np.arange(9), 7))
    want = scipy_stats.ttest_1samp(x.mean(axis=1), 0).confidence_interval(0.95)
    assert got.df == pytest.approx(8)
    assert (got.low, got.high) == pytest.approx((want.low, want.high))


def test_values_that_cancel_give_exactly_zero() -> None:
    x = np.random.default_rng(2).normal(size=501) * 1e3
    got = cluster_mean(np.concatenate([x, -x]), np.tile(np.arange(501), 2))
    assert got.value == 0.0


@pytest.mark.parametrize(
    ("values", "clusters"), [([1.0, 2.0], ["a", "a"]), ([5.0, 5.0, 5.0], [0, 1, 2]), ([5.0], [0])]
)
def test_one_cluster_or_constant_values_cannot_tell(values: list[float], clusters: list[object]) -> None:
    got = cluster_mean(values, clusters)
    assert got.low is None
    assert got.high is None


def test_clusters_join_over_any_shared_key_and_over_nothing_else() -> None:
    keys = [("s1", "t1", None), ("s2", "t2", "g"), ("s3", "t1", None), (None, "t9", "g"), ("t1", None, None)]
    assert connected_clusters(keys).tolist() == [0, 1, 0, 1, 2]


def test_missing_rows_widen_a_mean_to_its_bounds() -> None:
    got = mean_bounds([50.0, 0.0, None, None], ["value", "failed", "missing", "not applicable"], 0, 100)
    assert (got.low, got.high, got.n, got.missing) == (50 / 3, 50.0, 3, 1)
