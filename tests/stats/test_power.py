"""Power before a run: variances, layouts and chances against known answers and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import stdtrit

from echat_eval.errors import BadData
from echat_eval.stats import as_design, cluster_mean, detection_probability
from echat_eval.stats.power import (
    Layout,
    Variances,
    bound_factors,
    fitted_variances,
    layout_of,
    power_of,
    standard_error,
)

SPEAKERS, SENTENCES = 20, 12
CROSSED = as_design(np.stack(np.divmod(np.arange(SPEAKERS * SENTENCES), SENTENCES), axis=1))
NESTED = as_design(np.repeat(np.arange(SPEAKERS), SENTENCES))


def drawn(design: object, by_speaker: float, by_sentence: float, runs: int, seed: int = 0) -> np.ndarray:
    rng, n = np.random.default_rng(seed), SPEAKERS * SENTENCES
    of_speakers = rng.normal(0, by_speaker**0.5, (runs, SPEAKERS))[:, np.arange(n) // SENTENCES]
    of_sentences = rng.normal(0, by_sentence**0.5, (runs, SENTENCES))[:, np.arange(n) % SENTENCES]
    return of_speakers + of_sentences + rng.normal(0, (1 - by_speaker - by_sentence) ** 0.5, (runs, n))


def test_variances_of_balanced_crossed_data_are_those_of_the_analysis_of_variance() -> None:
    (x,) = drawn(CROSSED, 0.3, 0.2, 1)
    grid = x.reshape(SPEAKERS, SENTENCES)
    rows, columns, mean = grid.mean(axis=1), grid.mean(axis=0), grid.mean()
    rest = ((grid - rows[:, None] - columns + mean) ** 2).sum() / (SPEAKERS - 1) / (SENTENCES - 1)
    found = fitted_variances(x, CROSSED)
    assert found.rest == pytest.approx(rest)
    assert found.by_speaker == pytest.approx(rows.var(ddof=1) - rest / SENTENCES)
    assert found.by_sentence == pytest.approx(columns.var(ddof=1) - rest / SPEAKERS)


def test_variances_of_balanced_nested_data_are_those_of_the_analysis_of_variance() -> None:
    (x,) = drawn(NESTED, 0.3, 0.0, 1)
    grid = x.reshape(SPEAKERS, SENTENCES)
    within = grid.var(axis=1, ddof=1).mean()
    between = grid.mean(axis=1).var(ddof=1) - within / SENTENCES
    found = fitted_variances(x, NESTED)
    assert found.by_speaker == pytest.approx(between, rel=1e-6)
    assert found.rest == pytest.approx(within, rel=1e-6)


def test_variances_are_never_negative() -> None:
    for x in drawn(CROSSED, 0.0, 0.0, 30):
        found = fitted_variances(x, CROSSED)
        assert min(found.by_speaker, found.by_sentence) >= 0
        assert found.rest > 0.5


def test_one_cluster_has_no_variances() -> None:
    with pytest.raises(BadData, match="two clusters or more"):
        fitted_variances([1.0, 2.0], as_design([0, 0]))


def test_many_clusters_have_the_power_of_a_mean() -> None:
    layout = Layout(samples=4000, speakers=4000)
    found = power_of(0.05, Variances(by_speaker=0.0, by_sentence=0.0, rest=1.0), layout)
    assert found == pytest.approx(float(detection_probability(0.05, 1 / 4000**0.5, 3999)), abs=0.01)


@pytest.mark.parametrize(
    ("design", "by_speaker", "by_sentence"), [(NESTED, 0.2, 0.0), (CROSSED, 0.1, 0.1), (CROSSED, 0.0, 0.0)]
)
def test_power_is_the_share_of_runs_whose_bound_excludes_the_margin(
    design: object, by_speaker: float, by_sentence: float
) -> None:
    margin, runs = 0.35 if by_speaker else 0.22, 1200
    made = as_design(design)  # type: ignore[arg-type]
    variances = Variances(by_speaker=by_speaker, by_sentence=by_sentence, rest=1 - by_speaker - by_sentence)
    found = [cluster_mean(x, made, change=True).low for x in drawn(made, by_speaker, by_sentence, runs)]
    share = np.mean([low is not None and low > -margin for low in found])
    planned = power_of(margin, variances, layout_of(made, correlation=by_speaker))
    assert planned == pytest.approx(share, abs=0.045)  # three standard errors of 1,200 runs
    assert 0.2 < planned < 0.9


def test_the_standard_error_follows_both_factors_and_repeats() -> None:
    variances = Variances(by_speaker=4.0, by_sentence=9.0, rest=16.0, judge=6.0)
    layout = Layout(samples=400, speakers=20, sentences=30)
    assert standard_error(variances, layout) == pytest.approx((4 / 20 + 9 / 30 + 16 / 400) ** 0.5)
    assert variances.with_repeats(3).rest == pytest.approx(12.0)
    twice = layout.scaled(2, 1)
    assert (twice.samples, twice.speakers, twice.sentences) == (800, 40, 30)


def test_bounds_of_few_clusters_lie_farther_away_for_skewness_by_chance() -> None:
    few, many = (
        bound_factors(Layout(samples=n, speakers=n), float(stdtrit(n - 1, 0.975))) for n in (10, 1000)
    )
    assert few.mean() > many.mean() > 1
    assert (few >= 1).all()


def test_power_grows_with_the_distance_and_is_certain_without_a_spread() -> None:
    variances = Variances(by_speaker=0.1, by_sentence=0.1, rest=0.8)
    layout = layout_of(CROSSED)
    chances = [power_of(distance, variances, layout) for distance in (0.0, 0.1, 0.3, 1.0)]
    assert chances == sorted(chances)
    assert chances[0] < 0.03
    assert power_of(0.1, variances.times(0.0), layout) == 1.0


@pytest.mark.parametrize(
    ("layout", "text"),
    [
        (Layout(samples=1200, speakers=30, sentences=40), "30 speakers x 40 sentences, 1,200 samples"),
        (layout_of(NESTED), "20 clusters, 240 samples"),
    ],
)
def test_layouts_are_described(layout: Layout, text: str) -> None:
    assert str(layout) == text
