"""A listening gap by people: replies and raters are two factors, as in every mean of ratings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from echat_eval.stats import level_mean, rated_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from echat_eval.stats import Estimate, Unit

__all__ = ["RatedGap", "rated_gap"]

Ident: TypeAlias = "tuple[str, str]"
#: An estimate without the missing answers, with them at their worst, and at their best.
Imputed: TypeAlias = "tuple[Estimate, Estimate, Estimate]"


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedGap:
    """Both sides and their difference as means over ratings, with intervals over raters and replies.

    Attributes:
        raters: number of raters; with one, the intervals hold for this rater only.
    """

    answered: Imputed
    matched: Estimate
    gap: Imputed
    raters: int


def rated_gap(
    ratings: Mapping[Ident, Sequence[tuple[str, float]]],
    answered: Mapping[Ident, float | None],
    units: Mapping[Ident, Unit],
) -> RatedGap:
    """Return the gap over the ratings of the replies to some samples.

    Args:
        ratings: sample -> rater and match rate in percent of each rating of its reply.
        answered: sample -> value of the answer about it in percent; None: missing.
        units: sample -> speaker and sentence.
    """
    rows = [(ident, rater, value) for ident in answered for rater, value in ratings.get(ident, ())]

    def sides(imputed: float | None) -> tuple[Estimate, Estimate]:
        """Return the mean of the answers, and that of the differences."""
        known = {i: imputed if value is None else value for i, value in answered.items()}
        kept = [(i, rater, a, value) for i, rater, value in rows if (a := known[i]) is not None]
        of_unit = [units[i] for i, *_ in kept]
        difference = rated_mean(
            [a - value for _, _, a, value in kept],
            of_unit,
            [rater for _, rater, *_ in kept],
            low=-100.0,
            high=100.0,
        )
        return level_mean([a for _, _, a, _ in kept], of_unit, low=0.0, high=100.0), difference.estimate

    matched = rated_mean(
        [value for *_, value in rows],
        [units[i] for i, *_ in rows],
        [rater for _, rater, _ in rows],
        low=0.0,
        high=100.0,
    )
    observed, worst, best = sides(None), sides(0.0), sides(100.0)
    return RatedGap(
        answered=(observed[0], worst[0], best[0]),
        matched=matched.estimate,
        gap=(observed[1], worst[1], best[1]),
        raters=matched.raters,
    )
