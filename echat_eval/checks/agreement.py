"""How well two ratings of the same replies agree, with intervals over clusters.

Intervals leave out one cluster at a time (jackknife) and use Student's t with clusters - 1 degrees of
freedom; with fewer than two clusters, or where a statistic has no value, there is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats as scipy_stats
from scipy.special import stdtrit

from echat_eval.errors import BadData

__all__ = [
    "Agreement",
    "calibration_error",
    "jackknifed",
    "kendall",
    "krippendorff_alpha",
    "quadratic_kappa",
    "spearman",
]

Ratings = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """One statistic; `low` and `high` are None where no interval can be given."""

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
) -> Agreement:
    """Return a statistic with its interval over clusters.

    Args:
        statistic: takes the indices of the rows to use; None where it has no value.
        clusters: (rows,) what each row belongs to.
    """
    names: dict[Hashable, int] = {}
    codes = np.array([names.setdefault(cluster, len(names)) for cluster in clusters])
    whole = statistic(np.arange(len(codes)))
    groups = len(names)
    none = Agreement(value=whole, low=None, high=None, n=len(codes), clusters=groups)
    if whole is None or groups < 2:
        return none
    left = [statistic(np.flatnonzero(codes != g)) for g in range(groups)]
    known = [value for value in left if value is not None]
    if len(known) < groups:
        return none
    variance = (groups - 1) / groups * float(((np.array(known) - np.mean(known)) ** 2).sum())
    half = float(stdtrit(groups - 1, 0.5 + level / 2)) * math.sqrt(variance)
    return Agreement(value=whole, low=whole - half, high=whole + half, n=len(codes), clusters=groups)


def spearman(a: Ratings, b: Ratings) -> float | None:
    """Return Spearman's rank correlation, ties averaged; None if one side never varies."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(scipy_stats.spearmanr(a, b).statistic)


def kendall(a: Ratings, b: Ratings) -> float | None:
    """Return Kendall's tau-b; None if one side never varies."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(scipy_stats.kendalltau(a, b).statistic)


def quadratic_kappa(a: Ratings, b: Ratings) -> float | None:
    """Return Cohen's kappa with quadratic weights; None if chance alone would agree fully.

    Written without a table, which is the same: 1 - mean((a - b)^2) / mean over all pairs of (a_i - b_j)^2.
    """
    if len(a) == 0:
        return None
    chance = float(np.mean(a**2) + np.mean(b**2) - 2 * np.mean(a) * np.mean(b))
    return None if chance == 0 else 1 - float(np.mean((a - b) ** 2)) / chance


def krippendorff_alpha(
    units: Sequence[Sequence[float]], metric: Literal["nominal", "ordinal", "interval"] = "ordinal"
) -> float | None:
    """Return Krippendorff's alpha.

    Args:
        units: per reply the ratings it got, from any raters; replies with fewer than two count nothing.
        metric: how far apart two ratings are.

    Returns:
        None if no reply has two ratings, or all ratings are the same.

    Source: Krippendorff (2011), Computing Krippendorff's alpha-reliability.
    """
    paired = [list(unit) for unit in units if len(unit) > 1]
    values = sorted({rating for unit in paired for rating in unit})
    if len(values) < 2:
        return None
    place = {value: n for n, value in enumerate(values)}
    together = np.zeros((len(values), len(values)))  # coincidences
    for unit in paired:
        counts = np.bincount([place[r] for r in unit], minlength=len(values)).astype(float)
        together += (np.outer(counts, counts) - np.diag(counts)) / (len(unit) - 1)
    margin = together.sum(axis=1)
    far = _distances(np.array(values), margin, metric)
    observed = float((together * far).sum())
    expected = float((np.outer(margin, margin) * far).sum()) / (margin.sum() - 1)
    return float(1 - observed / expected)


def _distances(values: Ratings, margin: Ratings, metric: str) -> Ratings:
    if metric == "interval":
        gaps: Ratings = (values[:, None] - values[None]) ** 2
        return gaps
    if metric == "nominal":
        other: Ratings = (values[:, None] != values[None]).astype(np.float64)
        return other
    if metric != "ordinal":
        raise BadData(f"metric is {metric!r}; expected nominal, ordinal or interval")
    # Between two ranks lie all ratings between them, and half of those on either.
    middle = np.cumsum(margin) - margin / 2
    far: Ratings = (middle[:, None] - middle[None]) ** 2
    return far


def calibration_error(confidence: Ratings, right: Ratings, *, bins: int = 10) -> float | None:
    """Return the expected calibration error: |share right - mean confidence|, over equal bins, weighted.

    Args:
        confidence: (clips,) 0 to 1.
        right: (clips,) 1 where the label was right, 0 elsewhere.
    """
    if len(confidence) == 0:
        return None
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(float(right[place == b].mean() - confidence[place == b].mean())) * float((place == b).mean())
        for b in np.unique(place)
    ]
    return math.fsum(gaps)
