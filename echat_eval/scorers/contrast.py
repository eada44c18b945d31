"""The pair term of every cue contrast, and its rule for failed replies.

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
"""

from __future__ import annotations

__all__ = ["WORST", "pair_term"]

#: Fit of the worst reply to its own sample minus its fit to another; also the lowest value of a contrast.
WORST = 0.0 - 100.0


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
