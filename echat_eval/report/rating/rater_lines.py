"""Lines on raters who pay no attention or disagree with themselves, and on answers that compare nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.report.rating.match import MATCH, OVER_REACTION
from echat_eval.report.rating.sheet import PREFERENCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echat_eval.io.ratings import Rating
    from echat_eval.report.rating.collect import Collected

__all__ = ["rater_lines", "tie_lines"]

#: Dimension -> its value of "no difference".
TIES = {PREFERENCE: 0.5, MATCH: 0.5, OVER_REACTION: 0.0}


def rater_lines(collected: Collected) -> list[str]:
    """Return lines on raters who answered in part, are left out, or mostly differ from themselves."""
    lines = []
    for person in collected.raters:
        if person.answered < person.questions:
            lines.append(f"rater '{person.rater}' answered {person.answered} of {person.questions} questions")
        if person.left_out:
            lines.append(
                f"rater '{person.rater}' is left out: failed {person.failed} of {person.checks} attention "
                "checks"
            )
        elif person.differed > person.repeats / 2:
            lines.append(
                f"rater '{person.rater}' disagrees with themselves: {person.differed} of {person.repeats} "
                "repeated answers are others than the first; the rater is kept, unless you leave the file "
                "out as your plan states"
            )
    return lines


def tie_lines(ratings: Sequence[Rating]) -> list[str]:
    """Return one line per comparison in which every answer is a tie."""
    lines = []
    for dimension, tie in TIES.items():
        values = [r.value for r in ratings if r.dimension == dimension]
        if values and all(value == tie for value in values):
            lines.append(
                f"{dimension}: all {len(values)} answers are ties, so they compare nothing and have no "
                "interval; ask more raters, or about other replies"
            )
    return lines
