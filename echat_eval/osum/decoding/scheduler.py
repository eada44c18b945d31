"""The rows of one try at decoding: filled, stepped, looked at, refilled, and closed up towards the end."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch.nn.utils.rnn import pad_sequence

from echat_eval.osum.decoding.host_sync import HostSync
from echat_eval.osum.decoding.slots import Slots
from echat_eval.osum.decoding.step import advance, choose, choose_fixed
from echat_eval.osum.model.kv_cache import KVCache
from echat_eval.osum.model.length_batches import alike

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from echat_eval.osum.decoding.host_sync import Seen
    from echat_eval.osum.decoding.loop import DecodeLoop
    from echat_eval.osum.decoding.step import Heads

__all__ = ["GenerationResult", "Job", "SlotScheduler"]

#: Keys and values grow by at least this many positions.
GROWTH = 128
#: Recorded steps look at so many slots, or twice, four times, ... as many: few shapes to record.
RECORDED_WIDTH = 256
#: Positions read in one call when slots are filled, padding included.
READ_AT_ONCE = 16_384
#: With nobody waiting, rows are closed up when no more than this share of them is in use.
CLOSE_UP = 0.75


def power_of_two(value: int) -> int:
    """Return the least power of two that is at least `value`."""
    return 1 << (value - 1).bit_length()


class SlotScheduler:
    """As many rows as the loop has slots, until nobody waits any more.

    Args:
        loop: whose model, rules and settings.
        take: gives further jobs.
        waiting: jobs taken before and not finished.
    """

    def __init__(self, loop: DecodeLoop, take: Callable[[int], Sequence[Job]], waiting: deque[Job]) -> None:
        self.loop, self.take, self.waiting = loop, take, waiting
        self.decoder, self.device = loop.model.decoder, loop.model.device
        self.running: list[Job | None] = []
        self.begun: list[int] = []  # the loop's step at which each row began
        self.told: set[int] = set()  # jobs whose beginning was reported
        self.exhausted = self.all_speech = False
        self.recorded: dict[tuple[Heads, int, int], Callable[[], None]] = {}
        self.watch = HostSync(self.device, lagging=loop.record is not None)

    def unfinished(self) -> deque[Job]:
        """Return the jobs without a reply, in the order they came."""
        return deque([*(job for job in self.running if job is not None), *self.waiting])

    def busy(self) -> bool:
        """Return whether any row is in use."""
        return any(job is not None for job in self.running)

    def run(self) -> Iterator[GenerationResult]:
        """Yield replies until all jobs have theirs."""
        self.open()
        while self.busy():
            for left in reversed(range(self.loop.look_every)):
                if self.loop.record is not None:
                    self.step_recorded()
                    continue
                choose(self.decoder, self.head, step=self.loop.steps, hook=self.loop.hook)
                if left == 0:
                    yield from self.collect()
                if self.busy():
                    advance(self.decoder, self.head, self.cache, width=self.reserve(1))
                self.loop.steps += 1
            if self.loop.record is not None:
                yield from self.collect()
            self.fill()
            self.watch.note(self.head.phases)

    def open(self) -> None:
        """Make room for the first jobs, and begin with them."""
        self.pull(self.loop.slots)
        rows = min(self.loop.slots, len(self.waiting))
        if not rows:
            return
        longest = max(job.positions for job in islice(self.waiting, rows))
        if self.loop.record is not None:
            rows = min(self.loop.slots, power_of_two(rows))
            self.allocate_recorded(rows, longest + self.loop.rules.max_new)
        else:
            self.allocate(rows, longest + min(self.loop.rules.max_new, GROWTH))
        self.head = self.slots
        self.running, self.begun = [None] * rows, [0] * rows
        self.loop.refills -= min(rows, len(self.waiting))  # the first jobs of a row refill nothing
        self.fill()
        self.watch.note(self.head.phases)

    def allocate(self, rows: int, room: int) -> None:
        """Make state for so many rows, and keys and values for `room` positions each."""
        loop, config = self.loop, self.loop.model.config
        like = torch.zeros(0, dtype=loop.model.dtype, device=self.device)
        self.cache = KVCache.allocate(config.decoder, rows=rows, slots=room, like=like)
        self.slots = Slots(loop.rules, loop.sampling, config, rows=rows, like=like)

    def allocate_recorded(self, rows: int, room: int) -> None:
        """The same for recorded steps, which know tensors by address: an earlier call's, if they serve."""
        kept, kind = self.loop.kept, (self.loop.rules, self.loop.sampling, rows)
        if kept.kind == kind and kept.cache is not None and kept.cache.slots >= room:
            assert kept.slots is not None  # kept together
            self.cache, self.slots, self.recorded = kept.cache, kept.slots, kept.recorded
            self.slots.phases.done.fill_(True)  # no row is in use yet
            return
        kept.drop()
        self.allocate(rows, -(-room // RECORDED_WIDTH) * RECORDED_WIDTH)
        kept.kind, kept.cache, kept.slots, kept.recorded = kind, self.cache, self.slots, self.recorded

    def pull(self, wanted: int) -> None:
        """Take more jobs if too few wait: as many as there are slots, so that like ones meet."""
        while len(self.waiting) < wanted and not self.exhausted:
            taken = self.take(self.loop.slots)
            self.exhausted = not taken
            for job in taken:
                self.loop.check(job)
            self.waiting.extend(taken)

    def fill(self) -> None:
        """Begin with waiting jobs in every row that is free."""
        free = [row for row, job in enumerate(self.running) if job is None]
        if not free:
            return
        self.pull(len(free))
        rows = free[: len(self.waiting)]
        for row in rows:
            self.running[row], self.begun[row] = self.waiting.popleft(), self.loop.steps
        self.loop.refills += len(rows)
        if rows:
            self.all_speech = False
            self.reserve(1)
        begun = {row: job for row in rows if (job := self.running[row]) is not None}
        for prefix in {id(job.prefix): job.prefix for job in begun.values()}.values():
            mine = [row for row, job in begun.items() if job.prefix is prefix]
            for batch in alike([len(begun[row].prompt) for row in mine], most=READ_AT_ONCE):
                self.read(sorted(mine[i] for i in batch))

    def read(self, rows: list[int]) -> None:
        """Read the prompts of the jobs in these rows, which share a prefix, in one padded call."""
        jobs = [job for row in rows if (job := self.running[row]) is not None]
        prefix = jobs[0].prefix
        before = prefix.slots if prefix is not None else 0
        at = torch.tensor(rows, device=self.device)
        lengths = torch.tensor([len(job.prompt) for job in jobs], device=self.device)
        x = pad_sequence([job.prompt.to(self.loop.model.dtype) for job in jobs], batch_first=True)
        if prefix is not None:
            self.cache.put(prefix, at)
        positions = torch.arange(before, before + x.shape[1], device=self.device).expand(len(rows), -1)
        first = rows == list(range(len(rows)))
        states = self.decoder(x, positions, self.cache, slots=before + x.shape[1], rows=None if first else at)
        last = states[torch.arange(len(rows), device=self.device), lengths - 1]
        self.slots.start(at, last, lengths + before, [job.seed for job in jobs])

    def reserve(self, steps: int) -> int:
        """Return how many slots the next steps look at, and make sure that there are as many."""
        running = [(row, job) for row, job in enumerate(self.running) if job is not None]
        most = self.loop.rules.max_new
        done = self.loop.steps
        reach = max(job.positions + min(done - self.begun[row] + steps, most) for row, job in running)
        longest = max(job.positions for _, job in running)
        if max(reach, longest) > self.cache.slots or (
            self.loop.record is not None and longest + most > self.cache.slots
        ):
            wanted = longest + most if self.loop.record is not None else reach
            self.cache.grow(max(wanted, self.cache.slots + max(GROWTH, self.cache.slots // 4)))
            self.recorded.clear()
        if self.loop.record is None:
            return reach
        width = RECORDED_WIDTH
        while width < reach:
            width *= 2
        return min(width, self.cache.slots)

    def step_recorded(self) -> None:
        """Do one fixed step, recording it first where its shapes are new."""
        record, rules = self.loop.record, self.loop.rules
        assert record is not None  # the caller's condition
        heads: Heads = "speech" if rules.starts_in_speech or self.all_speech else "both"
        heads = "text" if rules.ends_with_text else heads
        rows, width = len(self.head.last), self.reserve(1)
        if (heads, rows, width) not in self.recorded:
            decoder, head, cache = self.decoder, self.head, self.cache

            def step() -> None:
                choose_fixed(decoder, head, heads)
                advance(decoder, head, cache, width=width)

            self.recorded[heads, rows, width] = record(step, head.tensors())
        self.recorded[heads, rows, width]()
        self.loop.steps += 1

    def collect(self) -> Iterator[GenerationResult]:
        """Yield what is finished, free its rows, and close up if there are too many for those that wait."""
        seen = self.watch.look(self.head.phases)
        if seen is None:
            return
        ended = [row for row, job in enumerate(self.running) if job is not None and seen.over[row]]
        begun = [row for row, job in enumerate(self.running) if job is not None and self.is_early(row, seen)]
        yield from self.hand_out(ended, seen, early=False)
        yield from self.hand_out(begun, seen, early=True)
        blocks = self.loop.rules.blocks is not None
        self.all_speech = not blocks and all(s or o for s, o in zip(seen.speech, seen.over, strict=True))
        self.close_up()

    def is_early(self, row: int, seen: Seen) -> bool:
        """Return whether a row's beginning is due to be reported."""
        job, early = self.running[row], self.loop.early
        if job is None or not early or seen.over[row] or job.number in self.told:
            return False
        return seen.spoken[row] >= early

    def hand_out(self, rows: list[int], seen: Seen, *, early: bool) -> Iterator[GenerationResult]:
        """Yield the ids of these rows; free them unless the reply goes on."""
        if not rows:
            return
        made = self.head.made[torch.tensor(rows, device=self.device)].tolist()
        for row, ids in zip(rows, made, strict=True):
            job = self.running[row]
            assert job is not None  # the caller chose rows in use
            if early:
                self.told.add(job.number)
            else:
                self.running[row] = None
            yield GenerationResult(
                job=job, ids=tuple(ids[: seen.count[row]]), ended=seen.done[row], early=early
            )

    def close_up(self) -> None:
        """With nobody waiting any more, move the rows in use to the front and step only those."""
        used = [row for row, job in enumerate(self.running) if job is not None]
        if not used or self.waiting or not self.exhausted or self.loop.hook is not None:
            return
        rows = len(used)
        if self.loop.record is not None:
            rows = power_of_two(rows)  # few shapes to record
        if rows > CLOSE_UP * len(self.running):
            return
        at = torch.tensor(used, device=self.device)
        self.cache.gather(at)
        self.head.gather(at)
        self.head = self.slots.head(rows)
        self.head.phases.done[len(used) :] = True
        spare: list[Job | None] = [None] * (rows - len(used))
        self.running = [*(self.running[row] for row in used), *spare]
        self.begun = [*(self.begun[row] for row in used), *(0 for _ in spare)]


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
    prefix: KVCache | None = None

    @property
    def positions(self) -> int:
        """How many positions the prompt takes, prefix included."""
        return len(self.prompt) + (self.prefix.slots if self.prefix is not None else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationResult:
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
