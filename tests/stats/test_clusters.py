"""Clusters as connected components, bounds of means with missing values, and the cluster bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echat_eval.errors import BadData
from echat_eval.stats import cluster_bootstrap, cluster_mean, connected_clusters, mean_bounds

KEY = st.one_of(st.none(), st.integers(0, 6))


def closure(keys: list[tuple[object, ...]]) -> np.ndarray:
    """Return the transitive closure of shared keys, by powers of the adjacency matrix."""
    link = np.array(
        [
            [
                i == j or any(a is not None and a == b for a, b in zip(x, y, strict=True))
                for j, y in enumerate(keys)
            ]
            for i, x in enumerate(keys)
        ]
    )
    while not np.array_equal(link, wider := link @ link):
        link = wider
    return link


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(KEY, KEY, KEY), min_size=1, max_size=25))
def test_clusters_are_the_transitive_closure(keys: list[tuple[object, ...]]) -> None:
    codes = connected_clusters(keys)
    assert np.array_equal(codes[:, None] == codes, closure(keys))
    assert list(dict.fromkeys(codes.tolist())) == list(range(codes.max() + 1))


def test_a_long_chain_is_one_cluster() -> None:
    speakers = np.random.default_rng(0).permutation(2000)[np.arange(3999) // 2]
    chain = list(zip(speakers.tolist(), np.arange(1, 4000) // 2, strict=True))
    assert not connected_clusters(chain).any()


def test_empty_keys_and_equal_keys_at_other_positions_do_not_link() -> None:
    nan = float("nan")  # one object, as frames share it
    keys = [("a", None, nan), (None, "a", None), (None, None, "a"), (None, None, nan)]
    assert connected_clusters(keys).tolist() == [0, 1, 2, 3]


def test_shared_speaker_links_samples_of_two_tasks() -> None:
    emotion, age = [("ann", "t1"), ("bob", "t2")], [("ann", "t3"), ("cid", "t2")]
    assert connected_clusters(emotion + age).tolist() == [0, 1, 0, 1]


STATES = ["value", "failed", "missing", "not applicable"]


@pytest.mark.parametrize(
    ("values", "low", "high", "weights", "expected"),
    [
        ([50.0, 0.0, None, None], 0, 100, None, (50 / 3, 50.0, 3, 1)),
        (
            [50.0, None, None, None],
            0,
            100,
            None,
            (25.0, 75.0, 2, 1),
        ),  # failed without a worst value: in no mean
        ([0.5, 0.0, None, None], 0, None, [2, 6, 2, 1], (0.1, None, 3, 1)),
    ],
)
def test_missing_rows_widen_a_mean_to_its_bounds(values, low, high, weights, expected) -> None:  # type: ignore[no-untyped-def]
    bounds = mean_bounds(values, STATES, low, high, weights=weights)
    assert (bounds.low, bounds.high, bounds.n, bounds.missing) == (pytest.approx(expected[0]), *expected[1:])


def test_bounds_without_missing_rows_equal_the_mean() -> None:
    bounds = mean_bounds([1.0, 2.0], ["value", "value"], None, None)
    assert (bounds.low, bounds.high) == (1.5, 1.5)


@pytest.mark.parametrize(
    ("values", "states"),
    [([None], ["not applicable"]), ([None], ["value"]), ([float("nan")], ["value"]), ([], [])],
)
def test_bounds_without_rows_raise_bad_data(values: list[float | None], states: list[str]) -> None:
    with pytest.raises(BadData):
        mean_bounds(values, states, 0, 1)


def test_bootstrap_se_equals_the_analytic_se() -> None:
    rng = np.random.default_rng(1)
    cluster = np.repeat(np.arange(200), 4)
    x = rng.normal(size=800) + rng.normal(size=200)[cluster]
    drawn = cluster_bootstrap(x, cluster, draws=4000)
    assert drawn.std() == pytest.approx(cluster_mean(x, cluster).se, rel=0.05)


def test_bootstrap_draws_whole_clusters_and_shares_draws_between_columns() -> None:
    x = np.column_stack([[1.0, -1.0, 3.0, -3.0, 0.5, -0.5], [2.0, -2.0, 6.0, -6.0, 1.0, -1.0]])
    drawn = cluster_bootstrap(x, [0, 0, 1, 1, 2, 2], draws=50)
    assert np.allclose(drawn, 0)
    y = np.column_stack([np.arange(6.0), 2 * np.arange(6.0)])
    first, second = cluster_bootstrap(y, list("aabbcd"), draws=50).T
    assert np.allclose(second, 2 * first)
    assert len(set(first)) > 5
    assert np.array_equal(first, cluster_bootstrap(y[:, 0], list("aabbcd"), draws=50))


def test_bootstrap_rejects_nan() -> None:
    with pytest.raises(BadData):
        cluster_bootstrap([1.0, float("nan")], [0, 1], draws=10)
