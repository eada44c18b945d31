"""How long a client is asked to wait when the queue is full."""

from __future__ import annotations

import math

__all__ = ["WaitingTime"]

#: Seconds that a reply is thought to take before one was made.
_FIRST_GUESS = 5.0
#: Share of the last reply in the mean of their seconds.
_WEIGHT = 0.2
#: Bounds of the seconds.
_SHORTEST, _LONGEST = 1, 60


class WaitingTime:
    """The mean seconds of the last replies, and what they mean for a queue."""

    def __init__(self) -> None:
        self._mean: float | None = None

    def add(self, seconds: float) -> None:
        """Count a reply; the first one replaces the guess."""
        mean = seconds if self._mean is None else self._mean
        self._mean = mean + _WEIGHT * (seconds - mean)

    def seconds(self, *, waiting: int, slots: int) -> int:
        """Return the seconds until a number of waiting questions have slots."""
        mean = _FIRST_GUESS if self._mean is None else self._mean
        return math.ceil(min(max(mean * max(1, waiting) / slots, _SHORTEST), _LONGEST))
