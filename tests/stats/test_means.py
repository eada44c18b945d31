"""Means, ratios, macro recalls and their intervals against full matrices, R and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from echat_eval.errors import BadData
from echat_eval.stats import cluster_mean, macro_mean, ratio_difference, spread
from echat_eval.stats.macro_spread import macro_spread
from tests.support.present import present

#: R, datasets::sleep: extra sleep of ten patients under two drugs.
SLEEP_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SLEEP_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def inverse_root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    root: np.ndarray = vectors @ np.diag(values**-0.5) @ vectors.T
    return root


def with_matrices(
    x: np.ndarray, design: np.ndarray, contrast: np.ndarray, cluster: np.ndarray, omega: np.ndarray
) -> tuple[float, float]:
    """Return CR2's variance of a linear contrast and its Satterthwaite df for the covariance `omega`."""
    n = len(x)
    bread = np.linalg.inv(design.T @ design)
    hat = design @ bread @ design.T
    residual = x - hat @ x
    rows, variance = [], 0.0
    for g in np.unique(cluster):
        members = cluster == g
        adjust = inverse_root(np.eye(members.sum()) - hat[np.ix_(members, members)])
        weights = contrast @ bread @ design[members].T @ adjust
        variance += float(weights @ residual[members]) ** 2
        rows.append(weights @ (np.eye(n) - hat)[members])
    p = np.array(rows) @ omega @ np.array(rows).T
    return variance, float(np.trace(p) ** 2 / np.sum(p**2))


def uneven(seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(7), [9, 1, 4, 2, 6, 3, 5])
    return rng.normal(50, 10, cluster.size) + rng.normal(0, 8, 7)[cluster], cluster


def test_variance_and_df_equal_the_matrix_formulas() -> None:
    x, cluster = uneven()
    intercept = np.ones((x.size, 1))
    variance, plain_df = with_matrices(x, intercept, np.ones(1), cluster, np.eye(x.size))
    sums = np.bincount(cluster, weights=x - x.mean()).astype(float)
    uncertainty = spread(
        sums, np.bincount(cluster) / x.size, squares=np.asarray(((x - x.mean()) ** 2).sum()), n=x.size
    )
    rho = float(uncertainty.correlation)
    assert 0.1 < rho < 0.9
    omega = (1 - rho) * np.eye(x.size) + rho * (cluster[:, None] == cluster)
    _, correlated_df = with_matrices(x, intercept, np.ones(1), cluster, omega)
    estimate = cluster_mean(x, cluster)
    assert estimate.se == pytest.approx(np.sqrt(variance))
    assert estimate.df == pytest.approx(2 / (1 / plain_df + 1 / correlated_df))
    assert correlated_df < present(estimate.df) < plain_df
    half = scipy_stats.t.ppf(0.975, estimate.df) * estimate.se
    assert (estimate.low, estimate.high) == pytest.approx((x.mean() - half, x.mean() + half))


def test_df_without_correlation_is_the_published_df() -> None:
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(5), [2, 4, 8, 3, 5])
    x = rng.normal(size=cluster.size)
    x -= (np.bincount(cluster, weights=x) / np.bincount(cluster))[cluster] * 0.9  # less than chance between
    _, df = with_matrices(x, np.ones((x.size, 1)), np.ones(1), cluster, np.eye(x.size))
    assert cluster_mean(x, cluster).df == pytest.approx(df)


def test_estimated_correlation_is_unbiased() -> None:
    rng = np.random.default_rng(1)
    cluster = np.repeat(np.arange(60), rng.integers(2, 12, 60))
    sizes = np.bincount(cluster)
    x = rng.normal(size=(400, cluster.size)) * 0.8**0.5 + rng.normal(size=(400, 60))[:, cluster] * 0.2**0.5
    r = x - x.mean(axis=1, keepdims=True)
    sums = np.stack([np.bincount(cluster, weights=row) for row in r]).astype(float)
    rho = spread(sums, sizes / sizes.sum(), squares=(r**2).sum(axis=1), n=cluster.size).correlation
    assert rho.mean() == pytest.approx(0.2, abs=0.01)


def test_singleton_clusters_equal_the_paired_t_test_in_r() -> None:
    estimate = cluster_mean(np.subtract(SLEEP_1, SLEEP_2), np.arange(10))
    assert estimate.df == pytest.approx(9)
    assert estimate.value / present(estimate.se) == pytest.approx(-4.0621, abs=5e-5)
    assert (estimate.low, estimate.high) == pytest.approx((-2.4598858, -0.7001142), abs=5e-8)


def test_equal_clusters_equal_the_robust_interval_of_statsmodels() -> None:
    x, cluster = np.random.default_rng(4).normal(size=60), np.repeat(np.arange(12), 5)
    fit = sm.OLS(x, np.ones(60)).fit(cov_type="cluster", cov_kwds={"groups": cluster}, use_t=True)
    estimate = cluster_mean(x, cluster)
    assert estimate.se == pytest.approx(float(fit.bse[0]))
    assert (estimate.low, estimate.high) == pytest.approx(tuple(fit.conf_int()[0]))


