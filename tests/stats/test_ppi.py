"""People's mean rating with a judge's scores, against the ppi_py package and least squares."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from echat_eval.errors import BadData
from echat_eval.stats import PoweredMean, powered_mean
from echat_eval.stats.ppi import FEWEST
from tests.support.present import present

Floats = NDArray[np.float64]
RATED, ALL = 60, 660


def replies(seed: int = 5, *, rated: int = RATED, count: int = ALL) -> tuple[Floats, Floats]:
    """Return a judge's scores of all replies, and ratings of the first ones."""
    rng = np.random.default_rng(seed)
    quality = rng.normal(0, 20, count)
    judged = 60 + 0.8 * quality + rng.normal(0, 15, count)
    return judged, (50 + quality + rng.normal(0, 10, count))[:rated]


def powered(judged: Floats, values: Floats, clusters: NDArray[np.int64] | None = None) -> PoweredMean:
    own = np.arange(len(judged)) if clusters is None else clusters
    return powered_mean(
        values, np.arange(len(values)), ["ann"] * len(values), judged, own, low=-100, high=200
    )


def test_single_ratings_agree_with_ppi_py() -> None:
    # ppi_py 0.2.3, ppi_mean_pointestimate and ppi_mean_ci(alpha=0.05): of replies() with lam = slope x 600 / 660
    # and of replies(6, rated=1000, count=10_000) with its own lam, which takes the variance from all scores.
    assert powered(*replies()).estimate.value == pytest.approx(51.63022516, abs=1e-7)
    found = powered(*replies(6, rated=1000, count=10_000)).estimate
    assert found.value == pytest.approx(49.93724872, abs=0.05)
    width = present(found.high) - present(found.low)
    assert width == pytest.approx(51.0148456 - 48.85965185, rel=0.02)


def test_the_mean_is_that_of_the_published_formula_and_the_slope_that_of_least_squares() -> None:
    judged, values = replies()
    found = powered(judged, values)
    slope = np.polyfit(judged[:RATED], values, 1)[0]
    assert found.weight == pytest.approx(slope)
    # Angelopoulos et al. (2023): weight x mean of the unrated scores + mean of the rectified ratings.
    own = slope * (ALL - RATED) / ALL
    formula = own * judged[RATED:].mean() + (values - own * judged[:RATED]).mean()
    assert found.estimate.value == pytest.approx(formula)


def test_a_perfect_judge_leaves_the_spread_of_all_replies() -> None:
    judged, _ = replies()
    rng = np.random.default_rng(1)
    found = powered(judged, judged[:RATED] - 8 + rng.normal(0, 1e-6, RATED)).estimate
    assert found.value == pytest.approx(judged.mean() - 8)
    assert found.se == pytest.approx(judged.std(ddof=1) / np.sqrt(ALL), rel=1e-3)


def test_copies_of_replies_in_a_cluster_add_nothing() -> None:
    judged, values = replies()
    once = powered(judged, values)
    copies = powered_mean(
        np.repeat(values, 3),
        np.arange(3 * RATED),
        ["ann"] * (3 * RATED),
        np.repeat(judged, 3),
        np.repeat(np.arange(ALL), 3),
        low=-100,
        high=200,
    )
    assert copies.weight == pytest.approx(once.weight)
    assert copies.estimate.se == pytest.approx(once.estimate.se)
    assert copies.estimate.df == pytest.approx(once.estimate.df)


def test_severe_raters_widen_the_interval_whatever_the_judge() -> None:
    judged, values = replies()
    twice = np.concatenate([values + 15, values - 15])
    at = np.tile(np.arange(RATED), 2)
    found = powered_mean(
        twice, at, ["ann"] * RATED + ["ben"] * RATED, judged, np.arange(ALL), low=-100, high=200
    )
    assert found.people.raters == 2
    assert present(found.estimate.se) > 14, "two raters who differ by 30 points leave 15 points of doubt"


@pytest.mark.parametrize(
    ("judged", "reason"),
    [
        (np.zeros(ALL), "do not rise with the ratings"),
        (-replies()[0], "do not rise with the ratings"),
    ],
    ids=["constant", "inverse"],
)
def test_a_judge_that_cannot_help_is_not_used(judged: Floats, reason: str) -> None:
    found = powered(judged, replies()[1])
    assert found.estimate == found.people.estimate
    assert found.weight == 0
    assert reason in present(found.reason)


def test_few_rated_clusters_give_no_slope() -> None:
    judged, values = replies()
    few = np.arange(ALL) // 7  # 60 replies in 9 clusters
    assert f"9 rated clusters, {FEWEST} are needed" in present(powered(judged, values, few).reason)


def test_equal_ratings_have_no_interval_with_a_judge_either() -> None:
    judged, _ = replies()
    found = powered(judged, np.full(RATED, 3.0))
    assert (found.estimate.low, found.reason) == (None, "the ratings alone have no interval")


def test_an_interval_is_never_wider_than_that_of_people_alone() -> None:
    for seed in range(40):
        rng = np.random.default_rng(seed)
        found = powered(rng.normal(0, 1, ALL), rng.normal(0, 1, RATED))
        alone, both = found.people.estimate, found.estimate
        assert present(both.high) - present(both.low) <= present(alone.high) - present(alone.low)


def test_bad_input_is_refused() -> None:
    judged, values = replies()
    with pytest.raises(BadData, match="a finite one per reply"):
        powered(np.append(judged[:-1], np.nan), values)
    with pytest.raises(BadData, match="positions of rated replies"):
        powered_mean([1.0, 2.0], [0, ALL], ["a", "a"], judged, np.arange(ALL), low=0, high=5)
