"""Quantiles for single numbers, against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import betainc, betaincinv, stdtr, stdtrit

from echat_eval.stats.quantiles import beta_quantile, beta_share, student_quantile, student_tail

DF = [0.4, 1, 1.5, 2, 3.7, 9, 30, 119.5, 1e3, 9_999, 10_001, 1e6, 1e9]
PROBABILITIES = [1e-8, 0.001, 0.025, 0.4, 0.5, 0.6, 0.9, 0.975, 0.9975, 1 - 1e-6]


@pytest.mark.parametrize("df", DF)
def test_quantiles_of_student_are_those_of_scipy(df: float) -> None:
    found = [student_quantile(df, p) for p in PROBABILITIES]
    assert found == pytest.approx(list(stdtrit(df, PROBABILITIES)), rel=1e-9 if df < 1 else 1e-11, abs=1e-15)


@pytest.mark.parametrize("df", DF[:-2])
def test_tails_of_student_are_those_of_scipy(df: float) -> None:
    points = [-30.0, -5, -1.96, -0.1, 0, 0.5, 3, 8]
    assert [student_tail(df, t) for t in points] == pytest.approx(list(stdtr(df, points)), rel=1e-10)


def test_quantiles_and_shares_of_beta_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    for a, b in np.exp(rng.uniform(-1, 9, (300, 2))).tolist():
        for p in (0.001, 0.025, 0.5, 0.975):
            x = beta_quantile(a, b, p)
            assert x == pytest.approx(betaincinv(a, b, p), rel=1e-11)
            assert beta_share(a, b, x) == pytest.approx(betainc(a, b, x), rel=1e-10)


def test_limits_of_a_small_share_by_hand() -> None:
    assert beta_quantile(1, 40, 0.975) == pytest.approx(1 - 0.025 ** (1 / 40), rel=1e-14)  # 0 of 40
    assert beta_quantile(40, 1, 0.025) == pytest.approx(0.025 ** (1 / 40), rel=1e-14)  # 40 of 40
    assert (beta_share(2, 3, 0.0), beta_share(2, 3, 1.0)) == (0.0, 1.0)


@pytest.mark.parametrize(("df", "p"), [(math.nan, 0.9), (0.0, 0.9), (-1.0, 0.9), (5.0, 1.0), (5.0, 0.0)])
def test_no_quantile_is_not_a_number(df: float, p: float) -> None:
    assert math.isnan(student_quantile(df, p))
