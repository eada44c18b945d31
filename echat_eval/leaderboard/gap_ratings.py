"""A listening gap by people: replies and raters are two factors, as in every mean of ratings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from echat_eval.stats import level_mean, rated_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from echat_eval.analysis.differences import ImputedEstimates
    from echat_eval.leaderboard.listening_gap import ListeningGap, Outcome
    from echat_eval.stats import Estimate, Unit

__all__ = ["over_raters"]

#: Values of a missing answer: none, its worst, its best.
_IMPUTED = (None, 0.0, 100.0)


def over_raters(
    gap: ListeningGap,
    answered: Mapping[tuple[str, str], Outcome],
    units: Mapping[tuple[str, str], Unit],
) -> ListeningGap:
    """Return a gap whose means are over ratings, with intervals over raters and replies (`rated_mean`).

    The normalised gap loses its interval if there are several raters: the replies of people that it divides
    by have the same raters, whose strictness is on both sides.

    Args:
        gap: with intervals over replies only.
        answered: dialogue sample -> what was answered when asked about it.
        units: (task, sample id) -> speaker and sentence.
    """
    ratings = gap.instrument.ratings or {}
    rows = [
        (ident, rater, value) for ident in answered for rater, value in ratings.get((gap.system, *ident), ())
    ]
    if gap.gap.observed is None or not rows:
        return gap

    def known(imputed: float | None) -> list[tuple[tuple[str, str], str, float, float]]:
        """Return sample, rater, value of the answer and of the rating."""
        values = {i: imputed if o.value is None else o.value for i, o in answered.items()}
        return [(i, rater, a, value) for i, rater, value in rows if (a := values[i]) is not None]

    def difference(imputed: float | None) -> Estimate:
        found = known(imputed)
        return rated_mean(
            [a - value for _, _, a, value in found],
            [units[i] for i, *_ in found],
            [rater for _, rater, *_ in found],
            low=-100.0,
            high=100.0,
        ).estimate

    def asked(imputed: float | None) -> Estimate:
        found = known(imputed)
        return level_mean([a for _, _, a, _ in found], [units[i] for i, *_ in found], low=0.0, high=100.0)

    matched = rated_mean(
        [value for *_, value in rows],
        [units[i] for i, *_ in rows],
        [rater for _, rater, _ in rows],
        low=0.0,
        high=100.0,
    )
    normalised = gap.normalised
    if normalised is not None and matched.raters > 1:
        normalised = replace(normalised, low=None, high=None)
    return replace(
        gap,
        answered=_with(gap.answered, [asked(value) for value in _IMPUTED]),
        matched=_with(gap.matched, [matched.estimate] * 3),
        gap=_with(gap.gap, [difference(value) for value in _IMPUTED]),
        normalised=normalised,
    )


def _with(found: ImputedEstimates, estimates: list[Estimate]) -> ImputedEstimates:
    observed, worst, best = estimates
    return replace(found, estimates=(observed, worst, best))
