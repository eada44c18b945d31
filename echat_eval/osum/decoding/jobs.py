"""Input and output of the decode loop: jobs in; new ids, results and dropped jobs out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from echat_eval.errors import SystemFailure

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from torch import Tensor

    from echat_eval.osum.model.kv_cache import KVCache

__all__ = ["DroppedJob", "GenerationResult", "Job", "JobSupply", "NewIds", "SlotEvent", "require_room"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """A request ready for decoding.

    Attributes:
        number: the caller's number.
        prompt: (L, D) embeddings, without the prefix.
        seed: seed of its sampling.
        prefix: one row of keys and values, computed earlier, that precede the prompt; None without.
        streamed: yield ids while the reply is decoded.
        max_new_tokens: a limit below that of the rules; 0 for that of the rules.
    """

    number: int
    prompt: Tensor
    seed: int
    prefix: KVCache | None = None
    streamed: bool = False
    max_new_tokens: int = 0

    @property
    def positions(self) -> int:
        """Positions of the prompt, prefix included."""
        return len(self.prompt) + (self.prefix.max_positions if self.prefix is not None else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationResult:
    """The reply to a job.

    Attributes:
        job: the job.
        ids: all ids of the reply.
        stopped: the reply ended by itself; otherwise it reached the limit on new ids.
    """

    job: Job
    ids: tuple[int, ...]
    stopped: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NewIds:
    """Ids of a reply that continues.

    Attributes:
        job: the job, which is streamed.
        start: how many ids of the reply precede these. A job that starts again, with fewer slots, begins
            at 0.
        ids: the ids.
    """

    job: Job
    start: int
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DroppedJob:
    """A job that its supply no longer wants; its slot is free."""

    job: Job


SlotEvent = GenerationResult | NewIds | DroppedJob


class JobSupply(Protocol):
    """Where a decode loop gets its jobs."""

    def take(self, count: int) -> Sequence[Job] | None:
        """Return up to `count` further jobs: none if there is none now, None if none will come."""

    def unwanted(self) -> Collection[int]:
        """Return the numbers of jobs taken earlier whose replies are no longer wanted."""


def require_room(positions: int, max_new_tokens: int, limit: int) -> None:
    """Raise SystemFailure if a prompt and its reply exceed the decoder's positions."""
    if positions + max_new_tokens > limit:
        raise SystemFailure(
            f"a prompt of {positions} positions and a reply of {max_new_tokens} do not fit {limit}: "
            "shorten the history or lower max_new"
        )
