"""Crossed speakers and sentences: variances against R and full matrices, and what counts as nested."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echat_eval.errors import BadData
from echat_eval.stats import (
    Design,
    Estimate,
    Unit,
    as_design,
    cluster_bootstrap,
    cluster_mean,
    connected_clusters,
    macro_mean,
    ratio_difference,
    unit_codes,
    units_of,
)
from tests.support.cases import case
from tests.support.present import present

#: bench/gate/oracle.R: CR2 variances of a mean by clubSandwich 0.5.8 in R 4.2.2.
R_CROSSED = {"speakers": 12.525071409273, "sentences": 5.425736547358, "cells": 4.335277748791}
R_NESTED = 26.947038269701


def crossed_data() -> tuple[np.ndarray, np.ndarray]:
    """Return the data of bench/gate/oracle.R: values and (rows, 2) units."""
    speaker, sentence = np.divmod(np.arange(30), 5)
    times = np.minimum((speaker * 3 + sentence * 2) % 4, 2)
    units = np.repeat(np.stack([speaker, sentence], axis=1), times, axis=0)
    k = np.arange(len(units))
    return ((k * 37) % 23 + 4 * units[:, 0] - 3 * units[:, 1]).astype(float), units


def grid(speakers: int, sentences: int, times: int = 1) -> np.ndarray:
    speaker, sentence = np.divmod(np.arange(speakers * sentences), sentences)
    return np.repeat(np.stack([speaker, sentence], axis=1), times, axis=0)


def matrix_variance(x: np.ndarray, codes: np.ndarray) -> float:
    """Return CR2's variance of a mean from the hat matrix, cluster by cluster."""
    n = len(x)
    hat = np.full((n, n), 1 / n)
    residual, total = x - hat @ x, 0.0
    for g in np.unique(codes):
        at = np.flatnonzero(codes == g)
        values, vectors = np.linalg.eigh(np.eye(len(at)) - hat[np.ix_(at, at)])
        adjusted = vectors @ np.diag(values**-0.5) @ vectors.T @ residual[at]
        total += float(adjusted.sum() / n) ** 2
    return total


def test_crossed_variance_equals_clubsandwich_by_factor() -> None:
    x, units = crossed_data()
    assert x.mean() == pytest.approx(15.297297297297)
    estimate = cluster_mean(x, units)
    two_way = R_CROSSED["speakers"] + R_CROSSED["sentences"] - R_CROSSED["cells"]
    assert two_way > R_CROSSED["speakers"]
    assert estimate.se == pytest.approx(two_way**0.5, rel=1e-11)
    assert estimate.clusters == 5


def test_nested_variance_equals_clubsandwich() -> None:
    speaker = np.repeat(np.arange(7), [7, 1, 4, 2, 6, 3, 5])
    x = (np.arange(1, 29) * 31) % 19 + 5.0 * speaker
    for clusters in (speaker, np.stack([speaker, np.arange(28)], axis=1)):
        assert cluster_mean(x, clusters).se == pytest.approx(R_NESTED**0.5, rel=1e-11)


def test_two_by_two_by_hand() -> None:
    # Residuals -3 -1 / 1 3: speaker sums -4 and 4, sentence sums -2 and 2; every share is 1/2 (cells: 1/4).
    # V = 2 x 16 / (1/2) / 16 = 4; 2 x 4 / (1/2) / 16 = 1; (9 + 1 + 1 + 9) / (3/4) / 16 = 5/3.
    # 4 + 1 - 5/3 is below 4, so the speakers' variance is the limit; df = 2 - 1.
    estimate = cluster_mean([1.0, 3.0, 5.0, 7.0], grid(2, 2))
    assert estimate.se == pytest.approx(2.0)
    assert estimate.df == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(4))
def test_crossed_variance_equals_the_matrices_and_balanced_df_the_smaller_factor(seed: int) -> None:
    rng = np.random.default_rng(seed)
    units = grid(7, 5, 2)
    x = rng.normal(size=7)[units[:, 0]] + rng.normal(size=5)[units[:, 1]] + rng.normal(size=len(units))
    one, two = matrix_variance(x, units[:, 0]), matrix_variance(x, units[:, 1])
    cells = matrix_variance(x, units[:, 0] * 5 + units[:, 1])
    estimate = cluster_mean(x, units)
    assert estimate.se == pytest.approx(max(one + two - cells, one, two) ** 0.5)
    assert estimate.df == pytest.approx(4)


