"""Means, ratios and macro means over samples, with intervals over clusters.

The estimand is the mean over samples; what varies independently is the cluster (samples that share a
speaker, a transcript or a contrast group). How the interval is made is told in `spread`.

What cannot be told is None, never a width of zero: one cluster says nothing about the spread between
clusters, and neither do values that are all the same (280 times 100 does not mean that 0 cannot happen).
Values that differ but balance to the same sum in every cluster (+x and -x in each contrast group) do have
an interval of no width: there the balance itself was seen in every cluster.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtrit

from echat_eval.errors import BadData
from echat_eval.stats.spread import ALL_IN_ONE, spread

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

__all__ = ["Estimate", "cluster_mean", "macro_mean", "ratio_difference"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over samples and its interval over clusters.

    Attributes:
        value: the mean, or the ratio sum(value x weight) / sum(weight).
        low, high: two-sided interval at `level`; None: cannot tell (see the module's docstring).
        se: standard error; None with one cluster, 0.0 where nothing varied.
        df: degrees of freedom; None with one cluster.
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
    codes = _numbered(clusters)
    x, w = _column("value", values, codes.size), _weights(weights, codes.size)
    mean = math.fsum(x * w) / math.fsum(w)
    part = w / math.fsum(w) * len(x)
    constant = bool(np.ptp(x[w > 0]) == 0)
    return _estimate(mean, part * (x - mean), _per_cluster(part, codes) / len(x), codes, constant, level)


def macro_mean(values: ArrayLike, strata: ArrayLike, clusters: ArrayLike, *, level: float = 0.95) -> Estimate:
    """Return the mean of the strata's means, with an interval over clusters.

    With values 1 for a right answer and the gold label as stratum this is the macro recall (UAR); with the
    paired differences of two systems' answers it is the difference of their macro recalls.

    Args:
        values: (samples,) finite.
        strata: (samples,) labels that are averaged within before they are averaged over.
        clusters: (samples,) any labels.
        level: coverage.

    The variance is CR2's for a design of stratum means. The degrees of freedom use each cluster's mean share
    of the strata. A stratum that lies in one cluster leaves the interval untold (low and high None).

    Raises:
        BadData: as `cluster_mean`.
    """
    codes, kinds = _numbered(clusters), _numbered(strata)
    x = _column("value", values, codes.size)
    groups, labels = int(codes.max()) + 1, int(kinds.max()) + 1
    sizes = np.bincount(kinds, minlength=labels)
    means = np.array([math.fsum(x[kinds == k]) / sizes[k] for k in range(labels)])
    part = len(x) / (labels * sizes[kinds])
    residual = part * (x - means[kinds])
    cells = codes * labels + kinds
    shares = np.bincount(cells, minlength=groups * labels).reshape(groups, labels) / sizes
    told = bool((shares < ALL_IN_ONE).all())
    # CR2 inflates each stratum's residuals by its own share; `spread` will inflate by the mean share.
    mean_share = shares.mean(axis=1)
    own = np.sqrt(1 - np.minimum(shares, ALL_IN_ONE))[codes, kinds]
    scaled = residual / own * np.sqrt(1 - np.minimum(mean_share, ALL_IN_ONE))[codes]
    mean = math.fsum(means) / labels
    constant = bool(np.ptp(x) == 0) or not told
    found = _estimate(mean, scaled, mean_share, codes, constant, level, squares=float((residual**2).sum()))
    if told or found.se is None:
        return found
    return Estimate(value=mean, low=None, high=None, se=None, df=None, n=len(x), clusters=groups, level=level)


def ratio_difference(
    values: ArrayLike,
    weights: ArrayLike,
    against_values: ArrayLike,
    against_weights: ArrayLike,
    clusters: ArrayLike,
    *,
    level: float = 0.95,
) -> Estimate:
    """Return the difference of two ratios over the same samples, such as two corpus word error rates.

    Args:
        values: (samples,) of the candidate.
        weights: (samples,) of the candidate, such as the words of its own reply.
        against_values: (samples,) of the other system.
        against_weights: (samples,) of the other system.
        clusters: (samples,) any labels.
        level: coverage.

    The interval is the delta method's: residuals of both ratios, differenced within samples.

    Raises:
        BadData: as `cluster_mean`.
    """
    codes = _numbered(clusters)
    n = codes.size
    difference, residual, shares = 0.0, np.zeros(n), np.zeros(int(codes.max()) + 1)
    for sign, value, weight in ((1.0, values, weights), (-1.0, against_values, against_weights)):
        x, w = _column("value", value, n), _weights(weight, n)
        ratio = math.fsum(x * w) / math.fsum(w)
        part = w / math.fsum(w) * n
        difference += sign * ratio
        residual += sign * part * (x - ratio)
        shares += _per_cluster(part, codes) / n / 2
    constant = bool((residual == 0).all()) and difference != 0
    return _estimate(difference, residual, shares, codes, constant, level)


def _estimate(
    value: float,
    residual: Floats,
    shares: Floats,
    codes: NDArray[np.int64],
    constant: bool,
    level: float,
    *,
    squares: float | None = None,
) -> Estimate:
    """Return the estimate whose samples have these residuals (see `spread` for their units)."""
    if not 0 < level < 1:
        raise BadData(f"level is {level}; expected a coverage between 0 and 1, such as 0.95")
    n, groups = len(residual), int(codes.max()) + 1
    total = float((residual**2).sum()) if squares is None else squares
    found = spread(_per_cluster(residual, codes), shares, squares=np.asarray(total), n=n)
    if math.isnan(se := float(found.se)):
        return Estimate(value=value, low=None, high=None, se=None, df=None, n=n, clusters=groups, level=level)
    df = float(found.df)
    half = float(stdtrit(df, 0.5 + level / 2)) * se
    return Estimate(
        value=value,
        low=None if constant else value - half,
        high=None if constant else value + half,
        se=0.0 if constant else se,
        df=df,
        n=n,
        clusters=groups,
        level=level,
    )


def _per_cluster(values: Floats, codes: NDArray[np.int64]) -> Floats:
    return np.bincount(codes, weights=values).astype(np.float64)


def _numbered(labels: ArrayLike) -> NDArray[np.int64]:
    """Return labels of any kind as numbers from 0, or raise BadData."""
    array = np.asarray(labels)
    if array.ndim != 1 or array.size == 0:
        raise BadData(f"got labels of shape {array.shape}; expected one per sample, at least one sample")
    if array.dtype != object:
        return np.unique(array, return_inverse=True)[1].astype(np.int64)
    seen: dict[object, int] = {}
    return np.array([seen.setdefault(label, len(seen)) for label in array], dtype=np.int64)


def _column(name: str, values: ArrayLike, n: int) -> Floats:
    x = np.asarray(values, dtype=np.float64)
    if x.shape != (n,):
        raise BadData(f"got {name}s of shape {x.shape} and {n} clusters; expected one of each per sample")
    wrong = np.flatnonzero(~np.isfinite(x))
    if wrong.size:
        raise BadData(f"{name} {wrong[0]} is {x[wrong[0]]}; expected a finite number")
    return x


def _weights(weights: ArrayLike | None, n: int) -> Floats:
    w = np.ones(n) if weights is None else _column("weight", weights, n)
    if (w < 0).any() or not w.sum() > 0:
        raise BadData("weights must not be negative and must not sum to 0")
    return w
