"""Holm against R and statsmodels; detectable differences against statsmodels and a published table."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from echat_eval.errors import BadData
from echat_eval.stats import (
    cluster_mean,
    detectable_difference,
    detection_probability,
    holm,
    samples_needed,
    working_spread,
)


def test_holm_equals_p_adjust_in_r() -> None:
    # p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm")
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])


def test_holm_equals_statsmodels_row_by_row() -> None:
    p = np.random.default_rng(0).random((12, 21)) ** 3
    expected = np.array([multipletests(row, method="holm")[1] for row in p])
    assert holm(p) == pytest.approx(expected)


def test_nan_p_value_stays_in_the_family() -> None:
    assert holm([0.02, np.nan, 0.5]).tolist() == pytest.approx([0.06, 1.0, 1.0])


@pytest.mark.parametrize("n", [4, 7, 12, 40, 300])
def test_detectable_difference_has_the_power_it_promises(n: int) -> None:
    difference = float(detectable_difference(1 / math.sqrt(n), n - 1))
    power = TTestPower().power(difference, nobs=n, alpha=0.025, alternative="larger")
    assert power == pytest.approx(0.8, abs=1e-6)


@pytest.mark.parametrize("n", [4, 7, 12, 40, 300])
@pytest.mark.parametrize("difference", [0.0, 0.4, 1.5])
def test_detection_probability_equals_the_power_of_statsmodels(n: int, difference: float) -> None:
    found = float(detection_probability(difference, 1 / math.sqrt(n), n - 1))
    # statsmodels: the noncentral t of SciPy's distribution, one-sided
    assert found == pytest.approx(
        TTestPower().power(difference, nobs=n, alpha=0.025, alternative="larger"), abs=1e-9
    )


@pytest.mark.parametrize("df", [3.0, 11.5, 1e9])
@pytest.mark.parametrize("limit", [None, 0.8])
def test_detection_probability_inverts_the_detectable_difference(df: float, limit: float | None) -> None:
    difference = detectable_difference(2.0, df, power=0.7, limit=limit)
    assert float(detection_probability(difference, 2.0, df, limit=limit)) == pytest.approx(0.7, abs=1e-5)


@pytest.mark.parametrize(
    ("sd", "r", "expected"), [(10, 0.3, 1.98), (20, 0.5, 3.35), (20, 0.7, 2.59), (30, 0.5, 5.02)]
)
def test_detectable_difference_of_280_samples_equals_the_published_table(
    sd: float, r: float, expected: float
) -> None:
    # docs: (1.960 + 0.8416) sd sqrt(2 (1 - r) / 280), with the normal quantile
    assert float(detectable_difference(sd * math.sqrt(2 * (1 - r) / 280), 1e9)) == pytest.approx(
        expected, abs=0.005
    )


def test_upper_limit_of_the_spread_is_the_chi_square_limit() -> None:
    ratio = detectable_difference(2.0, 9, limit=0.8) / detectable_difference(2.0, 9)
    assert float(ratio) == pytest.approx(math.sqrt(9 / scipy_stats.chi2.ppf(0.2, 9)))


def test_assumed_spread_has_the_design_effect() -> None:
    spread = working_spread(20, [4] * 25, correlation=0.25)
    assert float(spread.se) == pytest.approx(20 * math.sqrt((1 + 3 * 0.25) / 100))
    assert float(spread.df) == pytest.approx(24)


@pytest.mark.slow
def test_assumed_spread_equals_the_spread_of_simulated_runs() -> None:
    rng, sizes = np.random.default_rng(1), [2, 9, 4, 7, 3, 5]
    cluster = np.repeat(np.arange(6), sizes)
    means = [
        cluster_mean(
            3 * (0.7**0.5 * rng.normal(size=30) + 0.3**0.5 * rng.normal(size=6)[cluster]), cluster
        ).value
        for _ in range(4000)
    ]
    assert np.std(means) == pytest.approx(float(working_spread(3, sizes, correlation=0.3).se), rel=0.04)


def test_needed_samples_bring_the_detectable_difference_to_the_margin() -> None:
    needed = samples_needed(3.0, se=2.5, df=19, n=100, clusters=20)
    assert needed is not None
    factor = needed.samples / 100
    assert float(detectable_difference(2.5 / math.sqrt(factor), 19 * factor)) == pytest.approx(3.0, rel=0.01)
    assert needed.clusters == math.ceil(20 * factor) or abs(needed.clusters - 20 * factor) <= 1
    assert samples_needed(1e-6, se=2.5, df=19, n=100, clusters=20) is None


@pytest.mark.parametrize(("sd", "sizes", "r"), [(1, [5], 0), (1, [5, 0], 0), (-1, [5, 5], 0), (1, [5, 5], 2)])
def test_invalid_design_raises_bad_data(sd: float, sizes: list[int], r: float) -> None:
    with pytest.raises(BadData):
        working_spread(sd, sizes, correlation=r)
