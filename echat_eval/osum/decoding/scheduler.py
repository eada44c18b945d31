"""The slots of one decoding run: filled, stepped, read, refilled, and compacted towards the end."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch.nn.utils.rnn import pad_sequence

from echat_eval.errors import SystemFailure
from echat_eval.osum.decoding.host_sync import HostSync
from echat_eval.osum.decoding.row_states import RowStates
from echat_eval.osum.decoding.step import advance, choose, choose_fixed
from echat_eval.osum.model.kv_cache import KVCache
from echat_eval.osum.model.length_batches import batch_by_length

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from echat_eval.osum.decoding.cuda_graphs import CaptureGraph, CudaGraphCache
    from echat_eval.osum.decoding.host_sync import RowStatus
    from echat_eval.osum.decoding.sampling import Sampling
    from echat_eval.osum.decoding.state import DecodingRules
    from echat_eval.osum.decoding.step import Heads, Hook
    from echat_eval.osum.model.model import OsumModel

__all__ = ["DecodingCounts", "DecodingSetup", "GenerationResult", "Job", "SlotScheduler", "require_room"]

#: Keys and values grow by at least this many positions.
GROWTH = 128
#: Captured steps attend to this many positions, or 2, 4, ... times as many, so that few shapes are captured.
GRAPH_WIDTH = 256
#: Positions per prefill call, padding included.
PREFILL_POSITIONS = 16_384
#: When no request waits, rows are compacted if at most this share of them is in use.
COMPACT_BELOW = 0.75


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DecodingSetup:
    """The model and the settings of a decode loop.

    Attributes:
        model: on its device, in its dtype.
        rules, sampling: the same for all jobs.
        capture_graph: captures fixed steps; None for plain steps.
        sync_every: steps between two reads of the rows' status.
        partial_after: speech ids after which the beginning of a reply is yielded as well; 0 for never.
        hook: called with the logits and ids of every step; None for none.
        graph_cache: captured steps and their tensors, shared by consecutive loops.
    """

    model: OsumModel
    rules: DecodingRules
    sampling: Sampling
    capture_graph: CaptureGraph | None
    sync_every: int
    partial_after: int
    hook: Hook | None
    graph_cache: CudaGraphCache


@dataclass(slots=True)
class DecodingCounts:
    """Decode steps, and replies that began in a slot that had held another."""

    steps: int = 0
    refills: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """A request ready for decoding.

    Attributes:
        number: the caller's number.
        prompt: (L, D) embeddings, without the prefix.
        seed: seed of its sampling.
        prefix: one row of keys and values, computed earlier, that precede the prompt; None without.
    """

    number: int
    prompt: Tensor
    seed: int
    prefix: KVCache | None = None

    @property
    def positions(self) -> int:
        """Positions of the prompt, prefix included."""
        return len(self.prompt) + (self.prefix.max_positions if self.prefix is not None else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationResult:
    """The reply to a job, or its beginning.

    Attributes:
        job: the job.
        ids: all ids generated so far.
        stopped: the reply ended by itself; otherwise it reached the limit on new ids, or it is partial.
        partial: the beginning of a reply that continues; only with `partial_after`.
    """

    job: Job
    ids: tuple[int, ...]
    stopped: bool
    partial: bool = False


class SlotScheduler:
    """Decodes jobs in a number of slots until no job is left.

    Args:
        setup: model and settings.
        take: returns up to the given number of further jobs.
        waiting: jobs taken earlier and not finished.
        slots: rows decoded together.
        counts: updated in place.
    """

    def __init__(
        self,
        setup: DecodingSetup,
        take: Callable[[int], Sequence[Job]],
        waiting: deque[Job],
        *,
        slots: int,
        counts: DecodingCounts,
    ) -> None:
        self.setup, self.take, self.waiting, self.slots, self.counts = setup, take, waiting, slots, counts
        self.decoder, self.device = setup.model.decoder, setup.model.device
        self.running: list[Job | None] = []
        self.start_steps: list[int] = []  # the step at which each row started
        self.reported: set[int] = set()  # numbers of the jobs whose beginning was yielded
        self.exhausted = self.all_speech = False
        self.graphs: dict[tuple[Heads, int, int], Callable[[], None]] = {}
        self.host_sync = HostSync(self.device, delayed=setup.capture_graph is not None)

    def unfinished(self) -> deque[Job]:
        """Return the jobs without a reply, in the order in which they were taken."""
        return deque([*(job for job in self.running if job is not None), *self.waiting])

    def busy(self) -> bool:
        """Return whether any row is in use."""
        return any(job is not None for job in self.running)

    def run(self) -> Iterator[GenerationResult]:
        """Yield replies until all jobs have one."""
        self.open()
        while self.busy():
            for left in reversed(range(self.setup.sync_every)):
                if self.setup.capture_graph is not None:
                    self.step_captured(self.setup.capture_graph)
                    continue
                choose(self.decoder, self.active, step=self.counts.steps, hook=self.setup.hook)
                if left == 0:
                    yield from self.collect()
                if self.busy():
                    advance(self.decoder, self.active, self.cache, width=self.reserve(1))
                self.counts.steps += 1
            if self.setup.capture_graph is not None:
                yield from self.collect()
            self.fill()
            self.host_sync.begin(self.active.decoding)

    def open(self) -> None:
        """Allocate for the first jobs and start them."""
        self.pull(self.slots)
        rows = min(self.slots, len(self.waiting))
        if not rows:
            return
        longest = max(job.positions for job in islice(self.waiting, rows))
        max_new_tokens = self.setup.rules.max_new_tokens
        if self.setup.capture_graph is not None:
            rows = min(self.slots, next_power_of_two(rows))
            self.allocate_for_graphs(rows, longest + max_new_tokens)
        else:
            self.allocate(rows, longest + min(max_new_tokens, GROWTH))
        self.active = self.states  # the rows that are stepped; fewer after `compact`
        self.running, self.start_steps = [None] * rows, [0] * rows
        self.counts.refills -= min(rows, len(self.waiting))  # the first job of a row is not a refill
        self.fill()
        self.host_sync.begin(self.active.decoding)

    def allocate(self, rows: int, max_positions: int) -> None:
        """Allocate the state of `rows` rows, and keys and values for `max_positions` positions each."""
        setup, config = self.setup, self.setup.model.config
        like = torch.zeros(0, dtype=setup.model.dtype, device=self.device)
        self.cache = KVCache.allocate(config.decoder, rows=rows, max_positions=max_positions, like=like)
        self.states = RowStates(setup.rules, setup.sampling, config, rows=rows, like=like)

    def allocate_for_graphs(self, rows: int, max_positions: int) -> None:
        """Allocate for captured steps, which address fixed tensors; reuse an earlier call's if they fit."""
        stored, key = self.setup.graph_cache, (self.setup.rules, self.setup.sampling, rows)
        if (
            stored.key == key
            and stored.kv_cache is not None
            and stored.kv_cache.max_positions >= max_positions
        ):
            assert stored.states is not None  # stored together
            self.cache, self.states, self.graphs = stored.kv_cache, stored.states, stored.graphs
            self.states.decoding.stopped.fill_(True)  # no row is in use yet
            return
        stored.clear()
        self.allocate(rows, -(-max_positions // GRAPH_WIDTH) * GRAPH_WIDTH)
        stored.key, stored.kv_cache, stored.states, stored.graphs = key, self.cache, self.states, self.graphs

    def pull(self, count: int) -> None:
        """Take jobs until `count` wait; as many at a time as there are slots, to batch similar lengths."""
        while len(self.waiting) < count and not self.exhausted:
            jobs = self.take(self.slots)
            self.exhausted = not jobs
            for job in jobs:
                require_room(
                    job.positions, self.setup.rules.max_new_tokens, self.setup.model.config.decoder.positions
                )
            self.waiting.extend(jobs)

    def fill(self) -> None:
        """Start waiting jobs in all free rows."""
        free = [row for row, job in enumerate(self.running) if job is None]
        if not free:
            return
        self.pull(len(free))
        rows = free[: len(self.waiting)]
        for row in rows:
            self.running[row], self.start_steps[row] = self.waiting.popleft(), self.counts.steps
        self.counts.refills += len(rows)
        if rows:
            self.all_speech = False
            self.reserve(1)
        started = {row: job for row in rows if (job := self.running[row]) is not None}
        for prefix in {id(job.prefix): job.prefix for job in started.values()}.values():
            sharing = [row for row, job in started.items() if job.prefix is prefix]
            for batch in batch_by_length(
                [len(started[row].prompt) for row in sharing], max_padded=PREFILL_POSITIONS
            ):
                self.prefill(sorted(sharing[i] for i in batch))

    def prefill(self, rows: list[int]) -> None:
        """Run the prompts of the jobs in these rows, which share a prefix, in one padded call."""
        jobs = [job for row in rows if (job := self.running[row]) is not None]
        prefix = jobs[0].prefix
        offset = prefix.max_positions if prefix is not None else 0
        numbers = torch.tensor(rows, device=self.device)
        lengths = torch.tensor([len(job.prompt) for job in jobs], device=self.device)
        x = pad_sequence([job.prompt.to(self.setup.model.dtype) for job in jobs], batch_first=True)
        if prefix is not None:
            self.cache.put(prefix, numbers)
        positions = torch.arange(offset, offset + x.shape[1], device=self.device).expand(len(rows), -1)
        leading = rows == list(range(len(rows)))
        outputs = self.decoder(
            x, positions, self.cache, kv_length=offset + x.shape[1], rows=None if leading else numbers
        )
        last = outputs[torch.arange(len(rows), device=self.device), lengths - 1]
        self.states.start(numbers, last, lengths + offset, [job.seed for job in jobs])

    def reserve(self, steps: int) -> int:
        """Return how many positions the next steps attend to, after growing the cache to hold them."""
        running = [(row, job) for row, job in enumerate(self.running) if job is not None]
        captured, max_new_tokens = self.setup.capture_graph is not None, self.setup.rules.max_new_tokens
        reach = max(
            job.positions + min(self.counts.steps - self.start_steps[row] + steps, max_new_tokens)
            for row, job in running
        )
        longest = max(job.positions for _, job in running)
        if max(reach, longest) > self.cache.max_positions or (
            captured and longest + max_new_tokens > self.cache.max_positions
        ):
            required = longest + max_new_tokens if captured else reach
            self.cache.grow(
                max(required, self.cache.max_positions + max(GROWTH, self.cache.max_positions // 4))
            )
            self.graphs.clear()
        if not captured:
            return reach
        width = GRAPH_WIDTH
        while width < reach:
            width *= 2
        return min(width, self.cache.max_positions)

    def step_captured(self, capture_graph: CaptureGraph) -> None:
        """Run one fixed step; capture it first if its shapes are new."""
        rules = self.setup.rules
        heads: Heads = "speech" if rules.starts_in_speech or self.all_speech else "both"
        heads = "text" if rules.ends_with_text else heads
        rows, width = len(self.active.last), self.reserve(1)
        if (heads, rows, width) not in self.graphs:
            decoder, active, cache = self.decoder, self.active, self.cache

            def step() -> None:
                choose_fixed(decoder, active, heads)
                advance(decoder, active, cache, width=width)

            self.graphs[heads, rows, width] = capture_graph(step, active.tensors())
        self.graphs[heads, rows, width]()
        self.counts.steps += 1

    def collect(self) -> Iterator[GenerationResult]:
        """Yield finished replies, free their rows, and compact the rows if few are in use."""
        status = self.host_sync.read(self.active.decoding)
        if status is None:
            return
        in_use = [row for row, job in enumerate(self.running) if job is not None]
        finished = [row for row in in_use if status.finished[row]]
        partial = [row for row in in_use if self.is_partial_due(row, status)]
        yield from self.results(finished, status, partial=False)
        yield from self.results(partial, status, partial=True)
        in_blocks = self.setup.rules.blocks is not None
        self.all_speech = not in_blocks and all(
            speech or over for speech, over in zip(status.speech, status.finished, strict=True)
        )
        self.compact()

    def is_partial_due(self, row: int, status: RowStatus) -> bool:
        """Return whether the beginning of a row's reply must be yielded now."""
        job, partial_after = self.running[row], self.setup.partial_after
        if job is None or not partial_after or status.finished[row] or job.number in self.reported:
            return False
        return status.speech_count[row] >= partial_after

    def results(self, rows: list[int], status: RowStatus, *, partial: bool) -> Iterator[GenerationResult]:
        """Yield the ids of these rows; free the rows unless the replies continue."""
        if not rows:
            return
        ids_by_row = self.active.ids[torch.tensor(rows, device=self.device)].tolist()
        for row, ids in zip(rows, ids_by_row, strict=True):
            job = self.running[row]
            assert job is not None  # the caller passes rows in use
            if partial:
                self.reported.add(job.number)
            else:
                self.running[row] = None
            yield GenerationResult(
                job=job, ids=tuple(ids[: status.id_count[row]]), stopped=status.stopped[row], partial=partial
            )

    def compact(self) -> None:
        """When no job waits any more, move the rows in use to the front and step only those."""
        in_use = [row for row, job in enumerate(self.running) if job is not None]
        if not in_use or self.waiting or not self.exhausted or self.setup.hook is not None:
            return
        rows = len(in_use)
        if self.setup.capture_graph is not None:
            rows = next_power_of_two(rows)  # few shapes to capture
        if rows > COMPACT_BELOW * len(self.running):
            return
        numbers = torch.tensor(in_use, device=self.device)
        self.cache.gather(numbers)
        self.active.gather(numbers)
        self.active = self.states.first(rows)
        self.active.decoding.stopped[len(in_use) :] = True
        spare: list[Job | None] = [None] * (rows - len(in_use))
        self.running = [*(self.running[row] for row in in_use), *spare]
        self.start_steps = [*(self.start_steps[row] for row in in_use), *(0 for _ in spare)]


def require_room(positions: int, max_new_tokens: int, limit: int) -> None:
    """Raise SystemFailure if a prompt and its reply exceed the decoder's positions."""
    if positions + max_new_tokens > limit:
        raise SystemFailure(
            f"a prompt of {positions} positions and a reply of {max_new_tokens} do not fit {limit}: "
            "shorten the history"
        )


def next_power_of_two(value: int) -> int:
    """Return the least power of two that is at least `value`."""
    return 1 << (value - 1).bit_length()
