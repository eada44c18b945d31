"""Means of ratings: raters and replies as two factors, against matrices and in a short simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from bench.stats import people
from echat_eval.errors import BadData
from echat_eval.stats import level_mean, rated_mean
from tests.support.present import present


def one_way(x: np.ndarray, codes: np.ndarray) -> float:
    """Return CR2's variance of a mean over the clusters `codes`, by its definition."""
    n, total = len(x), 0.0
    for g in np.unique(codes):
        inside = codes == g
        total += ((x[inside] - x.mean()).sum() / n) ** 2 / (1 - inside.mean())
    return float(total)


def ratings(seed: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return values, replies and raters: 8 replies x 3 raters with 2 of them left out."""
    rng = np.random.default_rng(seed)
    reply, rater = (axis.ravel()[:-2] for axis in np.indices((8, 3)))
    values = 50 + rng.normal(0, 10, 8)[reply] + rng.normal(0, 8, 3)[rater] + rng.normal(0, 5, reply.size)
    return values, reply, rater


def test_variance_is_that_of_replies_and_raters_less_that_of_their_pairs() -> None:
    values, reply, rater = ratings()
    found = rated_mean(values, reply, rater.tolist(), low=0, high=100)
    over_replies, over_raters = one_way(values, reply), one_way(values, rater)
    expected = over_replies + over_raters - one_way(values, reply * 3 + rater)
    assert expected > max(over_replies, over_raters)
    e = found.estimate
    assert present(e.se) ** 2 == pytest.approx(expected)
    assert (found.raters, e.clusters, e.n) == (3, 3, 22)
    assert present(e.df) == pytest.approx(2, abs=0.2)
    half = scipy_stats.t.ppf(0.975, e.df) * present(e.se)
    assert e.low == pytest.approx(max(0, values.mean() - half))


def test_ratings_that_cancel_in_every_reply_leave_the_difference_of_raters() -> None:
    reply, rater = np.repeat(np.arange(20), 2), np.tile([0, 1], 20)
    values = np.where(rater == 0, 60.0, 40.0)
    assert level_mean(values, reply, low=0, high=100).low is None  # the interval without raters
    found = rated_mean(values, reply, rater.tolist(), low=0, high=100).estimate
    assert (found.low, found.high) == (0, 100)


def test_one_rater_has_an_interval_over_replies_only() -> None:
    values, reply, rater = ratings()
    mine = rater == 0
    found = rated_mean(values[mine], reply[mine], ["ann"] * int(mine.sum()), low=0, high=100)
    assert found.raters == 1
    assert found.estimate == level_mean(values[mine], reply[mine], low=0, high=100)


def test_one_cluster_and_one_value_have_no_interval() -> None:
    assert rated_mean([10, 20, 30], [0, 0, 0], ["a", "b", "c"], low=0, high=100).estimate.low is None
    assert rated_mean([50, 50, 50, 50], [0, 0, 1, 1], list("abab"), low=0, high=100).estimate.low is None


def test_raters_must_match_ratings() -> None:
    with pytest.raises(BadData, match="2 raters and 3 ratings"):
        rated_mean([1, 2, 3], [0, 1, 2], ["a", "b"], low=0, high=5)


def test_three_raters_who_differ_in_severity_are_covered() -> None:
    """The interval that ignores raters covers about 58 % here."""
    row = people.measure(people.CELLS[0], 150, 0)
    assert row["coverage"] >= 93
    assert row["coverage, over replies"] < 75
