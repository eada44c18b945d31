"""Continuous batching: a fixed number of slots, each refilled from the waiting requests when its reply ends.

What a reply is does not depend on the slot, on its neighbours or on when it began: its numbers are drawn from
its own seed, its positions are its own, and a row that is over changes nothing any more. So the whole may
also begin again with fewer slots when the memory is full.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

import torch

from echat_eval.errors import SystemFailure
from echat_eval.osum.decoding.cuda_graphs import CudaGraphCache
from echat_eval.osum.decoding.scheduler import GenerationResult, Job, SlotScheduler
from echat_eval.osum.model.kv_cache import kv_bytes
from echat_eval.osum.model.memory import free_memory, is_oom

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from echat_eval.osum.decoding.cuda_graphs import CudaGraph
    from echat_eval.osum.decoding.sampling import Sampling
    from echat_eval.osum.decoding.state import DecodingRules
    from echat_eval.osum.decoding.step import Hook
    from echat_eval.osum.model.model import OsumModel

__all__ = ["DecodeLoop", "GenerationResult", "Job"]

logger = logging.getLogger(__name__)

#: On a GPU, looking at who is done costs a copy to the host; so it is done this often.
LOOK_EVERY = 8


class DecodeLoop:
    """Decodes jobs of one kind.

    Args:
        model: on its device, in its dtype.
        rules, sampling: the same for all; their state is per row.
        slots: rows decoded together; halved when the memory is full.
        record: how to record fixed steps; None for plain steps.
        look_every: steps between two looks at who is done; 0 for the usual: 1, or 8 on a GPU.
        early: speech ids after which the beginning of a reply is reported too; 0 for never.
        kept: what recorded steps of an earlier loop knew; None for nothing.
        hook: sees every step's logits and ids; then all jobs must fit the slots, and rows stay in place.

    Attributes:
        slots: how many there are now.
        notes: what the caller should know, such as a memory that was full.
        steps: decode steps so far.
        refills: rows begun in a slot that had held another.
    """

    def __init__(
        self,
        model: OsumModel,
        *,
        rules: DecodingRules,
        sampling: Sampling,
        slots: int,
        record: CudaGraph | None = None,
        look_every: int = 0,
        early: int = 0,
        hook: Hook | None = None,
        kept: CudaGraphCache | None = None,
    ) -> None:
        self.model, self.rules, self.sampling, self.slots = model, rules, sampling, slots
        self.record, self.early, self.hook = record, early, hook
        self.look_every = look_every or (LOOK_EVERY if model.device.type == "cuda" else 1)
        self.kept = kept or CudaGraphCache()
        self.notes: list[str] = []
        self.steps = self.refills = 0

    @torch.inference_mode()
    def run(self, take: Callable[[int], Sequence[Job]]) -> Iterator[GenerationResult]:
        """Yield every job's reply as it ends.

        Args:
            take: returns up to so many further jobs; none when there are no more.

        Raises:
            SystemFailure: a prompt and its reply do not fit the decoder's positions, or the memory is full
                with a single slot.
        """
        waiting: deque[Job] = deque()
        while True:
            batch = SlotScheduler(self, take, waiting)
            try:
                yield from batch.run()
                return
            except (RuntimeError, MemoryError) as error:
                if self.hook is not None or not is_oom(error):
                    raise
                waiting = batch.unfinished()
                what = str(error).splitlines()[0] if str(error) else type(error).__name__
            del batch
            self.kept.drop()
            free_memory(self.model.device)
            self.halve(waiting, what)

    def halve(self, waiting: Sequence[Job], what: str) -> None:
        """Go on with half the slots, and say so."""
        if self.slots == 1:
            longest = max((job.positions for job in waiting), default=0)
            model, room = self.model, longest + self.rules.max_new
            itemsize = model.dtype.itemsize
            need = kv_bytes(model.config.decoder, rows=1, slots=room, itemsize=itemsize)
            raise SystemFailure(
                f"out of memory with one request at a time on {model.device}: {what}; its {longest} "
                f"positions and up to {self.rules.max_new} new ones want {need / 1e6:.1f} MB beside the "
                "weights: free the device, lower max_new or use another"
            )
        note = f"out of memory with {self.slots} requests at a time; went on with {self.slots // 2}"
        self.slots //= 2
        self.notes.append(note)
        logger.warning("%s (%s)", note, what)

    def check(self, job: Job) -> None:
        """Raise SystemFailure if a job does not fit the decoder's positions."""
        limit = self.model.config.decoder.positions
        if job.positions + self.rules.max_new > limit:
            raise SystemFailure(
                f"a prompt of {job.positions} positions and a reply of {self.rules.max_new} do not fit "
                f"{limit}: shorten the history"
            )
