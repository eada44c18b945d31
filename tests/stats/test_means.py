"""Means, ratios, macro recalls and their intervals against longhand matrices, R's documentation and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from echat_eval.errors import BadData
from echat_eval.stats import cluster_mean, macro_mean, ratio_difference, spread

#: R, datasets::sleep: extra sleep of ten patients under two drugs.
SLEEP_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SLEEP_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def inverse_root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return vectors @ np.diag(values**-0.5) @ vectors.T


def longhand(
    x: np.ndarray, design: np.ndarray, contrast: np.ndarray, cluster: np.ndarray, omega: np.ndarray
) -> tuple[float, float]:
    """Return CR2's variance of a linear contrast and its Satterthwaite df under `omega`, with full matrices."""
    n = len(x)
    bread = np.linalg.inv(design.T @ design)
    hat = design @ bread @ design.T
    residual = x - hat @ x
    rows, variance = [], 0.0
    for g in np.unique(cluster):
        own = cluster == g
        adjust = inverse_root(np.eye(own.sum()) - hat[np.ix_(own, own)])
        weights = contrast @ bread @ design[own].T @ adjust
        variance += float(weights @ residual[own]) ** 2
        rows.append(weights @ (np.eye(n) - hat)[own])
    p = np.array(rows) @ omega @ np.array(rows).T
    return variance, float(np.trace(p) ** 2 / np.sum(p**2))


def uneven(seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(7), [9, 1, 4, 2, 6, 3, 5])
    return rng.normal(50, 10, cluster.size) + rng.normal(0, 8, 7)[cluster], cluster


def test_variance_and_df_are_those_of_the_matrices() -> None:
    x, cluster = uneven()
    one = np.ones((x.size, 1))
    variance, plain_df = longhand(x, one, np.ones(1), cluster, np.eye(x.size))
    sums = np.bincount(cluster, weights=x - x.mean())
    found = spread(
        sums, np.bincount(cluster) / x.size, squares=np.asarray(((x - x.mean()) ** 2).sum()), n=x.size
    )
    rho = float(found.correlation)
    assert 0.1 < rho < 0.9
    omega = (1 - rho) * np.eye(x.size) + rho * (cluster[:, None] == cluster)
    _, correlated_df = longhand(x, one, np.ones(1), cluster, omega)
    got = cluster_mean(x, cluster)
    assert got.se == pytest.approx(np.sqrt(variance))
    assert got.df == pytest.approx(2 / (1 / plain_df + 1 / correlated_df))
    assert correlated_df < got.df < plain_df
    half = scipy_stats.t.ppf(0.975, got.df) * got.se
    assert (got.low, got.high) == pytest.approx((x.mean() - half, x.mean() + half))


def test_df_is_the_published_one_where_the_data_show_no_correlation() -> None:
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(5), [2, 4, 8, 3, 5])
    x = rng.normal(size=cluster.size)
    x -= (np.bincount(cluster, weights=x) / np.bincount(cluster))[cluster] * 0.9  # less than chance between
    _, df = longhand(x, np.ones((x.size, 1)), np.ones(1), cluster, np.eye(x.size))
    assert cluster_mean(x, cluster).df == pytest.approx(df)


def test_estimated_correlation_is_the_true_one_on_average() -> None:
    rng = np.random.default_rng(1)
    cluster = np.repeat(np.arange(60), rng.integers(2, 12, 60))
    sizes = np.bincount(cluster)
    x = rng.normal(size=(400, cluster.size)) * 0.8**0.5 + rng.normal(size=(400, 60))[:, cluster] * 0.2**0.5
    r = x - x.mean(axis=1, keepdims=True)
    sums = np.stack([np.bincount(cluster, weights=row) for row in r])
    rho = spread(sums, sizes / sizes.sum(), squares=(r**2).sum(axis=1), n=cluster.size).correlation
    assert rho.mean() == pytest.approx(0.2, abs=0.01)


def test_singletons_are_r_s_paired_t_test() -> None:
    got = cluster_mean(np.subtract(SLEEP_1, SLEEP_2), np.arange(10))
    assert got.df == pytest.approx(9)
    assert got.value / got.se == pytest.approx(-4.0621, abs=5e-5)
    assert (got.low, got.high) == pytest.approx((-2.4598858, -0.7001142), abs=5e-8)


def test_equal_clusters_are_statsmodels_cluster_robust_interval() -> None:
    x, cluster = np.random.default_rng(4).normal(size=60), np.repeat(np.arange(12), 5)
    fit = sm.OLS(x, np.ones(60)).fit(cov_type="cluster", cov_kwds={"groups": cluster}, use_t=True)
    got = cluster_mean(x, cluster)
    assert got.se == pytest.approx(float(fit.bse[0]))
    assert (got.low, got.high) == pytest.approx(tuple(fit.conf_int()[0]))


