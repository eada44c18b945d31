"""A pool of workers for one system or annotator: dispatches calls and replaces dead workers."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from echat_eval.errors import Unavailable, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from echat_eval.executors.pickling import RemoteResult

__all__ = ["MAX_WORKER_RESTARTS", "Pool", "WorkerHandle"]

#: Workers that one call may lose before its row is "missing", and that one place may lose in succession,
#: without an answer, before it is given up.
MAX_WORKER_RESTARTS = 3
#: Seconds for the cluster to start a worker, without loading its copy.
START_TIMEOUT = 300.0
#: Seconds for a copy to close before its process is killed.
CLOSE_TIMEOUT = 5.0


class RemoteMethod(Protocol):
    """A method of a remote worker."""

    def remote(self, *args: object) -> RemoteAnswer:
        """Start a call."""


class RemoteAnswer(Protocol):
    """The pending answer of a remote worker."""

    def future(self) -> Future[object]:
        """Return a future of the answer."""


class WorkerHandle(Protocol):
    """A remote `worker.Worker`, as ray refers to it."""

    location: RemoteMethod
    load: RemoteMethod
    call: RemoteMethod
    watch: RemoteMethod
    close: RemoteMethod


@dataclass(slots=True)
class _Place:
    """One place for a worker on the cluster; a dead worker is replaced there."""

    number: int
    worker: WorkerHandle | None = None
    free_calls: int = 0
    failures: int = 0  # workers lost in succession without an answer
    given_up: bool = False


class Pool:
    """Keeps one worker running at each place, and sends each call to the worker with the most free calls.

    Use it on the event loop only.

    Args:
        label: "system" or "annotator" and its name, for messages.
        start: starts a worker at a place and returns its handle.
        stop: ends a worker's process.
        places: number of workers.
        calls: maximum number of concurrent calls of one worker.
    """

    def __init__(
        self,
        label: str,
        *,
        start: Callable[[int], WorkerHandle],
        stop: Callable[[WorkerHandle], None],
        places: int,
        calls: int,
    ) -> None:
        self._label, self._start_worker, self._stop_worker, self._calls = label, start, stop, calls
        self._places = [_Place(number) for number in range(places)]
        self._keepers: list[asyncio.Task[None]] = []
        self._changed = asyncio.Condition()
        self._fault: BaseException | None = None

    async def load(self) -> None:
        """Start every worker, and return once the first is ready; the others join later.

        Raises:
            BaseException: the error of loading, if no worker could be started.
        """
        self._keepers = [asyncio.ensure_future(self._keep(place)) for place in self._places]
        async with self._changed:
            await self._changed.wait_for(self._is_ready)
        if self._fault is not None:
            raise self._fault

    async def call(self, method: str, message: bytes) -> bytes:
        """Make a call on one worker; if the worker dies, repeat the call on another.

        Raises:
            Unavailable: too many workers died during this call, or none is left.
            UsageError: a machine is misconfigured.
        """
        from ray.exceptions import RayActorError, RayError

        for _ in range(MAX_WORKER_RESTARTS):
            place, worker = await self._take_place()
            try:
                answer = cast("bytes", await _remote_call(worker.call, method, message))
            except RayError as error:
                cause = _last_line(error)
                # The keeper replaces the worker; until then no other call may go there.
                if isinstance(error, RayActorError) and place.worker is worker:
                    place.worker, place.free_calls = None, 0
            else:
                place.failures = 0
                return answer
            finally:
                await self._release(place, worker)
        raise Unavailable(
            f"{MAX_WORKER_RESTARTS} workers died during this call; cause of the last death: {cause}"
        )

    async def close(self) -> None:
        """Close every copy and end its process."""
        ready = [place.worker for place in self._places if place.worker is not None]
        for place, keeper in zip(self._places, self._keepers, strict=False):
            if place.worker is None:  # still starting, and no call waits for it
                keeper.cancel()
        # After a copy is closed, `watch` returns, and the keeper ends the worker.
        calls = [_remote_call(worker.close) for worker in ready]
        closing: list[asyncio.Future[object] | asyncio.Task[None]] = [*calls, *self._keepers]
        for pending in (await asyncio.wait(closing, timeout=CLOSE_TIMEOUT))[1] if closing else ():
            pending.cancel()
        await asyncio.gather(*closing, return_exceptions=True)

    def _is_ready(self) -> bool:
        """Return whether a worker is free, or all are lost."""
        return self._fault is not None or any(place.free_calls for place in self._places)

    async def _take_place(self) -> tuple[_Place, WorkerHandle]:
        """Reserve a call on the worker with the most free calls, once one is ready."""
        async with self._changed:
            await self._changed.wait_for(self._is_ready)
            if isinstance(self._fault, UsageError):
                # The fault may be BadData, which would count for one row only; this one affects every row.
                raise UsageError(str(self._fault)) from self._fault
            if self._fault is not None:
                raise Unavailable(f"{self._label} has no worker left: {self._fault}")
            place = max(self._places, key=lambda place: place.free_calls)
            place.free_calls -= 1
            assert place.worker is not None  # a place without a worker has no free calls
            return place, place.worker

    async def _release(self, place: _Place, worker: WorkerHandle) -> None:
        async with self._changed:
            if place.worker is worker:
                place.free_calls += 1
            self._changed.notify_all()

    async def _keep(self, place: _Place) -> None:
        """Keep a worker running at a place: start it, wait for its death, and replace it."""
        from ray.exceptions import RayError

        last: BaseException = Unavailable("never started")
        while place.failures < MAX_WORKER_RESTARTS:
            worker = self._start_worker(place.number)
            try:
                started = _remote_call(worker.location)
                # Not wait_for, which can swallow a cancellation before Python 3.12.
                if not (await asyncio.wait({started}, timeout=START_TIMEOUT))[0]:
                    last = Unavailable(
                        f"the cluster started no worker in {START_TIMEOUT:g} s: it is busy or too small; "
                        "see `ray status`"
                    )
                    break
                started.result()
                loaded = cast("RemoteResult", await _remote_call(worker.load))
                if loaded.error is None:
                    await self._add_worker(place, worker)
                    await _remote_call(worker.watch)
                    return  # the copy was closed
                last = loaded.error.rebuild()
            except RayError as error:
                last = Unavailable(_last_line(error))
            finally:
                with suppress(RayError):
                    self._stop_worker(worker)
            if isinstance(last, UsageError):
                break  # the same for every worker
            if place.worker is worker:
                place.worker, place.free_calls = None, 0
            place.failures += 1
        place.given_up = True
        if isinstance(last, UsageError) or all(place.given_up for place in self._places):
            async with self._changed:
                self._fault = self._fault or last
                self._changed.notify_all()

    async def _add_worker(self, place: _Place, worker: WorkerHandle) -> None:
        async with self._changed:
            place.worker, place.free_calls = worker, self._calls
            self._changed.notify_all()


def _remote_call(method: RemoteMethod, *args: object) -> asyncio.Future[object]:
    answer = asyncio.wrap_future(method.remote(*args).future())
    # Retrieve the exception, as the caller may have stopped waiting.
    answer.add_done_callback(lambda done: done.cancelled() or done.exception())
    return answer


def _last_line(error: BaseException) -> str:
    """Return the last line of a ray error, which states the cause; ids and traces come before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
