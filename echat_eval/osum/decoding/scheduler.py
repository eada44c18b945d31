"""The slots of one decoding run: filled, stepped, read, refilled, and compacted while no job waits."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - the community's name for it
from torch.nn.utils.rnn import pad_sequence

from echat_eval.osum.decoding.captured_prompts import captured_prompts, counts_of
from echat_eval.osum.decoding.captured_steps import captured_step, heads_for
from echat_eval.osum.decoding.host_sync import HostSync
from echat_eval.osum.decoding.jobs import DroppedJob, GenerationResult, NewIds, require_room
from echat_eval.osum.decoding.slot_tensors import SlotTensors
from echat_eval.osum.decoding.step import advance, choose
from echat_eval.osum.model.length_batches import batch_by_length

if TYPE_CHECKING:
    from collections.abc import Iterator

    from echat_eval.osum.decoding.cuda_graphs import CaptureGraph
    from echat_eval.osum.decoding.host_sync import RowStatus
    from echat_eval.osum.decoding.jobs import Job, JobSupply, SlotEvent
    from echat_eval.osum.decoding.setup import DecodingCounts, DecodingSetup

__all__ = ["SlotScheduler"]

#: Positions per prefill call, padding included.
PREFILL_POSITIONS = 16_384
#: Captured runs wait with a refill until this share of the slots is free, or for this many reads: reading the
#: prompt of one request launches as many kernels as reading those of eight.
REFILL_SHARE, REFILL_READS = 1 / 8, 2
#: Prompts of captured runs are padded to a multiple of this length.
PROMPT_STEP = 32
#: While no job waits, rows are compacted if at most this share of them is in use.
COMPACT_BELOW = 0.75


@dataclass(slots=True, eq=False)
class RunningJob:
    """A job in a slot.

    Attributes:
        start_step: the step at which it started.
        ids: of its reply, as far as they were read.
        in_speech: the phase in which it was read.
    """

    job: Job
    start_step: int
    ids: list[int] = field(default_factory=list)
    in_speech: bool = False


class SlotScheduler:
    """Decodes jobs in a number of slots until no job is left or none is there now.

    Args:
        setup: model and settings.
        supply: where jobs come from.
        waiting: jobs taken earlier and not finished.
        slots: rows decoded together.
        counts: updated in place.
    """

    def __init__(
        self,
        setup: DecodingSetup,
        supply: JobSupply,
        waiting: deque[Job],
        *,
        slots: int,
        counts: DecodingCounts,
    ) -> None:
        self.setup, self.supply, self.waiting, self.slots, self.counts = setup, supply, waiting, slots, counts
        self.decoder, self.device = setup.model.decoder, setup.model.device
        self.tensors = SlotTensors(setup, slots)
        self.running: list[RunningJob | None] = []
        self.exhausted = False
        self.deferred = 0  # reads for which free slots have waited
        delayed = setup.capture_graph is not None
        self.host_sync = HostSync(self.device, delayed=delayed, steps=setup.sync_every)

    def unfinished(self) -> deque[Job]:
        """Return the jobs without a reply, in the order in which they were taken."""
        return deque([*(running.job for _, running in self.in_use()), *self.waiting])

    def in_use(self) -> list[tuple[int, RunningJob]]:
        """Return the rows in use and their jobs."""
        return [(row, running) for row, running in enumerate(self.running) if running is not None]

    def run(self) -> Iterator[SlotEvent]:
        """Yield what happens until all jobs have a reply."""
        capture_graph = self.setup.capture_graph
        yield from self.open()
        while self.in_use():
            for left in reversed(range(self.setup.sync_every)):
                if capture_graph is not None:
                    self.step_captured(capture_graph)
                    continue
                active = self.tensors.active
                choose(self.decoder, active, step=self.counts.steps, hook=self.setup.hook)
                if left == 0:
                    yield from self.collect()
                if self.in_use():
                    advance(self.decoder, self.tensors.active, self.tensors.cache, width=self.reserve(1))
                self.counts.steps += 1
            if capture_graph is not None:
                yield from self.collect()
            self.fill()
            self.host_sync.begin(self.tensors.active)

    def open(self) -> Iterator[SlotEvent]:
        """Allocate for the first jobs and start them."""
        self.pull(self.slots)
        yield from self.drop()
        rows = min(self.slots, len(self.waiting))
        if rows:
            self.tensors.open(rows, max(job.positions for job in islice(self.waiting, rows)))
            self.fill()
            self.host_sync.begin(self.tensors.active)

    def pull(self, count: int) -> None:
        """Take jobs until `count` wait; as many at a time as there are slots, to batch similar lengths."""
        while len(self.waiting) < count and not self.exhausted:
            jobs = self.supply.take(self.slots)
            self.exhausted = jobs is None
            if not jobs:
                return
            for job in jobs:
                require_room(
                    job.positions, self.setup.rules.max_new_tokens, self.setup.model.config.decoder.positions
                )
            self.waiting.extend(jobs)

    def drop(self) -> Iterator[DroppedJob]:
        """Yield the jobs that are no longer wanted, and free their slots."""
        unwanted = self.supply.unwanted()
        if not unwanted:
            return
        dropped = [row for row, running in self.in_use() if running.job.number in unwanted]
        yield from map(DroppedJob, [job for job in self.waiting if job.number in unwanted])
        self.waiting = deque(job for job in self.waiting if job.number not in unwanted)
        for row, running in self.in_use():
            if row in dropped:
                self.running[row] = None
                yield DroppedJob(running.job)
        self.stop(dropped)

    def stop(self, rows: list[int]) -> None:
        """Let rows take no more ids that would."""
        if rows:
            self.tensors.active.decoding.stopped[torch.tensor(rows, device=self.device)] = True

    def fill(self) -> None:
        """Start waiting jobs in free slots."""
        free = [row for row, running in enumerate(self.running) if running is None]
        room = self.slots - len(self.running) + len(free)
        if not room or self.defers(room):
            return
        self.pull(room)
        starting = min(room, len(self.waiting))
        if not starting:
            return
        self.counts.refills += min(starting, len(free))
        if starting > len(free):
            known, stepped = len(self.running), self.tensors.widen(len(self.running) + starting - len(free))
            self.running += [None] * (stepped - known)
            free += range(known, stepped)
        started = {row: self.waiting.popleft() for row in free[:starting]}
        for row, job in started.items():
            self.running[row] = RunningJob(job, self.counts.steps)
        self.reserve(1)
        self.prefill_all(started)

    def defers(self, room: int) -> bool:
        """Return whether to wait for more free slots, so that several prompts are read together."""
        few = self.tensors.captured and room < REFILL_SHARE * self.slots and len(self.in_use()) > 0
        self.deferred = self.deferred + 1 if few and self.deferred < REFILL_READS else 0
        return self.deferred > 0

    def prefill_all(self, started: dict[int, Job]) -> None:
        """Run the prompts of these rows' jobs, those of one prefix and similar lengths together."""
        for prefix in {id(job.prefix): job.prefix for job in started.values()}.values():
            sharing = [row for row, job in started.items() if job.prefix is prefix]
            for batch in batch_by_length(
                [len(started[row].prompt) for row in sharing], max_padded=PREFILL_POSITIONS
            ):
                rows = iter(sorted(sharing[i] for i in batch))
                # Few numbers of prompts, each with a graph.
                for count in counts_of(len(batch)) if self.tensors.captured else [len(batch)]:
                    part = list(islice(rows, count))
                    self.prefill(part, [started[row] for row in part])

    def prefill(self, rows: list[int], jobs: list[Job]) -> None:
        """Run the prompts of these rows' jobs, which share a prefix, in one padded call."""
        prefix, cache = jobs[0].prefix, self.tensors.cache
        offset = prefix.max_positions if prefix is not None else 0
        numbers = torch.tensor(rows, device=self.device)
        lengths = torch.tensor([len(job.prompt) for job in jobs], device=self.device)
        x = pad_sequence([job.prompt.to(self.setup.model.dtype) for job in jobs], batch_first=True)
        if self.tensors.captured:
            # Few shapes: libraries choose kernels for each new one.
            padded = min(-(-x.shape[1] // PROMPT_STEP) * PROMPT_STEP, cache.max_positions - offset)
            x = F.pad(x, (0, 0, 0, padded - x.shape[1]))
        graph = captured_prompts(self.setup, self.tensors, x, numbers, lengths, prefix)
        if graph is not None:
            last = graph.read(x, numbers, lengths)
        else:
            outputs = self.decoder.read(x, cache, rows=numbers, prefix=prefix)
            last = outputs[torch.arange(len(rows), device=self.device), lengths - 1]
        self.tensors.states.start(numbers, last, lengths + offset, [job.seed for job in jobs])

    def reserve(self, steps: int) -> int:
        """Return how many positions the next steps attend to, after growing the cache to hold them."""
        max_new_tokens = self.setup.rules.max_new_tokens
        running = [running for _, running in self.in_use()]
        reach = max(
            one.job.positions + min(self.counts.steps - one.start_step + steps, max_new_tokens)
            for one in running
        )
        return self.tensors.reserve(reach, max(one.job.positions for one in running))

    def step_captured(self, capture_graph: CaptureGraph) -> None:
        """Run one fixed step; capture it first if its shapes are new."""
        # A row that was read in speech stays there, except in blocks.
        writing = sum(not running.in_speech for _, running in self.in_use())
        heads = heads_for(self.setup.rules, writing=writing, stepped=self.tensors.stepped)
        captured_step(self.setup, self.tensors, capture_graph, heads, width=self.reserve(1))()
        self.counts.steps += 1

    def collect(self) -> Iterator[SlotEvent]:
        """Yield new ids and finished replies, free their rows, and compact the rows if few are in use."""
        status = self.host_sync.read(self.tensors.active)
        if status is None:
            return
        yield from self.read(status)
        yield from self.drop()
        self.compact()

    def read(self, status: RowStatus) -> list[SlotEvent]:
        """Return the new ids of streamed jobs and the finished replies, and free the rows of these."""
        max_new_tokens = self.setup.rules.max_new_tokens
        events: list[SlotEvent] = []
        over: list[int] = []
        for row, running in self.in_use():
            known, count, job = len(running.ids), status.id_count[row], running.job
            running.in_speech = status.speech[row]
            limit = min(job.max_new_tokens or max_new_tokens, max_new_tokens)
            if count > known:
                running.ids += status.last_ids[row][known - count :]
                del running.ids[limit:]
            if status.finished[row] or len(running.ids) >= limit:
                over.append(row)
                stopped = status.stopped[row] and count <= limit
                events.append(GenerationResult(job=job, ids=tuple(running.ids), stopped=stopped))
            elif job.streamed and count > known:
                events.append(NewIds(job=job, start=known, ids=tuple(running.ids[known:])))
        self.stop([row for row in over if not status.finished[row]])
        for row in over:
            self.running[row] = None
        return events

    def compact(self) -> None:
        """While no job waits, move the rows in use to the front and step only those."""
        in_use = [row for row, _ in self.in_use()]
        few = self.tensors.rows_for(len(in_use)) <= COMPACT_BELOW * len(self.running)
        if not in_use or not few or self.waiting or self.setup.hook is not None:
            return
        self.pull(len(self.running) - len(in_use))
        if self.waiting:
            return
        running = [self.running[row] for row in in_use]
        stepped = self.tensors.compact(in_use)
        self.running = [*running, *[None] * (stepped - len(in_use))]
