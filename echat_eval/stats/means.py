"""Means, ratios and macro means over samples, with intervals over clusters.

The estimand is the mean over samples; the independent units are clusters (samples that share a speaker,
a transcript or a contrast group). Where speakers and sentences cross, both are sources of variation (see
`factors.Design`). `spread` documents the interval.

An unknown bound is None, never an interval of zero width. One cluster carries no information about the
spread between clusters, and neither do constant values (280 times 100 does not exclude 0), nor values whose
mean is the same in every cluster: scores are whole numbers, and few clusters easily agree. Only values that
cancel in every cluster (+x and -x in each contrast group) have an interval of zero width, at 0, because every
cluster confirms that they cancel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from echat_eval.errors import BadData
from echat_eval.stats.factors import as_design, numbered
from echat_eval.stats.macro_spread import macro_spread
from echat_eval.stats.quantiles import student_quantile
from echat_eval.stats.spread import ALL_IN_ONE, crossed_spread, spread
from echat_eval.stats.tails import Moves, one_sided_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from echat_eval.stats.factors import Clusters, Design
    from echat_eval.stats.spread import Spread

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]

__all__ = ["Estimate", "cluster_mean", "macro_mean", "ratio_difference"]

#: Spread between clusters, as a share of the mean, that is no more than a rounding error.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over samples and its interval over clusters.

    Attributes:
        value: the mean, or the ratio sum(value x weight) / sum(weight).
        low, high: two-sided interval at `level`; None: unknown (see the module's docstring).
        se: standard error; None with one cluster, 0.0 if all clusters have the same mean.
        df: degrees of freedom; None with one cluster.
        se_low, se_high: standard errors of the lower and the upper bound; they exceed `se` where a difference
            is skewed or few clusters moved (see `tails`).
        n: number of samples.
        clusters: number of clusters; of the smaller factor if speakers and sentences cross.
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
    se_low: float | None = None
    se_high: float | None = None

    @property
    def no_interval(self) -> str:
        """Return why there is no interval, as printed in its place; empty if there is one."""
        if self.low is not None and self.high is not None:
            return ""
        return "one cluster" if self.se is None else "no spread"


def cluster_mean(
    values: ArrayLike,
    clusters: Clusters,
    *,
    weights: ArrayLike | None = None,
    level: float = 0.95,
    change: bool = False,
    width: float | None = None,
) -> Estimate:
    """Return the mean over samples, with an interval over clusters.

    Args:
        values: (samples,) finite.
        clusters: a design, (samples,) labels (equal labels are one cluster), or (samples, 2) units.
        weights: (samples,) not negative; the mean is then sum(values x weights) / sum(weights), as in a
            corpus word error rate, whose weights are reference words.
        level: coverage of the two-sided interval.
        change: the values are paired differences: bounds allow for skew and for few clusters that moved.
        width: of the metric's range, for differences; None if it has none.

    Raises:
        BadData: nothing to average, different lengths, a value that is not finite, a negative weight,
            weights that sum to 0, or a level outside (0, 1).

    The sum is exact, so values that cancel give 0.0 and not a rounding error:

    >>> cluster_mean([0.1, 0.2, -0.2, -0.1], ["a", "a", "b", "b"]).value
    0.0
    >>> cluster_mean([1.0, 0.0, 1.0], ["a", "a", "a"]).low is None  # one cluster: unknown
    True
    """
    design = as_design(clusters)
    x, w = _column("value", values, len(design)), _weights(weights, len(design))
    mean = math.fsum(x * w) / math.fsum(w)
    part = w / math.fsum(w) * len(x)
    constant = bool(np.ptp(x[w > 0]) == 0)
    residual = part * (x - mean)

    def sums(codes: Codes) -> _Sums:
        return _Sums(_per_cluster(residual, codes), _per_cluster(part, codes) / len(x))

    moves = _Moves(part * x, width) if change else None
    return _estimate(mean, sums, _one_way(sums, residual), design, constant, level, moves)


def macro_mean(
    values: ArrayLike,
    strata: ArrayLike,
    clusters: Clusters,
    *,
    level: float = 0.95,
    change: bool = False,
    width: float | None = None,
) -> Estimate:
    """Return the mean of the strata's means, with an interval over clusters.

    With 1 for a correct answer, 0 otherwise, and the gold label as stratum, it is the macro recall (UAR);
    with paired differences of two systems' answers, it is the difference of their macro recalls.

    Args:
        values: (samples,) finite.
        strata: (samples,) labels; values are averaged within each label, then over labels.
        clusters: as in `cluster_mean`.
        level: coverage.
        change: as in `cluster_mean`.
        width: as in `cluster_mean`.

    The variance is CR2's for a design of stratum means, with its exact degrees of freedom (see
    `macro_spread`). If one cluster contains a whole stratum, there is no interval (low and high None).

    Raises:
        BadData: as `cluster_mean`.
    """
    design, kinds = as_design(clusters), numbered(strata)
    n = len(design)
    x = _column("value", values, n)
    if kinds.shape != (n,):
        raise BadData(f"got {kinds.size} strata and {n} clusters; expected one of each per sample")
    labels = int(kinds.max()) + 1
    sizes = np.bincount(kinds, minlength=labels)
    means = np.array([math.fsum(x[kinds == k]) / sizes[k] for k in range(labels)])
    part = n / (labels * sizes[kinds])
    residual = x - means[kinds]

    def per_stratum(values: Floats | None, codes: Codes) -> Floats:
        """Return sums, or counts of samples, (clusters, strata)."""
        groups = int(codes.max()) + 1
        found = np.bincount(codes * labels + kinds, weights=values, minlength=groups * labels)
        return found.reshape(groups, labels).astype(np.float64)

    def sums(codes: Codes) -> _Sums:
        # CR2 inflates each stratum's residuals by its own share; the tails inflate by the mean share.
        own = per_stratum(None, codes) / sizes
        mean_share = own.mean(axis=1)
        scale = np.sqrt(1 - np.minimum(own, ALL_IN_ONE))[codes, kinds]
        scaled = part * residual / scale * np.sqrt(1 - np.minimum(mean_share, ALL_IN_ONE))[codes]
        return _Sums(_per_cluster(scaled, codes), mean_share)

    def spread_of(codes: Codes) -> Spread:
        squares = float((residual**2).sum())
        return macro_spread(per_stratum(residual, codes), per_stratum(None, codes), squares=squares)

    mean = math.fsum(means) / labels
    moves = _Moves(part * x, width) if change else None
    return _estimate(mean, sums, spread_of, design, bool(np.ptp(x) == 0), level, moves)


def ratio_difference(
    values: ArrayLike,
    weights: ArrayLike,
    baseline_values: ArrayLike,
    baseline_weights: ArrayLike,
    clusters: Clusters,
    *,
    level: float = 0.95,
    width: float | None = None,
) -> Estimate:
    """Return the difference of two ratios over the same samples, such as two corpus word error rates.

    Args:
        values: (samples,) of the candidate.
        weights: (samples,) of the candidate, such as the number of words in its reply.
        baseline_values: (samples,) of the baseline.
        baseline_weights: (samples,) of the baseline.
        clusters: as in `cluster_mean`.
        level: coverage.
        width: as in `cluster_mean`; the bounds allow for skew and for few clusters that moved.

    The interval comes from the delta method: differences within samples of both ratios' residuals.

    Raises:
        BadData: as `cluster_mean`.
    """
    design = as_design(clusters)
    n = len(design)
    difference, residual, contributions, parts = 0.0, np.zeros(n), np.zeros(n), []
    columns = []
    for sign, value, weight in ((1.0, values, weights), (-1.0, baseline_values, baseline_weights)):
        x, w = _column("value", value, n), _weights(weight, n)
        ratio = math.fsum(x * w) / math.fsum(w)
        parts.append(w / math.fsum(w) * n)
        difference += sign * ratio
        residual += sign * parts[-1] * (x - ratio)
        contributions += sign * parts[-1] * x
        columns.append((x, w))

    def sums(codes: Codes) -> _Sums:
        first, second = (_per_cluster(part, codes) / n / 2 for part in parts)
        return _Sums(_per_cluster(residual, codes), first + second)

    moved = (columns[0][0] != columns[1][0]) | (columns[0][1] != columns[1][1])
    moves = _Moves(np.where(moved, contributions, 0.0), width)
    constant = bool((residual == 0).all())
    return _estimate(difference, sums, _one_way(sums, residual), design, constant, level, moves)


class _Sums(NamedTuple):
    """Residual sums and shares of the weight of one partition's clusters, (clusters,) each."""

    residuals: Floats
    shares: Floats


