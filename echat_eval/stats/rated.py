"""Means of ratings by people: replies and raters are two factors.

Some raters are strict and some are mild, so more replies do not make up for few raters. The variance and
the degrees of freedom are those of crossed speakers and sentences (see `spread.crossed_spread`); with three
raters the interval has at most two degrees of freedom. One rater alone shows nothing about others: the
interval is then over replies, and holds for this rater only. Measured by bench/stats/people.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.errors import BadData
from echat_eval.stats.factors import as_design, numbered
from echat_eval.stats.levels import inside_range, level_mean
from echat_eval.stats.means import cluster_mean
from echat_eval.stats.quantiles import student_quantile
from echat_eval.stats.spread import Spread, crossed_spread

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from echat_eval.stats.factors import Clusters, Design
    from echat_eval.stats.means import Estimate

    Codes = NDArray[np.int64]

__all__ = ["RatedMean", "over_raters", "rated_mean"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedMean:
    """A mean of ratings.

    Attributes:
        estimate: the mean and its interval; `clusters` counts the fewer of clusters of replies and raters.
        raters: number of raters; with one, the interval holds for this rater only.
    """

    estimate: Estimate
    raters: int


def rated_mean(
    values: ArrayLike,
    replies: Clusters,
    raters: Sequence[Hashable],
    *,
    low: float,
    high: float,
    level: float = 0.95,
) -> RatedMean:
    """Return the mean of ratings, with an interval over replies and raters.

    Args:
        values: (ratings,) from low to high.
        replies: (ratings,) clusters of the rated replies, or (ratings, 2) units of speakers and sentences.
        raters: (ratings,) who rated.
        low, high: the range of the values.
        level: coverage.

    Raises:
        BadData: as `cluster_mean`, or not one rater per rating.
    """
    design, who = as_design(replies), numbered(raters)
    if len(who) != len(design):
        raise BadData(f"got {len(who)} raters and {len(design)} ratings; expected one of each per rating")
    count = int(who.max()) + 1
    over_replies = level_mean(values, design, low=low, high=high, level=level)
    if count == 1 or over_replies.df is None:
        return RatedMean(estimate=over_replies, raters=count)
    found = over_raters(
        _spread(cluster_mean(values, design)), design, who, lambda codes: _spread(cluster_mean(values, codes))
    )
    if not found.se:  # raters agree, and so do all clusters of replies
        return RatedMean(estimate=over_replies, raters=count)
    half = student_quantile(float(found.df), 0.5 + level / 2) * float(found.se)
    plain = replace(
        over_replies,
        low=over_replies.value - half,
        high=over_replies.value + half,
        se=float(found.se),
        df=float(found.df),
        se_low=None,
        se_high=None,
        clusters=min(over_replies.clusters, count),
    )
    return RatedMean(estimate=inside_range(plain, values, low=low, high=high), raters=count)


def over_raters(
    over_replies: Spread, design: Design, raters: Codes, spread_over: Callable[[Codes], Spread]
) -> Spread:
    """Return the spread of a mean of ratings over replies and raters; over replies alone with one rater.

    Args:
        over_replies: the spread over the clusters of replies.
        design: (ratings,) of the replies.
        raters: (ratings,) numbers from 0.
        spread_over: gives the spread over a partition of the ratings.
    """
    count = int(raters.max()) + 1
    if count == 1:
        return over_replies
    pairs = numbered((design.cells if design.crossed else design.components) * count + raters)
    return crossed_spread(over_replies, spread_over(raters), spread_over(pairs))


def _spread(found: Estimate) -> Spread:
    """Return the spread of an estimate; one cluster adds no variance of its own."""
    se, df = (np.inf if x is None else x for x in (found.se, found.df))
    return Spread(se=np.asarray(se), df=np.asarray(df), correlation=np.asarray(0.0))