def test_nested_units_give_the_one_way_estimate_to_the_digit() -> None:
    rng = np.random.default_rng(0)
    speaker = np.repeat(np.arange(9), rng.integers(1, 9, 9))
    x, own = rng.normal(size=speaker.size), np.arange(speaker.size) // 2 + 100 * speaker
    plain = cluster_mean(x, speaker)
    assert cluster_mean(x, np.stack([speaker, own], axis=1)) == plain
    assert cluster_mean(x, np.stack([own, speaker], axis=1)) == plain


def test_macro_means_and_ratios_use_both_factors() -> None:
    rng = np.random.default_rng(1)
    units = grid(10, 20)
    effect = 2 * rng.normal(size=10)[units[:, 0]] + 3 * rng.normal(size=20)[units[:, 1]]
    x, words = effect + rng.normal(size=200), rng.integers(3, 20, 200)
    label = np.arange(200) % 3
    estimators: tuple[Callable[[np.ndarray], Estimate], ...] = (
        lambda c: macro_mean(x, label, c),
        lambda c: ratio_difference(x, words, 0 * x + rng.normal(), words, c),
        lambda c: cluster_mean(x, c, weights=words),
    )
    for found in estimators:
        one, two, both = found(units[:, 0]), found(units[:, 1]), found(units)
        assert present(both.se) > max(present(one.se), present(two.se))
        assert both.df == pytest.approx(min(present(one.df), present(two.df)))
        assert both.clusters == 10


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=25))
def test_a_design_is_nested_if_each_component_has_one_speaker_or_one_sentence(
    pairs: list[tuple[int, int]],
) -> None:
    design, components = as_design(np.array(pairs)), connected_clusters(pairs)
    assert np.array_equal(design.components, components)
    within = [{p for p, c in zip(pairs, components, strict=True) if c == g} for g in set(components)]
    crossed = any(len({a for a, _ in found}) > 1 < len({b for _, b in found}) for found in within)
    assert design.crossed == crossed
    levels = min(len({a for a, _ in pairs}), len({b for _, b in pairs}))
    assert design.clusters == (levels if crossed else len(within))


def test_partial_overlap_keeps_the_speakers_as_clusters() -> None:
    speaker = np.repeat(np.arange(50), 20)
    sentence = np.arange(1000)
    sentence[::50] = (sentence[::50] + 510) % 1000  # two percent of the rows have another speaker's sentence
    design = as_design(np.stack([speaker, sentence], axis=1))
    assert len(set(design.components)) < 40, "connected components collapse"
    assert design.crossed
    assert design.clusters == 50
    assert str(design) == "50 speakers x 980 sentences, crossed"


