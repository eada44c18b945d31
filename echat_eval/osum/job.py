"""What goes into the decode loop, and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from echat_eval.osum.cache import Cache

__all__ = ["Job", "Made"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """A request ready to be decoded.

    Attributes:
        number: of the caller.
        prompt: (L, D) embeddings, without the prefix.
        seed: of its sampling.
        prefix: keys and values of one row, computed before, that come first; None without.
    """

    number: int
    prompt: Tensor
    seed: int
    prefix: Cache | None = None

    @property
    def positions(self) -> int:
        """How many positions the prompt takes, prefix included."""
        return len(self.prompt) + (self.prefix.slots if self.prefix is not None else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What became of a job.

    Attributes:
        job: which.
        ids: everything generated so far.
        ended: the reply ended by itself; otherwise the cap cut it off, or it goes on.
        early: the reply goes on, this is its beginning; only if `early` was asked for.
    """

    job: Job
    ids: tuple[int, ...]
    ended: bool
    early: bool = False