def test_corpus_error_rate_is_errors_over_words() -> None:
    rates, words, clusters = [0.5, 0.0, 0.25, 1.0], [2, 6, 4, 1], [0, 0, 1, 2]
    estimate = cluster_mean(rates, clusters, weights=words)
    assert estimate.value == pytest.approx((1 + 0 + 1 + 1) / 13)
    # By hand: residual errors 1 - 2t, 0 - 6t | 1 - 4t | 1 - t with t = 3/13, over clusters of 8, 4, 1 words.
    t = 3 / 13
    sums, share = np.array([1 - 8 * t, 1 - 4 * t, 1 - t]), np.array([8, 4, 1]) / 13
    assert estimate.se == pytest.approx(np.sqrt((sums**2 / (1 - share)).sum()) / 13)


@pytest.mark.parametrize("nested", [False, True], ids=["labels cross clusters", "labels nested in clusters"])
def test_macro_recall_its_variance_and_df_equal_the_matrix_formulas(nested: bool) -> None:
    rng = np.random.default_rng(5)
    cluster = np.repeat(np.arange(9), [5, 7, 4, 6, 8, 5, 2, 9, 3])
    label = np.array([0, 1, 0, 2, 1, 0, 2, 1, 1])[cluster] if nested else rng.integers(0, 3, cluster.size)
    right = 100.0 * (rng.random(cluster.size) < rng.uniform(0.2, 0.9, 9)[cluster])
    design, contrast = (label[:, None] == np.arange(3)).astype(float), np.full(3, 1 / 3)
    same = cluster[:, None] == cluster
    estimate = macro_mean(right, np.array(["a", "b", "c"])[label], cluster)
    means = np.array([right[label == k].mean() for k in range(3)])
    assert estimate.value == pytest.approx(means.mean())
    sums, counts = (
        np.stack([np.bincount(cluster, column * (label == k)) for k in range(3)], axis=1).astype(float)
        for column in (right - means[label], np.ones(cluster.size))
    )
    rho = float(macro_spread(sums, counts, squares=float(((right - means[label]) ** 2).sum())).correlation)
    assert 0.02 < rho < 0.9
    variance, plain_df = with_matrices(right, design, contrast, cluster, np.eye(cluster.size))
    omega = (1 - rho) * np.eye(cluster.size) + rho * same
    _, correlated_df = with_matrices(right, design, contrast, cluster, omega)
    assert estimate.se == pytest.approx(np.sqrt(variance))
    assert estimate.df == pytest.approx(2 / (1 / plain_df + 1 / correlated_df))


