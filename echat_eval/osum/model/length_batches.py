"""Batches of similar lengths, with little padding."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["batch_by_length"]

#: The shortest row of a batch has at least this share of the longest row's length ...
MIN_SHARE = 0.8
#: ... or is shorter by at most this much.
SLACK = 16


def batch_by_length(lengths: Sequence[int], *, max_padded: int, slack: int = SLACK) -> list[list[int]]:
    """Return row numbers in batches of similar lengths, longest first.

    Args:
        lengths: of every row.
        max_padded: total length of a batch, padding included; a longer row is a batch of its own.
        slack: difference in length that is always accepted.

    >>> batch_by_length([100, 10, 98, 300, 12], max_padded=400)
    [[3], [0, 2], [4, 1]]
    >>> batch_by_length([100, 100, 100], max_padded=200)
    [[0, 1], [2]]
    """
    batches: list[list[int]] = []
    for number in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batches:
            longest = lengths[batches[-1][0]]
            near = lengths[number] >= min(MIN_SHARE * longest, longest - slack)
            if near and longest * (len(batches[-1]) + 1) <= max_padded:
                batches[-1].append(number)
                continue
        batches.append([number])
    return batches