class _Moves(NamedTuple):
    """Weighted paired differences of samples, (samples,), and the width of the metric's range."""

    values: Floats
    width: float | None

    def of(self, codes: Codes) -> Moves:
        up, down = np.maximum(self.values, 0.0), np.maximum(-self.values, 0.0)
        return Moves(
            up=_per_cluster(up, codes),
            down=_per_cluster(down, codes),
            squares=(np.asarray((up**2).sum()), np.asarray((down**2).sum())),
        )


def _one_way(sums: Callable[[Codes], _Sums], residual: Floats) -> Callable[[Codes], Spread]:
    """Return what gives a partition's spread of a mean whose samples have these residuals."""
    squares = np.asarray(float((residual**2).sum()))

    def spread_of(codes: Codes) -> Spread:
        part = sums(codes)
        return spread(part.residuals, part.shares, squares=squares, n=len(residual))

    return spread_of


def _estimate(
    value: float,
    sums: Callable[[Codes], _Sums],
    spread_of: Callable[[Codes], Spread],
    design: Design,
    constant: bool,
    level: float,
    moves: _Moves | None = None,
) -> Estimate:
    """Return the estimate whose clusters have these sums and, for each partition, this spread."""
    if not 0 < level < 1:
        raise BadData(f"level is {level}; expected a coverage between 0 and 1, such as 0.95")
    n = len(design)
    spreads = [spread_of(codes) for codes in design.partitions]
    uncertainty = crossed_spread(*spreads) if design.crossed else spreads[0]
    known = Estimate(
        value=value, low=None, high=None, se=None, df=None, n=n, clusters=design.clusters, level=level
    )
    if math.isnan(se := float(uncertainty.se)):
        return known
    df = float(uncertainty.df)
    if constant or (value != 0 and se <= _ROUNDING * abs(value)):
        return replace(known, se=0.0, df=df, se_low=0.0, se_high=0.0)
    se_low = se_high = se
    if moves is not None:
        for codes in design.factors:
            part = sums(codes)
            low, high = one_sided_errors(
                part.residuals,
                part.shares,
                uncertainty,
                n=n,
                level=level,
                moves=moves.of(codes),
                width=moves.width,
            )
            se_low, se_high = max(se_low, float(low)), max(se_high, float(high))
    q = student_quantile(df, 0.5 + level / 2)
    return replace(
        known,
        low=value - q * se_low,
        high=value + q * se_high,
        se=se,
        df=df,
        se_low=se_low,
        se_high=se_high,
    )


def _per_cluster(values: Floats, codes: Codes) -> Floats:
    return np.bincount(codes, weights=values).astype(np.float64)


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