def test_corpus_error_rate_is_errors_over_words() -> None:
    rates, words, clusters = [0.5, 0.0, 0.25, 1.0], [2, 6, 4, 1], [0, 0, 1, 2]
    got = cluster_mean(rates, clusters, weights=words)
    assert got.value == pytest.approx((1 + 0 + 1 + 1) / 13)
    # By hand: residual errors 1 - 2t, 0 - 6t | 1 - 4t | 1 - t with t = 3/13, over clusters of 8, 4, 1 words.
    t = 3 / 13
    sums, share = np.array([1 - 8 * t, 1 - 4 * t, 1 - t]), np.array([8, 4, 1]) / 13
    assert got.se == pytest.approx(np.sqrt((sums**2 / (1 - share)).sum()) / 13)


def test_macro_recall_and_its_variance_are_those_of_the_matrices() -> None:
    rng = np.random.default_rng(5)
    cluster = np.repeat(np.arange(6), [5, 7, 4, 6, 8, 5])
    label = rng.integers(0, 3, cluster.size)
    right = (rng.random(cluster.size) < 0.6).astype(float)
    design = (label[:, None] == np.arange(3)).astype(float)
    contrast = np.full(3, 1 / 3)
    variance, _ = longhand(right, design, contrast, cluster, np.eye(cluster.size))
    got = macro_mean(right, np.array(["a", "b", "c"])[label], cluster)
    assert got.value == pytest.approx(np.mean([right[label == k].mean() for k in range(3)]))
    assert got.se == pytest.approx(np.sqrt(variance))


def test_macro_mean_of_one_label_is_the_mean() -> None:
    x, cluster = uneven()
    one, other = macro_mean(x, ["a"] * x.size, cluster), cluster_mean(x, cluster)
    assert one.value == pytest.approx(other.value)
    assert one.df == pytest.approx(other.df)
    assert (one.low, one.high) == pytest.approx((other.low, other.high))


def test_label_in_one_cluster_leaves_a_macro_mean_untold() -> None:
    got = macro_mean([1, 0, 1, 0, 1], ["a", "a", "a", "b", "b"], [0, 1, 2, 2, 2])
    assert got.value == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert got.low is None


def test_ratio_difference_agrees_with_the_jackknife_over_clusters() -> None:
    rng = np.random.default_rng(6)
    cluster = np.repeat(np.arange(50), 4)
    words, other_words = rng.integers(3, 20, (2, 200))
    errors = rng.binomial(words, 0.2) / words
    other = np.minimum(1, rng.binomial(other_words, 0.15) / other_words + 0.3 * errors)
    got = ratio_difference(errors, words, other, other_words, cluster)

    def plain(keep: np.ndarray) -> float:
        a = (errors * words)[keep].sum() / words[keep].sum()
        return float(a - (other * other_words)[keep].sum() / other_words[keep].sum())

    assert got.value == pytest.approx(plain(np.ones(200, bool)))
    left_out = np.array([plain(cluster != g) for g in range(50)])
    jackknife = np.sqrt(49 / 50 * ((left_out - left_out.mean()) ** 2).sum())
    assert got.se == pytest.approx(jackknife, rel=0.03)


def test_values_that_cancel_give_exactly_zero_with_no_width() -> None:
    x = np.random.default_rng(2).normal(size=501) * 1e3
    got = cluster_mean(np.concatenate([x, -x]), np.tile(np.arange(501), 2))
    assert got.value == 0.0
    assert got.low == pytest.approx(0, abs=1e-9)
    assert got.high == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("values", "clusters", "se"),
    [([1.0, 2.0], ["a", "a"], None), ([5.0, 5.0, 5.0], [0, 1, 2], 0.0), ([5.0], [0], None)],
    ids=["one cluster", "constant", "one sample"],
)
def test_one_cluster_and_constant_values_cannot_tell(
    values: list[float], clusters: list[object], se: float | None
) -> None:
    got = cluster_mean(values, clusters)
    assert (got.low, got.high, got.se) == (None, None, se)


@pytest.mark.parametrize(
    ("arguments", "said"),
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
def test_bad_input_is_said(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(BadData, match=said):
        cluster_mean(**arguments)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_order_names_and_shift_do_not_matter(data: st.DataObject) -> None:
    n = data.draw(st.integers(4, 40))
    x = np.array(data.draw(st.lists(st.integers(0, 100), min_size=n, max_size=n)), dtype=float)
    cluster = np.array(data.draw(st.lists(st.integers(0, 5), min_size=n, max_size=n)))
    order = np.array(data.draw(st.permutations(range(n))))
    one, other = cluster_mean(x, cluster), cluster_mean(x[order] + 7, [f"c{c}" for c in 9 - cluster[order]])
    assert other.value == pytest.approx(one.value + 7)
    assert (other.low is None) == (one.low is None)
    if one.low is not None and other.low is not None:
        assert other.low == pytest.approx(one.low + 7, abs=1e-6)
        assert other.df == pytest.approx(one.df, rel=1e-6)
