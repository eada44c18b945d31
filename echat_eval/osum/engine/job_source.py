"""From requests to decoding jobs: prompts are built in batches, and shared prefixes come from the cache."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import torch

from echat_eval.osum.decoding.jobs import Job
from echat_eval.osum.engine.prefix_cache import prefix_length
from echat_eval.osum.model.memory import is_oom

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from torch import Tensor

    from echat_eval.osum.engine.prefix_cache import PrefixCache
    from echat_eval.osum.engine.prompt_builder import PromptBuilder
    from echat_eval.osum.prompts.modes import GenerationRequest, Mode, Piece

__all__ = ["JobSource", "ListedRequests", "NumberedRequest", "RequestSupply"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedRequest:
    """A request, its number among those of one supply, and how its reply is handed out; see `Job`."""

    number: int
    request: GenerationRequest
    streamed: bool = False
    max_new_tokens: int = 0


class RequestSupply(Protocol):
    """Where requests of one kind come from."""

    def take(self, count: int) -> Sequence[NumberedRequest] | None:
        """Return up to `count` further requests: none if there is none now, None if none will come."""

    def unwanted(self) -> Collection[int]:
        """Return the numbers of requests taken earlier whose replies are no longer wanted."""

    def dropped(self, number: int) -> None:
        """Note that an unwanted request takes no slot any more."""

    def fail(self, number: int, error: Exception) -> None:
        """Note that a request fails alone; an error raised here ends the run."""


class ListedRequests:
    """Requests that are all there; the first that fails ends the run."""

    def __init__(self, requests: Iterable[tuple[int, GenerationRequest]], *, streamed: bool = False) -> None:
        self._remaining = (
            NumberedRequest(number=number, request=request, streamed=streamed) for number, request in requests
        )

    def take(self, count: int) -> Sequence[NumberedRequest] | None:
        """Return up to `count` further requests, None after the last."""
        return list(islice(self._remaining, count)) or None

    def unwanted(self) -> tuple[()]:
        """Return no numbers: all replies are wanted."""
        return ()

    def dropped(self, number: int) -> None:
        """Do nothing: all replies are wanted."""

    def fail(self, number: int, error: Exception) -> None:
        """Raise the error."""
        raise error


class JobSource:
    """Turns requests of one mode into jobs on demand.

    Args:
        prompts: builds the prompts.
        prefixes: keys and values of shared prefixes.
        mode: the mode of all requests.
        incoming: the requests.
        max_new_tokens: limit on the ids of a reply, for which every prompt must leave room.

    Attributes:
        requests: number -> request, of all that became jobs.
        positions: number -> positions of its prompt.
    """

    def __init__(
        self,
        prompts: PromptBuilder,
        prefixes: PrefixCache,
        mode: Mode,
        incoming: RequestSupply,
        *,
        max_new_tokens: int,
    ) -> None:
        self.prompts, self.prefixes, self.mode, self.incoming = prompts, prefixes, mode, incoming
        self.max_new_tokens = max_new_tokens
        #: Requests taken that are not jobs yet; they stay here if building their prompts runs out of memory.
        self.pending: list[NumberedRequest] = []
        self.requests: dict[int, GenerationRequest] = {}
        self.positions: dict[int, int] = {}

    def unwanted(self) -> Collection[int]:
        """Return the numbers of jobs whose replies are no longer wanted."""
        return self.incoming.unwanted()

    @torch.inference_mode()
    def take(self, count: int) -> list[Job] | None:
        """Return up to `count` jobs, whose audio is encoded together; see `JobSupply`."""
        further = self.incoming.take(count - len(self.pending)) if count > len(self.pending) else ()
        self.pending += further or ()
        if further is None and not self.pending:
            return None
        unwanted = self.incoming.unwanted()
        for one in self.pending:
            if one.number in unwanted:
                self.incoming.dropped(one.number)
        self.pending = [one for one in self.pending if one.number not in unwanted]
        jobs = self.build(self.pending) if self.pending else []
        self.pending = []
        self.positions |= {job.number: job.positions for job in jobs}
        return jobs

    def build(self, batch: Sequence[NumberedRequest]) -> list[Job]:
        """Return the jobs of these requests; one whose prompt cannot be built costs no other its reply."""
        try:
            jobs = self.build_together(batch)
        except Exception as error:
            if is_oom(error):
                raise
            if len(batch) > 1:
                return [job for one in batch for job in self.build([one])]
            self.incoming.fail(batch[0].number, error)
            self.incoming.dropped(batch[0].number)
            return []
        self.requests |= {one.number: one.request for one in batch}
        return jobs

    def build_together(self, batch: Sequence[NumberedRequest]) -> list[Job]:
        """Return the jobs of these requests."""
        layouts = [
            self.prompts.checked_layout(self.mode, one.request, max_new_tokens=self.max_new_tokens)
            for one in batch
        ]
        audio = self.prompts.encode_audio(layouts)
        return [self.job(one, pieces, audio) for one, pieces in zip(batch, layouts, strict=True)]

    def job(self, numbered: NumberedRequest, pieces: Sequence[Piece], audio: Iterator[Tensor]) -> Job:
        """Return the job of one request."""
        length = prefix_length(pieces)
        shared = tuple(pieces[:length])
        prefix = self.prefixes.get(shared, lambda: self.prompts.embed_pieces(shared, iter(())))
        return Job(
            number=numbered.number,
            prompt=self.prompts.embed_pieces(pieces[length:], audio),
            seed=numbered.request.seed,
            prefix=prefix,
            streamed=numbered.streamed,
            max_new_tokens=numbered.max_new_tokens,
        )
