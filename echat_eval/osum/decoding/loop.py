"""Continuous batching: a fixed number of slots, each refilled from the waiting requests when its reply ends.

In fp32 a reply does not depend on its slot, on its neighbours or on its start time: it has its own seed and
positions, and a finished row changes nothing. So all unfinished requests can start again with fewer slots
when the memory is full. In bf16 and fp16, products are rounded differently in other shapes, and a near tie of
two ids can fall either way.
"""

from __future__ import annotations

import logging
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

import torch

from echat_eval.errors import SystemFailure
from echat_eval.osum.decoding.cuda_graphs import CudaGraphCache
from echat_eval.osum.decoding.scheduler import SlotScheduler
from echat_eval.osum.decoding.setup import DecodingCounts, DecodingSetup
from echat_eval.osum.model.kv_cache import kv_bytes
from echat_eval.osum.model.memory import free_memory, is_oom

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from echat_eval.osum.decoding.cuda_graphs import CaptureGraph
    from echat_eval.osum.decoding.jobs import Job, JobSupply, SlotEvent
    from echat_eval.osum.decoding.sampling import Sampling
    from echat_eval.osum.decoding.state import DecodingRules
    from echat_eval.osum.decoding.step import Hook
    from echat_eval.osum.model.model import OsumModel

__all__ = ["DecodeLoop", "ListedJobs"]

logger = logging.getLogger(__name__)

#: Steps between two reads of the rows' status on a GPU, where a read costs a copy to the host.
SYNC_EVERY = 8


class ListedJobs:
    """A supply of jobs that are all there."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._remaining = iter(jobs)

    def take(self, count: int) -> Sequence[Job] | None:
        """Return up to `count` further jobs, None after the last."""
        return list(islice(self._remaining, count)) or None

    def unwanted(self) -> tuple[()]:
        """Return no numbers: all jobs are wanted."""
        return ()


class DecodeLoop:
    """Decodes jobs that share rules and sampling.

    Args:
        model: on its device, in its dtype.
        rules, sampling: the same for all jobs; their state is per row.
        slots: rows decoded together; halved when the memory is full.
        capture_graph: captures fixed steps; None for plain steps.
        sync_every: steps between two reads of the rows' status; 0 for the default: 1, or 8 on a GPU.
        hook: called with the logits and ids of every step; all jobs must fit the slots, and rows stay in
            place.
        graph_cache: captured steps of an earlier loop; None for none.

    Attributes:
        slots: the current number.
        notes: events to report to the user, such as a full memory.
    """

    def __init__(
        self,
        model: OsumModel,
        *,
        rules: DecodingRules,
        sampling: Sampling,
        slots: int,
        capture_graph: CaptureGraph | None = None,
        sync_every: int = 0,
        hook: Hook | None = None,
        graph_cache: CudaGraphCache | None = None,
    ) -> None:
        self.setup = DecodingSetup(
            model=model,
            rules=rules,
            sampling=sampling,
            capture_graph=capture_graph,
            sync_every=sync_every or (SYNC_EVERY if model.device.type == "cuda" else 1),
            hook=hook,
            graph_cache=graph_cache or CudaGraphCache(),
        )
        self.slots = slots
        self.notes: list[str] = []
        self.counts = DecodingCounts()

    @property
    def steps(self) -> int:
        """Return the number of decode steps so far."""
        return self.counts.steps

    @property
    def refills(self) -> int:
        """Return how many replies began in a slot that had held another."""
        return self.counts.refills

    @torch.inference_mode()
    def run(self, supply: JobSupply) -> Iterator[SlotEvent]:
        """Yield the reply of every job as it ends, and what else happens.

        Args:
            supply: where jobs come from; the run ends when no slot is in use and no job is there.

        Raises:
            SystemFailure: a prompt and its reply exceed the decoder's positions, or the memory is full
                with a single slot.
        """
        waiting: deque[Job] = deque()
        while True:
            scheduler = SlotScheduler(self.setup, supply, waiting, slots=self.slots, counts=self.counts)
            try:
                yield from scheduler.run()
                return
            except (RuntimeError, MemoryError) as error:
                if self.setup.hook is not None or not is_oom(error):
                    raise
                waiting = scheduler.unfinished()
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            del scheduler
            self.setup.graph_cache.clear()
            free_memory(self.setup.model.device)
            self.halve(waiting, reason)

    def halve(self, waiting: Sequence[Job], reason: str) -> None:
        """Halve the slots, and add and log a note; raise SystemFailure if there is only one."""
        if self.slots == 1:
            longest = max((job.positions for job in waiting), default=0)
            model, max_new_tokens = self.setup.model, self.setup.rules.max_new_tokens
            need = kv_bytes(
                model.config.decoder,
                rows=1,
                max_positions=longest + max_new_tokens,
                itemsize=model.dtype.itemsize,
            )
            raise SystemFailure(
                f"out of memory with one request at a time on {model.device}: {reason}; its {longest} "
                f"positions and up to {max_new_tokens} new ones need {need / 1e6:.1f} MB beside the "
                "weights: free the device, lower max_new or use another device"
            )
        note = f"out of memory with {self.slots} requests at a time; went on with {self.slots // 2}"
        self.slots //= 2
        self.notes.append(note)
        logger.warning("%s (%s)", note, reason)
