"""The shift of a judge between two runs, and differences without it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from echat_eval.stats import Estimate, cluster_mean
from echat_eval.stats.drift import MIN_SHARED, corrected, judge_shift


def test_the_shift_is_the_paired_mean_of_independent_anchors() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.normal(50, 20, 40), rng.normal(53, 20, 40)
    found = judge_shift(after, before, list(range(40)), np.arange(40))
    assert found is not None
    paired = stats.ttest_rel(after, before).confidence_interval(0.95)
    assert found.level.value == pytest.approx((after - before).mean())
    assert (found.level.low, found.level.high) == pytest.approx((paired.low, paired.high))
    assert not found.is_none


def test_a_judge_that_repeats_itself_has_no_shift() -> None:
    found = judge_shift([60.0] * 20, [60.0] * 20, list(range(20)), np.arange(20))
    assert found is not None
    assert found.is_none
    assert found.moved is None


def test_too_few_anchors_or_questions_leave_the_shift_unknown() -> None:
    few = MIN_SHARED - 1
    assert judge_shift([60.0] * few, [50.0] * few, list(range(few)), np.arange(few)) is None
    assert judge_shift([60.0] * 40, [50.0] * 40, [n % 4 for n in range(40)], np.arange(40)) is None


def test_a_judge_that_moves_within_a_run_is_found() -> None:
    rng = np.random.default_rng(1)
    after = 50 + rng.normal(0, 4, 60) + np.where(np.arange(60) < 30, -6, 6)
    found = judge_shift(after, np.full(60, 50.0), list(range(60)), np.arange(60))
    assert found is not None
    assert found.moved is not None
    assert found.moved.value == pytest.approx(12, abs=3)
    steady = judge_shift(50 + rng.normal(0, 4, 60), np.full(60, 50.0), list(range(60)), np.arange(60))
    assert steady is not None
    assert steady.moved is None


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_corrected_difference_has_both_variances(sign: float) -> None:
    rng = np.random.default_rng(2)
    difference = cluster_mean(rng.normal(-4, 10, 200), np.arange(200))
    shift = cluster_mean(rng.normal(-3, 6, 50), np.arange(50))
    assert difference.se is not None
    assert shift.se is not None
    found = corrected(difference, shift, sign=sign)
    assert found.value == pytest.approx(difference.value - sign * shift.value)
    assert found.se == pytest.approx(np.hypot(difference.se, shift.se))
    # Welch: two independent means with their own variances.
    assert found.se is not None
    welch = stats.ttest_ind_from_stats(
        difference.value,
        difference.se * 200**0.5,
        200,
        sign * shift.value,
        shift.se * 50**0.5,
        50,
        equal_var=False,
    )
    assert found.value / found.se == pytest.approx(welch.statistic)
    assert found.df == pytest.approx((found.se**4) / (difference.se**4 / 199 + shift.se**4 / 49))


def test_an_unknown_spread_stays_unknown() -> None:
    alone = Estimate(value=1.0, low=None, high=None, se=None, df=None, n=1, clusters=1)
    shift = cluster_mean([1.0, 2.0, 4.0], [0, 1, 2])
    assert corrected(alone, shift) == alone
