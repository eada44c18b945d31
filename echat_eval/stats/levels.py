"""Means of bounded values, with intervals that stay in the metric's range and keep their level near its ends.

    right or wrong      only the two ends of the range occur: Korn and Graubard's limits (see `shares`)
    one open end        such as a word error rate: Student's t on the log of the distance to the closed end
    anything else       the interval of the mean, cut at the ends of the range

Source of the second: the delta method, as for any ratio scale; Korn and Graubard (1998) for the first.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.stats.means import cluster_mean, macro_mean
from echat_eval.stats.quantiles import student_quantile
from echat_eval.stats.shares import share_limits

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from echat_eval.stats.factors import Clusters
    from echat_eval.stats.means import Estimate

__all__ = ["inside_range", "level_mean"]


def level_mean(
    values: ArrayLike,
    clusters: Clusters,
    *,
    low: float | None,
    high: float | None,
    weights: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return the mean of one system's values, with an interval inside the metric's range.

    Args:
        values: (samples,) finite.
        clusters: as in `cluster_mean`.
        low, high: the metric's range; None where it is open.
        weights: (samples,) for a ratio.
        strata: (samples,) for a macro mean.
        level: coverage.

    Raises:
        BadData: as `cluster_mean`.

    >>> estimate = level_mean([0, 0, 0, 0, 1], range(5), low=0, high=1)
    >>> round(estimate.low, 4), round(estimate.high, 4)  # Clopper and Pearson: 1 of 5
    (0.0051, 0.7164)
    """
    if strata is not None:
        found = macro_mean(values, strata, clusters, level=level)
    else:
        found = cluster_mean(values, clusters, weights=weights, level=level)
    return inside_range(found, values, low=low, high=high)


def inside_range(found: Estimate, values: ArrayLike, *, low: float | None, high: float | None) -> Estimate:
    """Return an estimate whose interval is inside the metric's range.

    Args:
        found: the mean of the values, with its standard error and degrees of freedom.
        values: (samples,) finite.
        low, high: the metric's range; None where it is open.
    """
    x = np.asarray(values, dtype=np.float64)
    if found.se is None or found.df is None:
        return found
    if low is not None and high is not None:
        if np.isin(x, (low, high)).all():
            limits = share_limits(found, bottom=low, top=high)
            return found if limits is None else _bounded(found, *limits[:2])
        return _bounded(found, *(_cut(bound, low, high) for bound in (found.low, found.high)))
    if found.low is None or (low is None) == (high is None):
        return found
    end, sign = (low, 1.0) if low is not None else (high, -1.0)
    assert end is not None
    distance = sign * (found.value - end)
    if not distance > 0:
        return found
    factor = math.exp(student_quantile(found.df, 0.5 + found.level / 2) * found.se / distance)
    near, far = end + sign * distance / factor, end + sign * distance * factor
    return _bounded(found, min(near, far), max(near, far))


def _bounded(found: Estimate, low: float | None, high: float | None) -> Estimate:
    """Return the estimate with these bounds, and the standard errors that lead to them."""
    if low is None or high is None:
        return found
    assert found.df is not None
    q = student_quantile(found.df, 0.5 + found.level / 2)
    se_low, se_high = (found.value - low) / q, (high - found.value) / q
    return replace(
        found, low=low, high=high, se=found.se or max(se_low, se_high), se_low=se_low, se_high=se_high
    )


def _cut(bound: float | None, low: float, high: float) -> float | None:
    return None if bound is None else min(max(bound, low), high)
