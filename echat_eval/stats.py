"""Means over samples whose uncertainty is over clusters. Arrays only; frames are `tables`' business.

The estimand is the mean over samples; what varies independently is the cluster (samples that share a
speaker, a transcript or a contrast group). The interval is the cluster-robust one with the CR2 correction
and Satterthwaite degrees of freedom, which for a mean has a closed form: with cluster shares h_g of the
total weight and cluster sums S_g of the residuals,

    Var = sum_g S_g^2 / (1 - h_g) / W^2,
    1 / df = sum_g h_g^2 + (sum_g a_g)^2 - sum_g a_g^2,    a_g = h_g^2 / (1 - h_g).

With clusters of one size it is Student's t on the cluster means, with (clusters - 1) degrees of freedom.
Sources: Bell and McCaffrey (2002), Survey Methodology 28(2); Pustejovsky and Tipton (2018), Journal of
Business & Economic Statistics 36(4).

What cannot be told is None, never a width of zero: one cluster says nothing about the spread between
clusters, and neither do values that are all the same (280 times 100 does not mean that 0 cannot happen).
Values that differ but balance to the same sum in every cluster (+x and -x in each contrast group) do have
an interval of no width: there the balance itself was seen in every cluster.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import stdtrit

from echat_eval.errors import BadData

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["Bounds", "Estimate", "Spread", "cluster_mean", "connected_clusters", "mean_bounds", "spread"]

#: Share of the weight in one cluster from which the others are too little to estimate a spread from.
_ALL_IN_ONE = 1 - 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over samples and its interval over clusters.

    Attributes:
        value: the mean, or the ratio sum(value x weight) / sum(weight).
        low, high: two-sided interval at `level`; None: cannot tell (see the module's docstring).
        se: standard error; None with one cluster, 0.0 where nothing varied.
        df: Satterthwaite degrees of freedom; None with one cluster.
        n: samples.
        clusters: clusters.
        level: coverage, such as 0.95.
    """

    value: float
    low: float | None
    high: float | None
    se: float | None
    df: float | None
    n: int
    clusters: int
    level: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Where a mean may lie when some of its values are missing.

    Attributes:
        low: the mean if every missing value were the metric's lowest; None if the metric is open there.
        high: the mean if every missing value were its highest; None if the metric is open there.
        n: rows counted, missing ones included.
        missing: how many of them are missing.
    """

    low: float | None
    high: float | None
    n: int
    missing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """What clusters say about the uncertainty of a mean, one number per batch entry.

    Attributes:
        se: (...,) standard error.
        df: (...,) degrees of freedom.
    """

    se: NDArray[np.float64]
    df: NDArray[np.float64]


def spread(residual_sums: NDArray[np.float64], weights: NDArray[np.float64]) -> Spread:
    """Return CR2 standard errors and Satterthwaite degrees of freedom of weighted means.

    Args:
        residual_sums: (..., clusters) sum over each cluster of weight x (value - mean).
        weights: (..., clusters) sum of the weights; one row may serve a whole batch.

    Returns:
        NaN in both where fewer than two clusters carry weight.
    """
    total = weights.sum(axis=-1, keepdims=True)
    share = weights / total
    rest = 1.0 - share
    told = (share < _ALL_IN_ONE).all(axis=-1)
    rest = np.where(rest > 0, rest, np.nan)
    variance = (residual_sums**2 / rest).sum(axis=-1) / total[..., 0] ** 2
    a = share**2 / rest
    inverse_df = (share**2).sum(axis=-1) + a.sum(axis=-1) ** 2 - (a**2).sum(axis=-1)
    return Spread(
        se=np.where(told, np.sqrt(variance), np.nan),
        df=np.where(told, 1.0 / inverse_df, np.nan),
    )


def cluster_mean(
    values: ArrayLike,
    clusters: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return the mean over samples, with an interval over clusters.

    Args:
        values: (samples,) finite.
        clusters: (samples,) any labels; equal labels are one cluster.
        weights: (samples,) not negative; the mean is then sum(values x weights) / sum(weights), as for a
            corpus word error rate whose weights are reference words.
        level: coverage of the two-sided interval.

    Raises:
        BadData: nothing to average, lengths that differ, a value that is not finite, a negative weight,
            weights that sum to 0, or a level outside (0, 1).

    The point is summed exactly, so values that cancel give 0.0 and not a rounding error:

    >>> cluster_mean([0.1, 0.2, -0.2, -0.1], ["a", "a", "b", "b"]).value
    0.0
    >>> cluster_mean([1.0, 0.0, 1.0], ["a", "a", "a"]).low is None  # one cluster: cannot tell
    True
    """
    x, w, codes = _checked(values, clusters, weights, level)
    total = math.fsum(w)
    mean = math.fsum(x * w) / total
    groups = int(codes.max()) + 1
    found = spread(
        np.bincount(codes, weights=w * (x - mean), minlength=groups).astype(np.float64),
        np.bincount(codes, weights=w, minlength=groups).astype(np.float64),
    )
    se, df = float(found.se), float(found.df)
    if math.isnan(se):
        return Estimate(
            value=mean, low=None, high=None, se=None, df=None, n=len(x), clusters=groups, level=level
        )
    constant = bool(np.ptp(x[w > 0]) == 0)
    half = float(stdtrit(df, 0.5 + level / 2)) * se
    return Estimate(
        value=mean,
        low=None if constant else mean - half,
        high=None if constant else mean + half,
        se=0.0 if constant else se,
        df=df,
        n=len(x),
        clusters=groups,
        level=level,
    )


