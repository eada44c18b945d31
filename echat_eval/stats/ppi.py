"""Means of ratings that a judge's scores of all replies make more precise: PPI++ over clusters.

People rate some clusters of replies, drawn at random; a judge scores all replies. With ratings y and scores
f,

    mean = mean of y over ratings - weight x (mean of f over ratings - mean of f over all replies)

so the judge's bias cancels and only its correlation with people counts. The weight that minimises the
variance is the slope of the clusters' sums of y on those of f. The residuals y - weight x f do not correlate
with f, so the variance is that of the residuals over the rated clusters and raters, plus weight^2 x that of
the mean of f over all clusters. The slope is estimated from the same clusters: its leverage enters CR2's
correction, its error the contributions of the clusters, and it costs a degree of freedom. Welch's rule joins
both parts.

A judge that cannot help is not used, and the mean is that of the people: fewer than `FEWEST` rated clusters,
a slope that is not positive, or an interval that is not narrower. Nothing here can notice that rated clusters
were picked by hand; then no interval holds. Measured by bench/judges/ppi.py.

Source: Angelopoulos, Duchi and Zrnic (2023), PPI++: Efficient Prediction-Powered Inference.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.errors import BadData
from echat_eval.stats.factors import as_design, numbered
from echat_eval.stats.levels import inside_range
from echat_eval.stats.means import cluster_mean
from echat_eval.stats.quantiles import student_quantile
from echat_eval.stats.rated import over_raters, rated_mean
from echat_eval.stats.spread import ALL_IN_ONE, Spread, crossed_spread, spread

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from echat_eval.stats.factors import Clusters, Design
    from echat_eval.stats.means import Estimate
    from echat_eval.stats.rated import RatedMean

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]

__all__ = ["FEWEST", "PoweredMean", "powered_mean"]

#: Rated clusters below which a slope is not estimated.
FEWEST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class PoweredMean:
    """A mean of ratings, and the same mean with a judge's scores of all replies.

    Attributes:
        people: the mean of the ratings alone.
        estimate: the mean with the judge's scores; that of `people` if the judge is not used.
        weight: points of rating per point of the judge; 0 if the judge is not used.
        reason: why the judge is not used; None if it is.
    """

    people: RatedMean
    estimate: Estimate
    weight: float
    reason: str | None = None


def powered_mean(
    values: ArrayLike,
    rated: ArrayLike,
    raters: Sequence[Hashable],
    judged: ArrayLike,
    clusters: Clusters,
    *,
    low: float,
    high: float,
    level: float = 0.95,
) -> PoweredMean:
    """Return the mean rating of all judged replies, with an interval over replies and raters.

    Args:
        values: (ratings,) from low to high.
        rated: (ratings,) position of the rated reply in `judged`.
        raters: (ratings,) who rated.
        judged: (replies,) the judge's score of every reply, on any scale.
        clusters: (replies,) clusters, or (replies, 2) units of speakers and sentences; the rated ones are a
            random draw.
        low, high: the range of the ratings.
        level: coverage.

    Raises:
        BadData: different lengths, a position outside the replies, or a value that is not finite.
    """
    design, scores = as_design(clusters), np.asarray(judged, dtype=np.float64)
    y, at = np.asarray(values, dtype=np.float64), np.asarray(rated, dtype=np.int64)
    if scores.shape != (len(design),) or not np.isfinite(scores).all():
        raise BadData(
            f"got scores of shape {scores.shape} and {len(design)} clusters; expected a finite one per reply"
        )
    if at.shape != y.shape or (at.size and not (at.min() >= 0 and at.max() < len(scores))):
        raise BadData(
            f"got {at.size} positions of rated replies for {y.size} ratings of {len(scores)} replies"
        )
    own = design.take(at)
    people = rated_mean(y, own, raters, low=low, high=high, level=level)

    def alone(reason: str) -> PoweredMean:
        return PoweredMean(people=people, estimate=people.estimate, weight=0.0, reason=reason)

    if people.estimate.df is None or people.estimate.low is None:
        return alone("the ratings alone have no interval")
    if own.clusters < FEWEST:
        return alone(f"{own.clusters} rated clusters, {FEWEST} are needed")
    slope = _Slope.of(y - y.mean(), scores[at] - scores[at].mean(), own)
    if not slope.weight > 0:
        return alone("the judge's scores do not rise with the ratings")
    found = _combined(y, scores, at, own, design, numbered(raters), slope, people.estimate)
    limited = inside_range(found, y, low=low, high=high)
    if _width(limited) >= _width(people.estimate):
        return alone("the judge's scores do not narrow the interval")
    return PoweredMean(people=people, estimate=limited, weight=slope.weight)


@dataclass(frozen=True, slots=True)
class _Slope:
    """The slope of ratings on the judge's scores, over sums of clusters.

    Attributes:
        weight: the slope.
        scores: (ratings,) centred scores.
        squares: sum over clusters of the squared sums of scores, over all factors.
        residuals: (ratings,) of the slope; they sum to 0.
    """

    weight: float
    scores: Floats
    squares: float
    residuals: Floats

    @classmethod
    def of(cls, y: Floats, f: Floats, design: Design) -> _Slope:
        """Return the slope of centred ratings on centred scores."""
        sums = [(np.bincount(codes, weights=y), np.bincount(codes, weights=f)) for codes in design.factors]
        squares = sum(float((of_f**2).sum()) for _, of_f in sums)
        products = sum(float((of_y * of_f).sum()) for of_y, of_f in sums)
        weight = products / squares if squares > 0 else 0.0
        return cls(weight, f, squares, y - weight * f)

    def contributions(self, distance: float, design: Design) -> Floats:
        """Return each rating's share of the error of the mean, (ratings,), with that of the slope.

        Args:
            distance: mean score of the ratings minus that of all replies; an error of the slope moves the
                mean by this much.
        """
        pull = np.zeros(len(self.scores))
        for codes in design.factors:
            pull += np.bincount(codes, weights=self.scores)[codes]
        return np.asarray(self.residuals * (1 - len(pull) * distance * pull / self.squares))

    def spread_over(self, contributions: Floats, codes: Codes) -> Spread:
        """Return the spread of the mean over clusters, corrected for the leverage of mean and slope."""
        shares = np.bincount(codes) / len(codes)
        leverage = shares + np.bincount(codes, weights=self.scores) ** 2 / self.squares
        scale = (1 - np.minimum(shares, ALL_IN_ONE)) / (1 - np.minimum(leverage, ALL_IN_ONE))
        sums = np.bincount(codes, weights=contributions) * np.sqrt(scale)
        squares = np.asarray(float((contributions**2).sum()))
        return spread(sums, shares, squares=squares, n=len(codes))


def _combined(
    y: Floats,
    scores: Floats,
    at: Codes,
    own: Design,
    design: Design,
    raters: Codes,
    slope: _Slope,
    people: Estimate,
) -> Estimate:
    """Return the mean with the judge's scores, and its interval before it is cut to the range."""
    distance = float(scores[at].mean() - scores.mean())
    contributions = slope.contributions(distance, own)
    parts = [slope.spread_over(contributions, codes) for codes in own.partitions]
    residual = crossed_spread(*parts) if own.crossed else parts[0]
    residual = over_raters(residual, own, raters, lambda codes: slope.spread_over(contributions, codes))
    of_scores = cluster_mean(scores, design)
    first = float(residual.se) ** 2
    second = 0.0 if of_scores.se is None else (slope.weight * of_scores.se) ** 2
    df = (first + second) ** 2 / (
        first**2 / max(float(residual.df) - 1, 1.0) + second**2 / max(of_scores.df or 1.0, 1.0)
    )
    se, value = float(np.sqrt(first + second)), float(y.mean()) - slope.weight * distance
    half = student_quantile(df, 0.5 + people.level / 2) * se
    return replace(
        people, value=value, low=value - half, high=value + half, se=se, df=df, se_low=None, se_high=None
    )


def _width(estimate: Estimate) -> float:
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.high - estimate.low
