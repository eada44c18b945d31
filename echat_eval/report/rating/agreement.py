"""Agreement of two ratings of the same replies, with intervals over clusters.

Intervals leave out one cluster at a time (jackknife) and use Student's t with clusters - 1 degrees of
freedom. There is no interval with fewer than two clusters, or if the statistic has no value without one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from echat_eval.errors import BadData
from echat_eval.stats import as_design
from echat_eval.stats.quantiles import student_quantile

__all__ = [
    "Agreement",
    "Ratings",
    "interval_alpha",
    "jackknifed",
    "kendall",
    "krippendorff_alpha",
    "quadratic_kappa",
    "spearman",
]

Ratings = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """One statistic with its interval; `low` and `high` are None without an interval."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    clusters: int


def jackknifed(
    statistic: Callable[[NDArray[np.int64]], float | None],
    clusters: Sequence[Hashable],
    *,
    level: float = 0.95,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Agreement:
    """Return a statistic with its interval over clusters.

    Args:
        bounds: smallest and largest possible value, such as -1 and 1 of a correlation.
        statistic: maps the indices of rows to a value; None if it is undefined.
        clusters: (rows,) the cluster of each row, or its `Unit`. Where speakers and sentences cross, the
            variance is the sum of both factors', which is at least that of crossed data.
    """
    design = as_design(clusters)
    n, groups = len(design), design.clusters
    whole = statistic(np.arange(n))
    without_interval = Agreement(value=whole, low=None, high=None, n=n, clusters=groups)
    if whole is None or groups < 2:
        return without_interval
    variance = 0.0
    for codes in design.factors:
        levels = int(codes.max()) + 1
        left_out = [statistic(np.flatnonzero(codes != g)) for g in range(levels)]
        defined = [value for value in left_out if value is not None]
        if len(defined) < levels:
            return without_interval
        variance += (levels - 1) / levels * float(((np.array(defined) - np.mean(defined)) ** 2).sum())
    half = student_quantile(groups - 1, 0.5 + level / 2) * math.sqrt(variance)
    low, high = max(whole - half, bounds[0]), min(whole + half, bounds[1])
    return Agreement(value=whole, low=low, high=high, n=n, clusters=groups)


def spearman(a: Ratings, b: Ratings) -> float | None:
    """Return Spearman's rank correlation, ties averaged; None if one side is constant."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(scipy_stats.spearmanr(a, b).statistic)


def kendall(a: Ratings, b: Ratings) -> float | None:
    """Return Kendall's tau-b; None if one side is constant."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(scipy_stats.kendalltau(a, b).statistic)


def quadratic_kappa(a: Ratings, b: Ratings) -> float | None:
    """Return Cohen's kappa with quadratic weights; None if agreement by chance is complete.

    This form needs no table: 1 - mean((a - b)^2) / mean over all pairs of (a_i - b_j)^2.
    """
    if len(a) == 0:
        return None
    chance = float(np.mean(a**2) + np.mean(b**2) - 2 * np.mean(a) * np.mean(b))
    return None if chance == 0 else 1 - float(np.mean((a - b) ** 2)) / chance


def interval_alpha(a: Ratings, b: Ratings) -> float | None:
    """Return Krippendorff's interval alpha of two raters; None if all ratings are the same.

    For two raters it needs no table of coincidences: 1 - mean((a - b)^2) / (2 x variance of all ratings).
    """
    both = np.concatenate([a, b])
    if len(a) == 0 or np.ptp(both) == 0:
        return None
    return 1 - float(np.mean((a - b) ** 2)) / (2 * float(np.var(both, ddof=1)))


def krippendorff_alpha(
    units: Sequence[Sequence[float]], metric: Literal["nominal", "ordinal", "interval"] = "ordinal"
) -> float | None:
    """Return Krippendorff's alpha.

    Args:
        units: per reply its ratings, from any raters; replies with fewer than two are ignored.
        metric: distance between two ratings.

    Returns:
        None if no reply has two ratings, or all ratings are the same.

    Source: Krippendorff (2011), Computing Krippendorff's alpha-reliability.
    """
    paired = [list(unit) for unit in units if len(unit) > 1]
    values = sorted({rating for unit in paired for rating in unit})
    if len(values) < 2:
        return None
    index = {value: n for n, value in enumerate(values)}
    coincidences = np.zeros((len(values), len(values)))
    for unit in paired:
        counts = np.bincount([index[r] for r in unit], minlength=len(values)).astype(float)
        coincidences += (np.outer(counts, counts) - np.diag(counts)) / (len(unit) - 1)
    margin = coincidences.sum(axis=1)
    distances = _distances(np.array(values), margin, metric)
    observed = float((coincidences * distances).sum())
    expected = float((np.outer(margin, margin) * distances).sum()) / (margin.sum() - 1)
    return float(1 - observed / expected)


def _distances(values: Ratings, margin: Ratings, metric: str) -> Ratings:
    if metric == "interval":
        squared: Ratings = (values[:, None] - values[None]) ** 2
        return squared
    if metric == "nominal":
        differ: Ratings = (values[:, None] != values[None]).astype(np.float64)
        return differ
    if metric != "ordinal":
        raise BadData(f"metric is {metric!r}; expected nominal, ordinal or interval")
    # The distance counts all ratings between two ranks, and half of those at either rank.
    middle = np.cumsum(margin) - margin / 2
    ordinal: Ratings = (middle[:, None] - middle[None]) ** 2
    return ordinal