def test_macro_mean_equals_club_sandwich_in_r() -> None:
    """bench/stats/oracle.R: clubSandwich 0.5.8, whose df is that of independent samples."""
    speaker = np.repeat(np.arange(12), [3, 1, 5, 2, 4, 4, 1, 3, 5, 2, 3, 4])
    label = np.repeat([0, 1, 2], [4, 6, 2])[speaker]
    nested = macro_mean((np.arange(1, speaker.size + 1) * 37) % 23, label, speaker)
    assert nested.value == pytest.approx(11.423103212577)
    assert nested.se == pytest.approx(0.669722162683)
    assert nested.df == pytest.approx(3.309190758)  # the data show no correlation within speakers
    speaker = np.repeat(np.arange(7), [7, 3, 4, 6, 5, 8, 4])
    k = np.arange(speaker.size)
    values, label = ((k * 29) % 31).astype(float), (k + k // 5) % 3
    crossed = macro_mean(values, label, speaker)
    assert crossed.se == pytest.approx(2.381570582381)
    design = (label[:, None] == np.arange(3)).astype(float)
    _, plain_df = with_matrices(values, design, np.full(3, 1 / 3), speaker, np.eye(k.size))
    assert plain_df == pytest.approx(5.198720362)
    assert 4 < present(crossed.df) < plain_df  # the data show some correlation


def test_df_of_labels_with_their_own_speakers_are_welch_and_satterthwaite_s() -> None:
    """Equal speakers within each label: the df have Welch and Satterthwaite's textbook form."""
    speakers = [10, 20, 2]
    cluster = np.repeat(np.arange(32), 6)
    label = np.repeat(np.arange(3), np.array(speakers) * 6)
    x = np.random.default_rng(8).normal(size=192)
    parts = [1 / count for count in speakers]
    expected = sum(parts) ** 2 / sum(p**2 / (count - 1) for p, count in zip(parts, speakers, strict=True))
    assert macro_mean(x, label, cluster).df == pytest.approx(expected)
    assert expected == pytest.approx(1.68, abs=0.01)


def test_estimated_correlation_within_clusters_of_several_labels_is_unbiased() -> None:
    rng = np.random.default_rng(11)
    cluster, label = np.repeat(np.arange(40), 6), np.tile([0, 0, 1, 1, 1, 2], 40)
    found = []
    for _ in range(300):
        x = 0.8**0.5 * rng.normal(size=240) + 0.2**0.5 * rng.normal(size=40)[cluster] + 9 * label
        residual = x - np.array([x[label == k].mean() for k in range(3)])[label]
        sums, counts = (
            np.stack([np.bincount(cluster, column * (label == k)) for k in range(3)], axis=1).astype(float)
            for column in (residual, np.ones(240))
        )
        found.append(float(macro_spread(sums, counts, squares=float((residual**2).sum())).correlation))
    assert np.mean(found) == pytest.approx(0.2, abs=0.02)


def test_macro_mean_of_one_label_is_the_mean() -> None:
    x, cluster = uneven()
    macro, plain = macro_mean(x, ["a"] * x.size, cluster), cluster_mean(x, cluster)
    assert macro.value == pytest.approx(plain.value)
    assert macro.df == pytest.approx(plain.df)
    assert (macro.low, macro.high) == pytest.approx((plain.low, plain.high))


def test_macro_mean_with_a_label_in_one_cluster_has_no_interval() -> None:
    estimate = macro_mean([1, 0, 1, 0, 1], ["a", "a", "a", "b", "b"], [0, 1, 2, 2, 2])
    assert estimate.value == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert estimate.low is None


def test_ratio_difference_agrees_with_the_jackknife_over_clusters() -> None:
    rng = np.random.default_rng(6)
    cluster = np.repeat(np.arange(50), 4)
    words, other_words = rng.integers(3, 20, (2, 200))
    errors = rng.binomial(words, 0.2) / words
    other = np.minimum(1, rng.binomial(other_words, 0.15) / other_words + 0.3 * errors)
    estimate = ratio_difference(errors, words, other, other_words, cluster)

    def plain(keep: np.ndarray) -> float:
        a = (errors * words)[keep].sum() / words[keep].sum()
        return float(a - (other * other_words)[keep].sum() / other_words[keep].sum())

    assert estimate.value == pytest.approx(plain(np.ones(200, bool)))
    left_out = np.array([plain(cluster != g) for g in range(50)])
    jackknife = np.sqrt(49 / 50 * ((left_out - left_out.mean()) ** 2).sum())
    assert estimate.se == pytest.approx(jackknife, rel=0.03)


def test_values_that_cancel_give_exactly_zero_with_zero_width() -> None:
    x = np.random.default_rng(2).normal(size=501) * 1e3
    estimate = cluster_mean(np.concatenate([x, -x]), np.tile(np.arange(501), 2))
    assert estimate.value == 0.0
    assert estimate.low == pytest.approx(0, abs=1e-9)
    assert estimate.high == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("values", "clusters", "se"),
    [
        ([1.0, 2.0], ["a", "a"], None),
        ([5.0, 5.0, 5.0], [0, 1, 2], 0.0),
        ([5.0], [0], None),
        ([0.1, 107.9, 54.0, 27.3, 80.7], [0, 0, 1, 2, 2], 0.0),
    ],
    ids=["one cluster", "constant", "one sample", "clusters with the same mean"],
)
def test_one_cluster_and_clusters_that_agree_have_no_interval(
    values: list[float], clusters: list[object], se: float | None
) -> None:
    estimate = cluster_mean(values, clusters)
    assert (estimate.low, estimate.high, estimate.se) == (None, None, se)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": [], "clusters": []}, "at least one"),
        ({"values": [1.0, np.nan], "clusters": [0, 1]}, "value 1 is nan"),
        ({"values": [1.0, np.inf], "clusters": [0, 1]}, "value 1 is inf"),
        ({"values": [1.0, 2.0], "clusters": [0]}, "one of each per sample"),
        ({"values": [1.0, 2.0], "clusters": [0, 1], "weights": [1, -1]}, "negative"),
        ({"values": [1.0, 2.0], "clusters": [0, 1], "weights": [0, 0]}, "sum to 0"),
        ({"values": [1.0, 2.0], "clusters": [0, 1], "level": 95}, "between 0 and 1"),
    ],
)
def test_invalid_input_raises_bad_data(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(BadData, match=message):
        cluster_mean(**arguments)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_estimates_are_invariant_to_order_names_and_shift(data: st.DataObject) -> None:
    n = data.draw(st.integers(4, 40))
    x = np.array(data.draw(st.lists(st.integers(0, 100), min_size=n, max_size=n)), dtype=float)
    cluster = np.array(data.draw(st.lists(st.integers(0, 5), min_size=n, max_size=n)))
    order = np.array(data.draw(st.permutations(range(n))))
    first = cluster_mean(x, cluster)
    second = cluster_mean(x[order] + 7, [f"c{c}" for c in 9 - cluster[order]])
    assert second.value == pytest.approx(first.value + 7)
    assert (second.low is None) == (first.low is None)
    if first.low is not None and second.low is not None:
        assert second.low == pytest.approx(first.low + 7, abs=1e-6)
        assert second.df == pytest.approx(first.df, rel=1e-6)