def connected_clusters(keys: Sequence[Sequence[Hashable | None]]) -> NDArray[np.int64]:
    """Return the cluster of every sample: connected components over what samples share.

    Args:
        keys: per sample what may link it to others, in one order for all, such as (speaker, transcript,
            contrast group). None links nothing; equal values at different positions link nothing.
            Samples of all tasks go in together, so that a speaker joins tasks.

    Returns:
        (samples,) cluster numbers from 0, in order of first appearance.

    >>> connected_clusters([("ann", "hi"), ("bob", "hi"), ("bob", "bye"), (None, None), (None, None)])
    array([0, 0, 0, 1, 2])
    """
    root = list(range(len(keys)))

    def find(i: int) -> int:
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    first: dict[tuple[int, Hashable], int] = {}
    for i, row in enumerate(keys):
        for position, key in enumerate(row):
            if key is None or key != key:  # NaN, as a frame spells None
                continue
            a, b = find(first.setdefault((position, key), i)), find(i)
            root[max(a, b)] = min(a, b)  # the root is the first member: numbers follow appearance
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(find(i), len(numbers)) for i in range(len(keys))], dtype=np.int64)


def mean_bounds(
    values: Sequence[float | None],
    states: Sequence[str],
    low: float | None,
    high: float | None,
    *,
    weights: Sequence[float] | None = None,
) -> Bounds:
    """Return the mean if every missing value were the metric's lowest, and if its highest.

    Args:
        values: (rows,) a number where the state is "value", or "failed" under a metric with a worst
            value; None elsewhere.
        states: (rows,) of the ledger. "not applicable", and "failed" without a value, are in no mean.
        low, high: the metric's range; None where it is open.
        weights: (rows,) for a ratio metric.

    Raises:
        BadData: no row that could be in a mean, or a "value" without a number.
    """
    numbers, shares, missing = [], [], []
    for i, (value, state) in enumerate(zip(values, states, strict=True)):
        weight = 1.0 if weights is None else float(weights[i])
        if state == "missing":
            missing.append(weight)
        elif value is not None and math.isfinite(value) and state in {"value", "failed"}:
            numbers.append(float(value) * weight)
            shares.append(weight)
        elif state == "value":
            raise BadData(f"row {i} has state 'value' and the value {value!r}; expected a finite number")
    total = math.fsum(shares + missing)
    if not total > 0:
        raise BadData("no row with a value and none missing: there is nothing to average")
    known, gap = math.fsum(numbers), math.fsum(missing)

    def filled(bound: float | None) -> float | None:
        if not missing:
            return known / total
        return None if bound is None else (known + gap * bound) / total

    return Bounds(low=filled(low), high=filled(high), n=len(numbers) + len(missing), missing=len(missing))


def _checked(
    values: ArrayLike, clusters: ArrayLike, weights: ArrayLike | None, level: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return values, weights and cluster numbers as arrays, or raise BadData."""
    x = np.asarray(values, dtype=np.float64)
    w = np.ones_like(x) if weights is None else np.asarray(weights, dtype=np.float64)
    labels: NDArray[Any] = np.asarray(clusters)
    if x.ndim != 1 or x.size == 0:
        raise BadData(f"got values of shape {x.shape}; expected one number per sample, at least one")
    if not x.shape == w.shape == labels.shape:
        raise BadData(f"got {x.size} values, {w.size} weights and {labels.size} clusters; expected as many")
    for name, array in (("value", x), ("weight", w)):
        wrong = np.flatnonzero(~np.isfinite(array))
        if wrong.size:
            raise BadData(f"{name} {wrong[0]} is {array[wrong[0]]}; expected a finite number")
    if (w < 0).any() or not w.sum() > 0:
        raise BadData("weights must not be negative and must not sum to 0")
    if not 0 < level < 1:
        raise BadData(f"level is {level}; expected a coverage between 0 and 1, such as 0.95")
    codes = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    return x, w, codes