@pytest.mark.parametrize(
    ("units", "text", "remedy"),
    [
        (grid(30, 10), "30 speakers x 10 sentences, crossed", "sentences: fixed"),
        (grid(3, 10), "3 speakers x 10 sentences, crossed", "more speakers"),
        (np.stack([np.arange(8) // 2, np.arange(8)], 1), "4 speakers", "more speakers"),
        (np.stack([np.arange(8), np.arange(8) // 2], 1), "4 sentences", "more sentences"),
        (np.stack([np.arange(8), np.arange(8)], 1), "8 independent samples", "more independent samples"),
        (grid(1, 5), "1 speaker", "more speakers"),
        (np.arange(4) // 2, "2 clusters", "more clusters"),
    ],
)
def test_designs_are_described(units: np.ndarray, text: str, remedy: str) -> None:
    assert str(as_design(units)) == text
    assert remedy in as_design(units).remedy


@pytest.mark.parametrize(
    ("units", "coupled", "fixed", "clusters"),
    [
        (grid(24, 6), False, (), 6),
        (grid(24, 5), False, ("5 sentences",), 24),
        (grid(24, 5), True, ("5 sentences",), 24),
        (grid(5, 24), True, ("5 speakers",), 24),
        (grid(4, 4, 3), False, ("4 speakers", "4 sentences"), 48),
        (grid(4, 4, 3), True, ("4 speakers",), 4),
        (grid(1, 30), False, ("1 speaker",), 30),
        (np.stack([np.arange(40), np.arange(40) // 10], 1), False, ("4 sentences",), 40),
        (np.stack([np.arange(40), np.arange(40) // 10], 1), True, (), 4),
        (np.stack([np.arange(40), np.arange(40)], 1), False, (), 40),
        (np.stack([np.arange(3), np.arange(3)], 1), False, (), 3),
        (np.arange(40) // 10, False, (), 4),
    ],
)
def test_a_factor_with_few_levels_is_fixed(
    units: np.ndarray, coupled: bool, fixed: tuple[str, ...], clusters: int
) -> None:
    design = as_design(units).fixing(6, coupled=coupled)
    assert design.fixed == fixed
    assert design.clusters == clusters
    part = design.take(np.arange(len(design)) % 2 == 0)
    assert part.fixed == fixed, "the levels are those of all rows, not of the rows that have values"


def test_samples_share_a_sentence_by_transcript_or_group_of_one_task() -> None:
    plain = case("s0", None).sample
    samples = [
        replace(plain, id="a", speaker="ann", transcript="hi", contrast_group="1"),
        replace(plain, id="b", speaker="bob", transcript="ho", contrast_group="1"),
        replace(plain, id="c", speaker="ann", transcript="ho", contrast_group=None, task="age"),
        replace(plain, id="d", speaker=None, transcript="", contrast_group="1", task="age"),
        replace(plain, id="e", speaker=None, transcript="", contrast_group=None),
    ]
    assert list(units_of(samples).values()) == [(0, 0), (1, 0), (0, 0), (2, 1), (3, 2)]
    assert [unit.sentence for unit in units_of(samples, sentences="fixed").values()] == [0, 1, 2, 3, 4]


def test_missing_keys_link_nothing_and_fixed_sentences_leave_speakers() -> None:
    keys = (["ann", None, None, "ann"], [("hi", None), ("hi", "g"), (None, "g"), (None, None)])
    assert unit_codes(*keys).tolist() == [[0, 0], [1, 0], [2, 0], [0, 1]]
    assert unit_codes(*keys, kind="fixed").tolist() == [[0, 0], [1, 1], [2, 2], [0, 3]]


def test_lists_of_units_are_a_design_and_lists_of_other_tuples_are_labels() -> None:
    units = [Unit(0, 0), Unit(0, 1), Unit(1, 0), Unit(1, 1)]
    assert as_design(units).crossed
    assert as_design([(0, 0), (0, 0), ("a", 1)]).clusters == 2
    assert not as_design([("a", 1), ("a", 2)]).crossed


def test_bootstrap_draws_speakers_and_sentences() -> None:
    rng = np.random.default_rng(3)
    units = grid(40, 40)
    x = rng.normal(size=40)[units[:, 0]] + rng.normal(size=40)[units[:, 1]]
    assert cluster_bootstrap(x, units, draws=2000).std() == pytest.approx(cluster_mean(x, units).se, rel=0.1)


def test_simulated_crossed_effects_are_covered() -> None:
    """20 speakers x 12 sentences: the interval covers 0 in 93 % or more, one-way by speaker in far fewer."""
    rng, units = np.random.default_rng(4), grid(20, 12)
    covered, alone = 0, 0
    for _ in range(400):
        x = rng.normal(size=20)[units[:, 0]] + rng.normal(size=12)[units[:, 1]] + rng.normal(size=240)
        for clusters in (units, units[:, 0]):
            found = cluster_mean(x, clusters)
            inside = present(found.low) <= 0 <= present(found.high)
            covered, alone = (
                covered + (inside and clusters is units),
                alone + (inside and clusters is not units),
            )
    assert covered >= 0.93 * 400
    assert alone < 0.9 * 400


@pytest.mark.parametrize(
    "clusters",
    [np.empty((0, 2), int), np.empty(0), np.zeros((2, 3), int), Design(np.empty(0, int), np.empty(0, int))],
)
def test_no_samples_and_other_shapes_are_refused(clusters: object) -> None:
    with pytest.raises(BadData, match="at least one sample"):
        as_design(clusters)  # type: ignore[arg-type]
