"""Putting like lengths together, so that little is computed for padding."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["alike"]

#: A batch's shortest row has at least this share of its longest's length, or lacks at most so much of it.
SHARE, SLACK = 0.8, 16


def alike(lengths: Sequence[int], *, most: int, slack: int = SLACK) -> list[list[int]]:
    """Return row numbers in batches of like lengths, longest first.

    Args:
        lengths: of every row.
        most: of a batch, padding included; a row longer than that is a batch of its own.
        slack: a difference in length that is always borne.

    >>> alike([100, 10, 98, 300, 12], most=400)
    [[3], [0, 2], [4, 1]]
    >>> alike([100, 100, 100], most=200)
    [[0, 1], [2]]
    """
    batches: list[list[int]] = []
    for number in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batches:
            longest = lengths[batches[-1][0]]
            near = lengths[number] >= min(SHARE * longest, longest - slack)
            if near and longest * (len(batches[-1]) + 1) <= most:
                batches[-1].append(number)
                continue
        batches.append([number])
    return batches
