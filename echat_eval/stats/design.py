"""Design of runs: smallest detectable differences, and the samples that a margin needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.errors import BadData
from echat_eval.stats.spread import ALL_IN_ONE, Spread, satterthwaite, working_variances

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Detectable",
    "detectable_difference",
    "detection_probability",
    "samples_needed",
    "upper_limit",
    "working_spread",
]

#: Degrees of freedom above which Student's t is treated as normal.
_MANY = 1e5


@dataclass(frozen=True, slots=True, kw_only=True)
class Detectable:
    """Number of samples that a margin needs.

    Attributes:
        samples: paired samples.
        clusters: clusters, if new samples come in clusters of the same sizes.
    """

    samples: int
    clusters: int


def detectable_difference(
    se: ArrayLike, df: ArrayLike, *, level: float = 0.95, power: float = 0.8, limit: float | None = None
) -> NDArray[np.float64]:
    """Return the smallest difference that one bound of the interval excludes with this power.

    Args:
        se: (...,) standard error of the difference, assumed or from a run.
        df: (...,) its degrees of freedom.
        level: coverage of the two-sided interval, one bound of which decides.
        power: probability of detecting a difference of the returned size.
        limit: None takes `se` as known. 0.8 takes the upper 80 % confidence limit of the spread behind a
            run's `se`, so that a run with little variation by chance does not promise too much.

    Returns:
        (...,) in the units of `se`: the noncentral t's parameter times the standard error.

    >>> float(detectable_difference(1.0, 1e9).round(3))  # 1.960 + 0.842
    2.802
    """
    from scipy.special import nctdtrinc, ndtri, stdtrit

    se, df = np.asarray(se, dtype=np.float64), np.asarray(df, dtype=np.float64)
    few = np.minimum(df, _MANY)
    critical = stdtrit(few, 0.5 + level / 2)
    ncp = np.where(df < _MANY, nctdtrinc(few, 1 - power, critical), ndtri(0.5 + level / 2) + ndtri(power))
    return np.asarray(ncp * upper_limit(se, few, limit))


def detection_probability(
    difference: ArrayLike,
    se: ArrayLike,
    df: ArrayLike,
    *,
    level: float = 0.95,
    limit: float | None = None,
) -> NDArray[np.float64]:
    """Return the probability that one bound of the interval excludes a true difference: the inverse of
    `detectable_difference`.

    Args:
        difference: (...,) true distance from the excluded value, in the units of `se`.
        se, df, level, limit: as in `detectable_difference`.

    >>> float(detection_probability(2.802, 1.0, 1e9).round(3))
    0.8
    """
    from scipy.special import nctdtr, ndtr, stdtrit

    df = np.asarray(df, dtype=np.float64)
    few = np.minimum(df, _MANY)
    critical = stdtrit(few, 0.5 + level / 2)
    ncp = np.asarray(difference) / upper_limit(np.asarray(se, dtype=np.float64), few, limit)
    return np.asarray(np.where(df < _MANY, 1 - nctdtr(few, ncp, critical), ndtr(ncp - critical)))


def upper_limit(se: NDArray[np.float64], df: NDArray[np.float64], limit: float | None) -> NDArray[np.float64]:
    """Return the standard error at the upper confidence limit of the spread; itself without a limit."""
    if limit is None:
        return se
    from scipy.special import gammaincinv

    return np.asarray(se * np.sqrt(df / (2 * gammaincinv(df / 2, 1 - limit))))


def working_spread(sd: float, sizes: ArrayLike, *, correlation: float = 0.0) -> Spread:
    """Return the spread of a mean from assumed numbers, before a run.

    Args:
        sd: standard deviation of one sample's (paired) value.
        sizes: (clusters,) samples in each cluster.
        correlation: of values within a cluster, 0 to 1.

    Raises:
        BadData: fewer than two clusters, or a number outside its range.
    """
    counts = np.asarray(sizes, dtype=np.float64)
    if counts.ndim != 1 or counts.size < 2 or not (counts > 0).all():
        raise BadData(f"got cluster sizes of shape {counts.shape}; expected two or more positive numbers")
    if not (sd >= 0 and 0 <= correlation <= 1):
        raise BadData(
            f"got sd {sd} and correlation {correlation}; expected sd >= 0 and 0 <= correlation <= 1"
        )
    n, shares = counts.sum(), counts / counts.sum()
    rest = 1 - np.minimum(shares, ALL_IN_ONE)
    rho = np.asarray(float(correlation))
    variances = working_variances(counts, rho)
    inverse = 1 / satterthwaite(shares, counts, rest) + 1 / satterthwaite(shares, variances, rest)
    return Spread(
        se=np.asarray(sd * math.sqrt(variances.sum()) / n), df=np.asarray(2 / inverse), correlation=rho
    )


def samples_needed(
    margin: float,
    *,
    se: float,
    df: float,
    n: int,
    clusters: int,
    level: float = 0.95,
    power: float = 0.8,
    limit: float | None = None,
) -> Detectable | None:
    """Return the samples that bring the smallest detectable difference down to a margin.

    Args:
        margin: above 0, in the units of `se`.
        se: standard error, observed or assumed, with `n` samples in `clusters` clusters.
        df: its degrees of freedom.
        n: number of samples.
        clusters: number of clusters; further samples are assumed to come in clusters of the same sizes.
        level: as in `detectable_difference`.
        power: as in `detectable_difference`.
        limit: as in `detectable_difference`.

    Returns:
        None if a factor of a million is not enough.
    """
    if limit is not None:  # the uncertainty of the spread is that of this run, not of the larger one
        se = float(upper_limit(np.asarray(se), np.asarray(df), limit))

    def detectable(factor: float) -> float:
        return float(detectable_difference(se / math.sqrt(factor), df * factor, level=level, power=power))

    low, high = 1e-3, 1e6
    if detectable(high) > margin:
        return None
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if detectable(middle) > margin else (low, middle)
    return Detectable(samples=math.ceil(n * high), clusters=max(2, math.ceil(clusters * high)))
