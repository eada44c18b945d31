"""How work flows: lanes that feed one another on one event loop, and end together.

A lane is the queue of one system or instrument. The first error stops every lane: what is queued is
dropped, what is in flight is finished and kept, and the error is raised.
"""

from __future__ import annotations

import asyncio
import inspect
from bisect import insort
from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from echat_eval.concurrency.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["WorkQueue", "Workflow"]

T = TypeVar("T")

#: Seconds that closing may take once we were told to stop now.
HASTE = 3.0


class Workflow:
    """All lanes of one piece of work.

    Attributes:
        stopped: nothing new is begun.
        error: what stopped it, if anything but the caller did.
    """

    def __init__(self) -> None:
        self.stopped = False
        self.error: BaseException | None = None
        self._lanes: list[WorkQueue[Any]] = []

    def lane(
        self,
        owner: Any,
        work: Callable[[list[T]], Awaitable[None]],
        *,
        size: int = 1,
        held: bool = False,
    ) -> WorkQueue[T]:
        """Open a lane.

        Args:
            owner: who does the work; its `calls_at_once` is the lane's width, its `load` is called before
                the first job and its `close` in the end.
            work: does one batch of jobs.
            size: jobs in a batch.
            held: nothing is begun before `release`.
        """
        made: WorkQueue[T] = WorkQueue(self, owner, work, size=size, held=held)
        self._lanes.append(made)
        return made

    async def drain(self, lane: WorkQueue[Any]) -> None:
        """Wait until a lane has done all that was put into it; nothing more is.

        Raises:
            whatever stopped the flow meanwhile.
        """
        lane.release()
        await lane.end()
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """Begin nothing new; what is in flight goes on."""
        self.stopped = True
        for lane in self._lanes:
            lane.pump()

    def fail(self, error: BaseException) -> None:
        """Stop because of an error; the first one is the news."""
        self.error = self.error or error
        self.stop()

    @property
    def in_flight(self) -> int:
        """Return how many jobs are being done."""
        return sum(lane.in_flight for lane in self._lanes)

    async def settle(self) -> None:
        """Let every lane finish what is in flight, and close them all."""
        for lane in self._lanes:
            await lane.end()
        for lane in self._lanes:
            await lane.close()

    async def abandon(self) -> None:
        """Give up what is in flight, and close what can be closed quickly."""
        self.stop()
        for lane in self._lanes:
            lane.cancel()
        closing = [asyncio.ensure_future(lane.close()) for lane in self._lanes]
        if closing:
            await asyncio.wait(closing, timeout=HASTE)


class WorkQueue(Generic[T]):
    """A queue and the jobs in flight; see `Workflow.lane`. Used on the event loop only.

    Attributes:
        threads: on which what is no coroutine is called.
    """

    def __init__(
        self, flow: Workflow, owner: Any, work: Callable[[list[T]], Awaitable[None]], *, size: int, held: bool
    ) -> None:
        self._flow, self._owner, self._work, self._size, self._held = flow, owner, work, size, held
        self._width = max(1, getattr(owner, "calls_at_once", 1))
        self.threads = Threads(self._width, name=f"echat-eval {owner.name}")
        self._first_come: deque[T] = deque()
        self._ranked: dict[str, list[tuple[float, int, T]]] = {}
        self._numbers = count()
        self._tasks: dict[asyncio.Task[None], int] = {}
        self._loading: asyncio.Task[None] | None = None
        self._closed = self._ended = False
        self._empty = asyncio.Event()

    def put(self, job: T) -> None:
        """Queue a job; jobs are begun in the order they came."""
        self._first_come.append(job)
        self.pump()

    def put_ranked(self, job: T, *, kind: str, rank: float) -> None:
        """Queue a job that shares a batch only with its own kind, and with neighbours in rank."""
        insort(self._ranked.setdefault(kind, []), (rank, next(self._numbers), job))
        self.pump()

    def release(self) -> None:
        """Let a held lane begin."""
        self._held = False
        self.pump()

    async def end(self) -> None:
        """Wait until everything is done; nothing more is put in, so batches need not be full."""
        self._ended = True
        self.pump()
        await self._empty.wait()

    def pump(self) -> None:
        """Begin what can be begun."""
        while len(self._tasks) < self._width and (batch := self._next()):
            task = asyncio.ensure_future(self._do(batch))
            self._tasks[task] = len(batch)
            task.add_done_callback(self._did)
        if self._tasks or not (self._flow.stopped or (self._ended and not self._waiting())):
            self._empty.clear()
        else:
            self._empty.set()

    @property
    def in_flight(self) -> int:
        """Return how many jobs are being done."""
        return sum(self._tasks.values())

    def cancel(self) -> None:
        """Give up what is in flight; a call on a thread goes on, but nobody waits for it."""
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """Close the owner, if it was loaded."""
        if self._closed:
            return
        self._closed = True
        if self._loading is not None:
            await self._call(getattr(self._owner, "close", None))
        self.threads.shutdown(wait=False)

    def _waiting(self) -> bool:
        return bool(self._first_come) or any(self._ranked.values())

    def _next(self) -> list[T]:
        if self._flow.stopped or self._held:
            return []
        queue = self._first_come
        if len(queue) >= self._size or (queue and self._ended):
            return [queue.popleft() for _ in range(min(self._size, len(queue)))]
        ranked = max(self._ranked.values(), key=len, default=[])
        if not ranked or (len(ranked) < self._size and not self._ended):
            return []
        # The highest first: what needs the most memory should fail early.
        batch = ranked[-self._size :]
        del ranked[-self._size :]
        return [job for _, _, job in batch]

    async def _do(self, batch: list[T]) -> None:
        try:
            if self._loading is None:
                self._loading = asyncio.ensure_future(self._call(getattr(self._owner, "load", None)))
            await asyncio.shield(self._loading)
            await self._work(batch)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  the flow keeps it and whoever drains it raises it
            self._flow.fail(error)

    def _did(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        self.pump()

    async def _call(self, function: Callable[[], Any] | None) -> None:
        if function is None:
            return
        if inspect.iscoroutinefunction(function):
            await function()
        else:
            await asyncio.get_running_loop().run_in_executor(self.threads, function)
