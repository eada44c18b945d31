"""The shift of a judge between two runs, from replies that it graded in both, and its effect on a difference.

Each anchor was graded while each run was judged, at times spread over the run, so the mean difference
estimates the shift of the judge's level between the runs, also if it walks. A difference of two runs is
corrected by the shift, and its variance grows by that of the shift. Measured by bench/gate/drift.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.stats.means import Estimate, cluster_mean, macro_mean
from echat_eval.stats.quantiles import student_quantile, student_tail

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import ArrayLike

__all__ = ["MIN_SHARED", "JudgeShift", "corrected", "judge_shift"]

#: Anchors, and clusters of them, below which a shift is unknown.
MIN_SHARED, MIN_CLUSTERS = 10, 5
#: One-sided level at which a run is found to hold a moving judge.
MOVED = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeShift:
    """How much higher a judge graded the same anchors in the candidate's run than in the baseline's.

    Attributes:
        level: the mean shift, in points.
        moved: that of the later half of the candidate's run minus that of the earlier half, if it is
            significant; None: no movement was detected.
        anchors: graded in both runs.
    """

    level: Estimate
    moved: Estimate | None
    anchors: int

    @property
    def is_none(self) -> bool:
        """Return whether the judge gave every anchor the same points twice."""
        return self.level.value == 0 and self.level.se == 0


def judge_shift(
    candidate: ArrayLike, against: ArrayLike, clusters: Sequence[Hashable], times: ArrayLike
) -> JudgeShift | None:
    """Return the shift of a judge between two runs; None if the anchors are too few.

    Args:
        candidate, against: (anchors,) points of the same anchors in each run.
        clusters: of the anchors, such as the question that they answer.
        times: (anchors,) place of each anchor in the candidate's run.
    """
    shift = np.asarray(candidate, dtype=np.float64) - np.asarray(against, dtype=np.float64)
    if len(shift) < MIN_SHARED or len(set(clusters)) < MIN_CLUSTERS:
        return None
    level = cluster_mean(shift, clusters)
    at = np.asarray(times, dtype=np.float64)
    late = at > np.median(at)
    moved = None
    if late.any() and not late.all():
        change = macro_mean(np.where(late, 2.0, -2.0) * shift, late.astype(np.int64), np.arange(len(shift)))
        if change.se and change.df and student_tail(change.df, -abs(change.value) / change.se) < MOVED:
            moved = change
    return JudgeShift(level=level, moved=moved, anchors=len(shift))


def corrected(found: Estimate, shift: Estimate, *, sign: float = 1.0) -> Estimate:
    """Return an oriented difference without the shift of its judge.

    Args:
        found: with its interval.
        shift: of the judge's level.
        sign: -1 if lower scores are better.
    """
    if found.se is None or found.df is None or shift.se is None or shift.df is None:
        return found
    value, extra = found.value - sign * shift.value, shift.se**2
    own = found.se**2
    parts = own**2 / found.df + extra**2 / shift.df
    df = (own + extra) ** 2 / parts if parts > 0 else found.df
    q = student_quantile(df, 0.5 + found.level / 2)
    se_low, se_high = (
        float(np.sqrt((found.se if bound is None else bound) ** 2 + extra))
        for bound in (found.se_low, found.se_high)
    )
    return replace(
        found,
        value=value,
        low=value - q * se_low,
        high=value + q * se_high,
        se=float(np.sqrt(own + extra)),
        df=df,
        se_low=se_low,
        se_high=se_high,
    )
