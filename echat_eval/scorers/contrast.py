"""The pair term of every cue contrast and match rate, and its rule for failed replies.

For two samples i and j of a contrast group, with fit(i, j) from 0 to 100 for the reply to i under sample j,
the term is

    ((fit(i, i) - fit(i, j)) + (fit(j, j) - fit(j, i))) / 2

The value of sample i is the mean of its terms. One rule covers failures, for the proxy and for the judge:

    A failed reply counts as the worst possible reply: it fits its own sample by 0 and every other by 100.
    The failed sample itself has the metric's worst value, -100.

So a failure raises no value of its group. Each term with it is at most the term that any reply would have
given, and at most 0, the term of a reply that ignores the cue. If failed replies were left out instead, a
system could gain by failing where it answers the wrong voice. A missing reply is unknown, not failed: it is
part of no term.

The match rate asks which of two voices a reply answers: the one that it fits better. It is the pair term of
fits that are 100 for the voice chosen and 0 for the other (50 each for a tie), moved to 0 to 100. So it has
the same properties: 50 exactly for one reply to both, and a failed reply answers the wrong voice.
"""

from __future__ import annotations

__all__ = ["NO_GROUP", "SAME_EXPECTED", "WORST", "choice", "match_term", "over_reaction_term", "pair_term"]

#: Fit of the worst reply to its own sample minus its fit to another; also the lowest value of a contrast.
WORST = 0.0 - 100.0
#: Reason of a contrast or match rate without other samples to compare with.
NO_GROUP = "the sample is in no contrast group"
#: Reason of a contrast or match rate in a group marked `expect: same`.
SAME_EXPECTED = "a good reply is the same for every voice of its group (expect: same)"


def pair_term(own: tuple[float, float], other: tuple[float, float] | None) -> float:
    """Return the term of two samples.

    Args:
        own: fits of the own reply: to its own sample, to the other sample; 0 to 100.
        other: fits of the other reply: to its own sample, to this one; None: that reply failed.

    The same reply to both samples gives exactly 0, because x - y and y - x cancel:

    >>> pair_term((80.1, 70.3), (70.3, 80.1)), pair_term((100.0, 0.0), None), pair_term((81.0, 40.0), None)
    (0.0, 0.0, -29.5)
    """
    other_gain = WORST if other is None else other[0] - other[1]
    return ((own[0] - own[1]) + other_gain) / 2


def match_term(own: tuple[float, float], other: tuple[float, float] | None) -> float:
    """Return the share, in percent, of two replies that answer their own voice; a tie counts half.

    Args:
        own, other: as in `pair_term`; fits of a choice (see `choice`), or its shares if it is made often.

    >>> right, tie, wrong = choice(80.1, 70.3), choice(5.0, 5.0), choice(70.3, 80.1)
    >>> match_term(right, right), match_term(right, tie), match_term(right, wrong), match_term(right, None)
    (100.0, 75.0, 50.0, 50.0)
    """
    return 50.0 + pair_term(own, other) / 2


def over_reaction_term(own: tuple[float, float], other: tuple[float, float] | None) -> float:
    """Return the share of two replies that suit their own voice minus the rest, in percent.

    Where a good reply is the same for both voices, 0 is right, and a failed reply counts as one that suits
    its voice: lower is better here.

    >>> right, tie, wrong = choice(2, 1), choice(1, 1), choice(1, 2)
    >>> over_reaction_term(right, right), over_reaction_term(tie, tie), over_reaction_term(right, wrong)
    (100.0, 0.0, 0.0)
    >>> over_reaction_term(tie, None)
    50.0
    """
    return 0.0 - pair_term(own[::-1], None if other is None else other[::-1])


def choice(own: float, other: float) -> tuple[float, float]:
    """Return the fits of a choice between two voices by the greater value.

    >>> choice(2, 1), choice(1, 2), choice(1, 1)
    ((100.0, 0.0), (0.0, 100.0), (50.0, 50.0))
    """
    share = 50.0 if own == other else 100.0 * (own > other)
    return share, 100.0 - share
