"""From requests to decoding jobs: prompts are built in batches, and shared prefixes come from the cache."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import torch

from echat_eval.osum.decoding.scheduler import Job
from echat_eval.osum.engine.prefix_cache import prefix_length

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from echat_eval.osum.engine.prefix_cache import PrefixCache
    from echat_eval.osum.engine.prompt_builder import PromptBuilder
    from echat_eval.osum.prompts.modes import GenerationRequest, Mode, Piece

__all__ = ["JobSource"]


class JobSource:
    """Turns requests of one mode into jobs on demand.

    Args:
        prompts: builds the prompts.
        prefixes: keys and values of shared prefixes.
        mode: the mode of all requests.
        incoming: (number, request).
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
        incoming: Iterator[tuple[int, GenerationRequest]],
        *,
        max_new_tokens: int,
    ) -> None:
        self.prompts, self.prefixes, self.mode, self.incoming = prompts, prefixes, mode, incoming
        self.max_new_tokens = max_new_tokens
        #: Requests taken that are not jobs yet; they stay here if building their prompts runs out of memory.
        self.pending: list[tuple[int, GenerationRequest]] = []
        self.requests: dict[int, GenerationRequest] = {}
        self.positions: dict[int, int] = {}

    @torch.inference_mode()
    def take(self, count: int) -> list[Job]:
        """Return up to `count` jobs; their audio is encoded together."""
        self.pending += islice(self.incoming, max(0, count - len(self.pending)))
        layouts = [
            self.prompts.checked_layout(self.mode, request, max_new_tokens=self.max_new_tokens)
            for _, request in self.pending
        ]
        audio = self.prompts.encode_audio(layouts)
        jobs = [
            self.job(number, request, pieces, audio)
            for (number, request), pieces in zip(self.pending, layouts, strict=True)
        ]
        self.requests |= dict(self.pending)
        self.pending = []
        self.positions |= {job.number: job.positions for job in jobs}
        return jobs

    def job(
        self, number: int, request: GenerationRequest, pieces: Sequence[Piece], audio: Iterator[Tensor]
    ) -> Job:
        """Return the job of one request."""
        length = prefix_length(pieces)
        shared = tuple(pieces[:length])
        prefix = self.prefixes.get(shared, lambda: self.prompts.embed_pieces(shared, iter(())))
        prompt = self.prompts.embed_pieces(pieces[length:], audio)
        return Job(number=number, prompt=prompt, seed=request.seed, prefix=prefix)
