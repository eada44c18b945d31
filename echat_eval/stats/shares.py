"""Shares of samples, with limits that stay in 0 to 1: Korn and Graubard's, over clusters.

The limits are those of Clopper and Pearson for an effective number of samples: n / design effect, where the
design effect is the variance of the share over clusters (`cluster_mean`) divided by the variance of
independent samples, at least 1. It is corrected for the degrees of freedom of that variance by the squared
ratio of the quantiles of Student's t. Without an event, or with nothing but events, the variance over
clusters is unknown; the limits are then those of independent samples, exact for them.

Sources: Korn and Graubard (1998), Survey Methodology 24(2), 193-201; Clopper and Pearson (1934), Biometrika
26(4). A design effect of at least 1: National Center for Health Statistics (2017), Series 2, Number 175.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.errors import BadData
from echat_eval.stats.means import cluster_mean
from echat_eval.stats.quantiles import beta_quantile, student_quantile

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from echat_eval.stats.factors import Clusters

__all__ = ["Share", "clustered_share", "share_limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A share of samples and its interval over clusters.

    Attributes:
        count: number of samples with the event.
        n: number of samples.
        value: count / n.
        low, high: two-sided interval at `level`, within 0 to 1; None: unknown, because one cluster has all
            samples and only some of them have the event.
        effective_n: number of independent samples with the same limits; None likewise.
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
    low: float | None = None
    high: float | None = None
    effective: float | None = None
    if count in {0, n}:
        low, high, effective = share_limits(share, 0.0, 1.0, n, level=level)
    elif found.se is not None and found.df is not None:
        low, high, effective = share_limits(share, found.se, found.df, n, level=level)
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
    share: float, se: float, df: float, n: int, *, level: float = 0.95
) -> tuple[float, float, float]:
    """Return the limits of a share and the number of independent samples that has the same limits.

    Args:
        share: of the samples, 0 to 1.
        se: its standard error over clusters; not used for a share of 0 or 1.
        df: degrees of freedom of `se`.
        n: number of samples.
        level: coverage of the two-sided interval.
    """
    effective = float(n)
    if 0 < share < 1 and n > 1:
        independent = share * (1 - share) / (n - 1)  # so that samples of their own clusters have effect 1
        tail = 0.5 + level / 2
        effective = n / max(se**2 / independent, 1.0)
        effective *= (student_quantile(n - 1, tail) / student_quantile(min(df, n - 1), tail)) ** 2
    return *_clopper_pearson(share, effective, level), effective


def _clopper_pearson(share: float, n: float, level: float) -> tuple[float, float]:
    """Return the exact limits of a share of n independent samples; n need not be whole."""
    tail, x = (1 - level) / 2, share * n
    low = 0.0 if share == 0 else beta_quantile(x, n - x + 1, tail)
    high = 1.0 if share == 1 else beta_quantile(x + 1, n - x, 1 - tail)
    return low, high
