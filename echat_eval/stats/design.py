"""What a run of some size can see: smallest detectable differences and the samples that would do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaincinv, nctdtrinc, ndtri, stdtrit

from echat_eval.errors import BadData
from echat_eval.stats.spread import ALL_IN_ONE, Spread, satterthwaite, working_variances

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Detectable", "detectable_difference", "samples_needed", "working_spread"]

#: Degrees of freedom from which Student's t is taken for normal here.
_MANY = 1e5


@dataclass(frozen=True, slots=True, kw_only=True)
class Detectable:
    """How many samples a margin needs.

    Attributes:
        samples: paired samples.
        clusters: clusters, if new samples come in clusters of the sizes seen so far.
    """

    samples: int
    clusters: int


def detectable_difference(
    se: ArrayLike, df: ArrayLike, *, level: float = 0.95, power: float = 0.8, limit: float | None = None
) -> NDArray[np.float64]:
    """Return the smallest difference that one bound of the interval will exclude with this power.

    Args:
        se: (...,) standard error of the difference, assumed or from a run.
        df: (...,) its degrees of freedom.
        level: coverage of the two-sided interval whose one bound decides.
        power: chance to see a difference of the returned size.
        limit: None takes `se` as known. 0.8 takes the upper 80 % limit of the spread that a run's `se` is
            compatible with: a run that happened to vary little promises no more than it can keep.

    Returns:
        (...,) in the units of `se`: the noncentral t's parameter times the standard error.

    >>> float(detectable_difference(1.0, 1e9).round(3))  # 1.960 + 0.842
    2.802
    """
    se, df = np.asarray(se, dtype=np.float64), np.asarray(df, dtype=np.float64)
    few = np.minimum(df, _MANY)
    critical = stdtrit(few, 0.5 + level / 2)
    ncp = np.where(df < _MANY, nctdtrinc(few, 1 - power, critical), ndtri(0.5 + level / 2) + ndtri(power))
    if limit is not None:
        se = se * np.sqrt(few / (2 * gammaincinv(few / 2, 1 - limit)))
    return np.asarray(ncp * se)


def working_spread(sd: float, sizes: ArrayLike, *, correlation: float = 0.0) -> Spread:
    """Return the spread of a mean before there is a run, from assumed numbers.

    Args:
        sd: standard deviation of one sample's (paired) value.
        sizes: (clusters,) samples in each cluster.
        correlation: of values within a cluster, 0 to 1.

    Raises:
        BadData: fewer than two clusters, or numbers outside their range.
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
    """Return how many samples bring the smallest detectable difference down to a margin.

    Args:
        margin: above 0, in the units of `se`.
        se: standard error seen (or assumed) with `n` samples in `clusters` clusters.
        df: its degrees of freedom.
        n: samples.
        clusters: clusters; more samples are taken to come in more clusters of the same sizes.
        level: as in `detectable_difference`.
        power: as in `detectable_difference`.
        limit: as in `detectable_difference`.

    Returns:
        None where no factor up to a million would do.
    """
    if limit is not None:  # the doubt about the spread is that of the run at hand, not of the larger one
        se = se * math.sqrt(df / (2 * float(gammaincinv(df / 2, 1 - limit))))

    def seen(factor: float) -> float:
        return float(detectable_difference(se / math.sqrt(factor), df * factor, level=level, power=power))

    low, high = 1e-3, 1e6
    if seen(high) > margin:
        return None
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if seen(middle) > margin else (low, middle)
    return Detectable(samples=math.ceil(n * high), clusters=max(2, math.ceil(clusters * high)))
