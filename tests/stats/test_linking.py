"""Links between judges: anchors, weights, estimates with their intervals, and slices that disagree."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy import stats

from echat_eval.errors import BadData
from echat_eval.stats import cluster_mean
from echat_eval.stats.linking import (
    MIN_ANCHORS,
    anchor_weights,
    draw_anchors,
    fit_link,
    linked_mean,
    slice_shifts,
)


def test_a_link_rises_keeps_the_range_and_undoes_a_straight_line() -> None:
    rng = np.random.default_rng(0)
    old = rng.uniform(0, 100, 400)
    link = fit_link(0.5 * old + 20, old, low=0, high=100)
    grid = np.linspace(30, 60, 31)
    assert link.old_scale(grid) == pytest.approx(2 * (grid - 20))
    everywhere = link.old_scale(np.linspace(-50, 150, 401))
    assert (np.diff(everywhere) >= 0).all()
    assert (everywhere.min(), everywhere.max()) == (0, 100)
    assert fit_link([40, 40, 40], [10, 20, 30], low=0, high=100).old_scale(40) == 20
    with pytest.raises(BadData, match="expected one of each"):
        fit_link([1, 2], [1], low=0, high=100)


def test_anchors_are_balanced_over_cells_and_spread_over_clusters() -> None:
    cells = [("a", "sad")] * 60 + [("a", "happy")] * 40 + [("b", "sad")] * 20
    clusters = [n // 4 for n in range(120)]
    selected = draw_anchors(cells, clusters, 60, seed=3)
    assert len(selected) == len(set(selected)) == 60
    assert Counter(cells[n] for n in selected) == {("a", "sad"): 20, ("a", "happy"): 20, ("b", "sad"): 20}
    sad = Counter(clusters[n] for n in selected if cells[n] == ("a", "sad"))
    assert set(sad.values()) <= {1, 2}
    assert len(sad) == 15  # every cluster of the cell before any second time
    assert draw_anchors(cells, clusters, 60, seed=3) == selected != draw_anchors(cells, clusters, 60, seed=4)
    assert draw_anchors(cells, clusters, 500) == list(range(120))
    assert draw_anchors([], [], 10) == []


def test_weights_make_anchors_stand_for_all_replies() -> None:
    cells = ["sad"] * 6 + ["happy"] * 2
    clusters = [0, 0, 0, 0, 1, 1, 2, 3]
    weights = anchor_weights(cells, clusters, [0, 4, 6])
    assert weights.tolist() == [4, 2, 2]  # one of four, one of two, one of two of its cell
    assert anchor_weights(cells, clusters, list(range(8))).tolist() == [1] * 8


def test_with_every_reply_an_anchor_the_estimate_is_the_old_judges_mean() -> None:
    rng = np.random.default_rng(1)
    old, linked = rng.uniform(20, 80, (2, 60))
    clusters = np.repeat(np.arange(12), 5)
    every = list(range(60))
    found = linked_mean(
        linked, clusters, anchors=every, left=old - linked, weights=np.ones(60), low=0, high=100
    )
    expected = cluster_mean(old, clusters)
    assert found.value == pytest.approx(expected.value)
    left = cluster_mean(old - linked, clusters)
    assert left.se is not None
    assert expected.se is not None
    assert found.se == pytest.approx(max(expected.se, left.se))


def test_failed_replies_count_as_both_judges_score_them() -> None:
    linked = np.array([50.0] * 20 + [0.0] * 20)
    anchors = list(range(20))
    found = linked_mean(
        linked,
        np.arange(40),
        anchors=anchors,
        left=np.full(20, 10.0),
        weights=np.ones(20),
        low=0,
        high=100,
        share=0.5,
    )
    assert found.value == pytest.approx(30)


@pytest.mark.parametrize(("count", "clusters"), [(MIN_ANCHORS - 1, 60), (20, 4)])
def test_too_few_anchors_have_no_interval(count: int, clusters: int) -> None:
    x = np.linspace(0, 100, 60)
    found = linked_mean(
        x,
        np.arange(60) % clusters,
        anchors=list(range(count)),
        left=np.ones(count),
        weights=np.ones(count),
        low=0,
        high=100,
    )
    assert (found.low, found.high) == (None, None)
    with pytest.raises(BadData, match="no anchor"):
        linked_mean(x, np.arange(60), anchors=[], left=[], weights=[], low=0, high=100)


def test_crossed_speakers_and_sentences_widen_the_interval() -> None:
    rng = np.random.default_rng(5)
    speaker, sentence = np.divmod(np.arange(200), 20)
    x = 50 + rng.normal(0, 5, 10)[speaker] + rng.normal(0, 5, 20)[sentence] + rng.normal(0, 5, 200)
    anchors = sorted(rng.permutation(200)[:100].tolist())
    left = rng.normal(0, 5, 100)
    units = np.stack([speaker, sentence], axis=1)
    crossed, one_way = (
        linked_mean(x, clusters, anchors=anchors, left=left, weights=np.ones(100), low=0, high=100)
        for clusters in (units, speaker)
    )
    assert crossed.se is not None
    assert one_way.se is not None
    assert crossed.se >= one_way.se


def test_a_slice_is_compared_with_the_rest_as_by_welch() -> None:
    rng = np.random.default_rng(2)
    left = rng.normal(0, 8, 100)
    language = ["zh"] * 40 + ["en"] * 60
    left[:40] += 25
    (shift,) = slice_shifts(left, {"language": language}, np.arange(100))
    assert (shift.kind, shift.state) == ("language", "differs")
    sign = 1 if shift.value == "zh" else -1
    inside, outside = (left[:40], left[40:]) if shift.value == "zh" else (left[40:], left[:40])
    welch = stats.ttest_ind(inside, outside, equal_var=False)
    assert shift.shift.value == pytest.approx(inside.mean() - outside.mean())
    assert np.sign(shift.shift.value) == sign
    assert shift.shift.se is not None
    assert shift.shift.value / shift.shift.se == pytest.approx(welch.statistic)


@pytest.mark.parametrize(
    ("shift", "sd", "state"), [(0, 4, "agrees"), (20, 4, "differs"), (3, 4, "agrees"), (0, 40, "open")]
)
def test_agreement_must_be_shown(shift: float, sd: float, state: str) -> None:
    rng = np.random.default_rng(3)
    left = rng.normal(0, sd, 120)
    left[::2] += shift
    (found,) = slice_shifts(left, {"task": ["a", "b"] * 60}, np.arange(120) // 2)
    assert found.state == state


def test_small_slices_and_slices_in_few_clusters_are_not_tested() -> None:
    left = np.random.default_rng(4).normal(0, 5, 100)
    few = ["rare"] * 9 + ["usual"] * 91
    assert slice_shifts(left, {"label": few}, np.arange(100)) == []
    halves = ["a"] * 50 + ["b"] * 50
    assert slice_shifts(left, {"label": halves}, np.arange(100) // 25) == []
    assert slice_shifts(left, {"language": ["en"] * 100}, np.arange(100)) == []


def test_judges_that_agree_exactly_agree_in_every_slice() -> None:
    found = slice_shifts(np.zeros(60), {"task": ["a", "b"] * 30}, np.arange(60))
    assert [shift.state for shift in found] == ["agrees"]
