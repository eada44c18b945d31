"""Work queues that feed one another on one event loop and stop together.

Each system, annotator and scorer has one queue. The first error stops all queues: queued jobs are dropped,
jobs in flight finish and their results are kept, and the error is raised.
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

#: Seconds that closing may take after the work is abandoned.
ABANDON_TIMEOUT = 3.0


class Workflow:
    """The queues of one run.

    Attributes:
        stopped: no further job is started.
        error: the error that stopped the work; None if the caller stopped it.
    """

    def __init__(self) -> None:
        self.stopped = False
        self.error: BaseException | None = None
        self._queues: list[WorkQueue[Any]] = []  # of jobs of any type

    def queue(
        self,
        name: str,
        work: Callable[[list[T]], Awaitable[None]],
        *,
        width: int = 1,
        size: int = 1,
        held: bool = False,
        load: Callable[[], object] | None = None,
        close: Callable[[], object] | None = None,
    ) -> WorkQueue[T]:
        """Open a queue.

        Args:
            name: of the system, annotator or scorer that does the work, for its threads.
            work: processes one batch of jobs.
            width: maximum number of batches in flight.
            size: jobs per batch.
            held: start no job before `release`.
            load: called before the first job.
            close: called at the end if `load` was due.
        """
        queue: WorkQueue[T] = WorkQueue(
            self, name, work, width=width, size=size, held=held, load=load, close=close
        )
        self._queues.append(queue)
        return queue

    async def drain(self, queue: WorkQueue[Any]) -> None:
        """Wait until a queue, which receives no further jobs, has finished all of them.

        Raises:
            BaseException: the error that stopped the work meanwhile.
        """
        queue.release()
        await queue.end()
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """Start no further job; jobs in flight continue."""
        self.stopped = True
        for queue in self._queues:
            queue.pump()

    def fail(self, error: BaseException) -> None:
        """Stop because of an error; only the first error is kept."""
        self.error = self.error or error
        self.stop()

    @property
    def in_flight(self) -> int:
        """Return the number of jobs in flight."""
        return sum(queue.in_flight for queue in self._queues)

    async def settle(self) -> None:
        """Finish all jobs in flight and close every queue."""
        for queue in self._queues:
            await queue.end()
        for queue in self._queues:
            await queue.close()

    async def abandon(self) -> None:
        """Cancel all jobs in flight and close every queue within `ABANDON_TIMEOUT`."""
        self.stop()
        for queue in self._queues:
            queue.cancel()
        closing = [asyncio.ensure_future(queue.close()) for queue in self._queues]
        if closing:
            await asyncio.wait(closing, timeout=ABANDON_TIMEOUT)


class WorkQueue(Generic[T]):
    """The queued jobs of one owner and its batches in flight; see `Workflow.queue`.

    Use it on the event loop only.

    Attributes:
        threads: run functions that are not coroutine functions.
    """

    def __init__(
        self,
        workflow: Workflow,
        name: str,
        work: Callable[[list[T]], Awaitable[None]],
        *,
        width: int,
        size: int,
        held: bool,
        load: Callable[[], object] | None,
        close: Callable[[], object] | None,
    ) -> None:
        self._workflow, self._work, self._width, self._size = workflow, work, width, size
        self._held, self._load, self._close = held, load, close
        self.threads = Threads(width, name=f"echat-eval {name}")
        self._unranked: deque[T] = deque()
        self._ranked: dict[str, list[tuple[float, int, T]]] = {}
        self._numbers = count()
        self._tasks: dict[asyncio.Task[None], int] = {}
        self._loading: asyncio.Task[None] | None = None
        self._closed = self._ended = False
        self._empty = asyncio.Event()

    def put(self, job: T) -> None:
        """Queue a job; jobs start in the order of arrival."""
        self._unranked.append(job)
        self.pump()

    def put_ranked(self, job: T, *, kind: str, rank: float) -> None:
        """Queue a job that shares a batch only with jobs of the same kind and of similar rank."""
        insort(self._ranked.setdefault(kind, []), (rank, next(self._numbers), job))
        self.pump()

    def release(self) -> None:
        """Start a held queue."""
        self._held = False
        self.pump()

    async def end(self) -> None:
        """Wait until all jobs are done; as no more will come, batches need not be full."""
        self._ended = True
        self.pump()
        await self._empty.wait()

    def pump(self) -> None:
        """Start as many batches as the queue's width allows."""
        while len(self._tasks) < self._width and (batch := self._next_batch()):
            task = asyncio.ensure_future(self._process(batch))
            self._tasks[task] = len(batch)
            task.add_done_callback(self._finished)
        if self._tasks or not (self._workflow.stopped or (self._ended and not self._has_jobs())):
            self._empty.clear()
        else:
            self._empty.set()

    @property
    def in_flight(self) -> int:
        """Return the number of jobs in flight."""
        return sum(self._tasks.values())

    def cancel(self) -> None:
        """Cancel the batches in flight; a call on a thread continues, but its result is discarded."""
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """Close the owner if it was loaded."""
        if self._closed:
            return
        self._closed = True
        if self._loading is not None:
            await self._call(self._close)
        self.threads.shutdown(wait=False)

    def _has_jobs(self) -> bool:
        return bool(self._unranked) or any(self._ranked.values())

    def _next_batch(self) -> list[T]:
        if self._workflow.stopped or self._held:
            return []
        jobs = self._unranked
        if len(jobs) >= self._size or (jobs and self._ended):
            return [jobs.popleft() for _ in range(min(self._size, len(jobs)))]
        ranked = max(self._ranked.values(), key=len, default=[])
        if not ranked or (len(ranked) < self._size and not self._ended):
            return []
        # Highest rank first: the job that needs the most memory should fail early.
        batch = ranked[-self._size :]
        del ranked[-self._size :]
        return [job for _, _, job in batch]

    async def _process(self, batch: list[T]) -> None:
        try:
            if self._loading is None:
                self._loading = asyncio.ensure_future(self._call(self._load))
            await asyncio.shield(self._loading)
            await self._work(batch)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  stored, and raised by `drain`
            self._workflow.fail(error)

    def _finished(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        self.pump()

    async def _call(self, function: Callable[[], object] | None) -> None:
        if function is None:
            return
        if inspect.iscoroutinefunction(function):
            await function()
        else:
            await asyncio.get_running_loop().run_in_executor(self.threads, function)
