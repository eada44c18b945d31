"""Boundaries of looks against published tables and the multivariate normal distribution."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import multivariate_normal

from echat_eval.errors import BadData
from echat_eval.stats.sequential import look_tails, planned_looks, spent_error


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        # ldbounds 2.0 and Reboussin et al. (2000), O'Brien-Fleming spending, two-sided 0.05
        (1, [1.9600]),
        (2, [2.9626, 1.9686]),
        (3, [3.7103, 2.5114, 1.9930]),
        (4, [4.3326, 2.9631, 2.3590, 2.0141]),
        (5, [4.8769, 3.3570, 2.6803, 2.2898, 2.0310]),
    ],
)
def test_boundaries_equal_the_published_tables(looks: int, expected: list[float]) -> None:
    tails = look_tails([(k + 1) / looks for k in range(looks)], 0.025)
    assert (-ndtri(tails)).tolist() == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("fractions", [(0.3, 0.55, 1.0), (0.5, 1.0), (0.2, 0.3, 0.9)])
@pytest.mark.parametrize("error", [0.025, 0.05])
def test_the_joint_error_is_the_spent_error(fractions: tuple[float, ...], error: float) -> None:
    t = np.array(fractions)
    correlation = np.sqrt(np.minimum.outer(t, t) / np.maximum.outer(t, t))
    bounds = -ndtri(look_tails(fractions, error))
    stays = multivariate_normal.cdf(bounds, np.zeros(len(t)), correlation, abseps=1e-8, maxpts=2_000_000)
    assert 1 - stays == pytest.approx(spent_error(fractions[-1], error), abs=2e-5)


def test_more_correlated_looks_spend_less() -> None:
    fractions = (0.25, 0.5, 0.75, 1.0)
    t = np.array(fractions)
    correlation = np.sqrt(np.minimum.outer(t, t) / np.maximum.outer(t, t))
    shared = 0.5 * correlation + 0.5  # half of the variance is a second factor's, the same at all looks
    bounds = -ndtri(look_tails(fractions, 0.025))
    assert 1 - multivariate_normal(np.zeros(4), shared).cdf(bounds) < 0.0250


def test_looks_have_equal_steps_of_ten_clusters_or_more() -> None:
    assert planned_looks(100) == (20, 40, 60, 80, 100)
    assert planned_looks(47) == (12, 24, 35, 47)
    assert planned_looks(19) == (19,)
    assert planned_looks(3) == (3,)


@pytest.mark.parametrize("fractions", [(), (0.0, 1.0), (0.5, 0.5), (0.7, 0.6), (0.5, 1.1)])
def test_fractions_that_do_not_rise_are_refused(fractions: tuple[float, ...]) -> None:
    with pytest.raises(BadData, match="expected numbers that rise"):
        look_tails(fractions, 0.025)
