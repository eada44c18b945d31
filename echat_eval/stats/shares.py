"""Shares of samples, with limits that stay in 0 to 1: Korn and Graubard's, over clusters.

The limits are those of Clopper and Pearson for an effective number of samples: n / design effect, where the
design effect is the variance of the share over clusters (`cluster_mean`) divided by the variance of
independent samples, at least 1. It is corrected for the degrees of freedom of that variance by the squared
ratio of the quantiles of Student's t. Without an event, or with nothing but events, the variance over
clusters is unknown, and only the clusters are known to be independent: the limits are those of that many
samples.

A first event must not bring the upper limit closer, so no upper limit is below that of a share without an
event, and no lower limit above that of a share of nothing but events. A few events say little about their
spread over clusters. In draws of beta-binomial clusters (10 x 20, 30 x 4 and 30 x 20 samples, shares of 1 to
10 %, correlations of 0.05 to 0.9, 400 runs each) an upper 97.5 % limit with this floor was never below the
share. It was in up to 13 % of runs without the floor, and in up to 67 % if the limit without an event was
capped at that of one event. The price is width: at a share of 1 % in 30 x 20 samples with a correlation of
0.05 the upper limit is 11.6 % on average, 2.9 % without the floor.

Sources: Korn and Graubard (1998), Survey Methodology 24(2), 193-201; Clopper and Pearson (1934), Biometrika
26(4). A design effect of at least 1: National Center for Health Statistics (2017), Series 2, Number 175.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.errors import BadData
from echat_eval.stats.means import cluster_mean
from echat_eval.stats.quantiles import beta_quantile, student_quantile

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from echat_eval.stats.factors import Clusters
    from echat_eval.stats.means import Estimate

__all__ = ["Share", "clustered_share", "clusters_for", "share_limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A share of samples and its interval over clusters.

    Attributes:
        count: number of samples with the event.
        n: number of samples.
        value: count / n.
        low, high: two-sided interval at `level`, within 0 to 1; None: unknown, because one cluster has all
            samples.
        effective_n: number of independent samples behind the limits; None likewise.
        clusters: number of clusters.
        level: coverage, such as 0.95.
    """

    count: int
    n: int
    value: float
    low: float | None
    high: float | None
    effective_n: float | None
    clusters: int
    level: float = 0.95


def clustered_share(events: ArrayLike, clusters: Clusters, *, level: float = 0.95) -> Share:
    """Return the share of samples with an event, with an interval over clusters.

    Args:
        events: (samples,) True, or 1, where the sample has the event; else False, or 0.
        clusters: as in `cluster_mean`.
        level: coverage of the two-sided interval.

    Raises:
        BadData: no sample, different lengths, an event that is neither 0 nor 1, or a level outside (0, 1).

    >>> share = clustered_share([0] * 40, range(40))
    >>> share.low, round(share.high, 4)  # 1 - 0.025 ** (1 / 40)
    (0.0, 0.0881)
    """
    x = np.asarray(events, dtype=np.float64)
    if not np.isin(x, (0.0, 1.0)).all():
        raise BadData("an event is neither 0 nor 1; expected whether each sample has it")
    found = cluster_mean(x, clusters, level=level)
    n, count = found.n, int(x.sum())
    share = count / n
    low, high, effective = share_limits(found) or (None, None, None)
    return Share(
        count=count,
        n=n,
        value=share,
        low=low,
        high=high,
        effective_n=effective,
        clusters=found.clusters,
        level=level,
    )


def share_limits(
    found: Estimate, *, bottom: float = 0.0, top: float = 1.0
) -> tuple[float, float, float] | None:
    """Return the limits of a mean of values at both ends of a range, and its number of independent samples.

    Args:
        found: the mean, with its standard error over clusters.
        bottom, top: the range.

    Returns:
        Lower and upper limit, and the number of independent samples behind them. None: unknown, because one
        cluster has all samples.
    """
    if found.se is None or found.df is None:
        return None
    width = top - bottom
    share = min(max((found.value - bottom) / width, 0.0), 1.0)
    effective = float(found.clusters)
    without = _clopper_pearson(0.0, effective, found.level)[1]
    if 0 < share < 1:
        effective = _effective(share, found.se / width, found.df, found.n, level=found.level)
    low, high = _clopper_pearson(share, effective, found.level)
    low, high = min(low, 1 - without), max(high, without)
    return bottom + width * low, bottom + width * high, effective


def clusters_for(limit: float, *, level: float) -> int:
    """Return the fewest clusters with which a share can be shown to be at most a limit: one without an event.

    >>> clusters_for(0.1, level=0.95), 1 - 0.025 ** (1 / 36) < 0.1 < 1 - 0.025 ** (1 / 35)
    (36, True)
    """
    return math.ceil(math.log((1 - level) / 2) / math.log1p(-limit))


def _effective(share: float, se: float, df: float, n: int, *, level: float) -> float:
    """Return the number of independent samples with the same limits of a share that is neither 0 nor 1."""
    independent = share * (1 - share) / (n - 1)  # so that samples of their own clusters have effect 1
    tail = 0.5 + level / 2
    ratio = student_quantile(n - 1, tail) / student_quantile(min(df, n - 1), tail)
    return n / max(se**2 / independent, 1.0) * ratio**2


def _clopper_pearson(share: float, n: float, level: float) -> tuple[float, float]:
    """Return the exact limits of a share of n independent samples; n need not be whole."""
    tail, x = (1 - level) / 2, share * n
    low = 0.0 if share == 0 else beta_quantile(x, n - x + 1, tail)
    high = 1.0 if share == 1 else beta_quantile(x + 1, n - x, 1 - tail)
    return low, high
