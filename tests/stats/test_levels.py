"""Levels keep their intervals in the metric's range."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from echat_eval.stats import cluster_mean, level_mean
from tests.support.present import present


def test_independent_answers_have_clopper_and_pearson_limits() -> None:
    right = np.repeat([100.0, 0.0], [57, 3])
    estimate = level_mean(right, np.arange(60), low=0, high=100)
    exact = scipy_stats.binomtest(57, 60).proportion_ci(method="exact")
    assert (estimate.low, estimate.high) == pytest.approx((100 * exact.low, 100 * exact.high))
    assert estimate.se_low != estimate.se_high


def test_nothing_but_right_answers_is_limited_by_the_clusters() -> None:
    estimate = level_mean(np.ones(120), np.arange(120) // 15, low=0, high=1)
    assert estimate.low == pytest.approx(0.025 ** (1 / 8))
    assert estimate.high == 1.0


def test_error_rates_have_an_interval_on_the_logarithm() -> None:
    errors, words = np.array([0.0, 0, 0, 50, 0, 10, 0, 0]), np.arange(4, 12)
    plain = cluster_mean(errors, np.arange(8), weights=words)
    assert present(plain.low) < 0
    estimate = level_mean(errors, np.arange(8), low=0, high=None, weights=words)
    factor = np.exp(scipy_stats.t.ppf(0.975, plain.df) * plain.se / plain.value)
    assert (estimate.low, estimate.high) == pytest.approx((plain.value / factor, plain.value * factor))
    turned = level_mean(-errors, np.arange(8), low=None, high=0, weights=words)
    assert (turned.low, turned.high) == pytest.approx((-present(estimate.high), -present(estimate.low)))


def test_scores_are_cut_at_the_ends_and_else_unchanged() -> None:
    scores = np.array([100.0, 100, 100, 60, 100, 99])
    plain = cluster_mean(scores, np.arange(6))
    assert present(plain.high) > 100
    estimate = level_mean(scores, np.arange(6), low=0, high=100)
    assert estimate.low == pytest.approx(plain.low)
    assert estimate.high == 100.0
    middle = level_mean(scores / 2, np.arange(6), low=0, high=100)
    assert (middle.low, middle.high) == pytest.approx((present(plain.low) / 2, present(plain.high) / 2))
    open_range = level_mean(scores, np.arange(6), low=None, high=None)
    assert open_range == plain


@pytest.mark.parametrize("strata", [None, np.arange(40) % 2])
def test_every_interval_lies_in_the_range(strata: np.ndarray | None) -> None:
    rng = np.random.default_rng(0)
    for rate in (0.02, 0.5, 0.98):
        for _ in range(30):
            x = (rng.random(40) < rate).astype(float)
            estimate = level_mean(x, np.arange(40) // 4, low=0, high=1, strata=strata)
            if estimate.low is not None:
                assert 0 <= estimate.low <= estimate.value <= present(estimate.high) <= 1


def test_one_cluster_has_no_interval() -> None:
    assert level_mean([0.0, 1.0], ["a", "a"], low=0, high=1).low is None
