"""The copies of one system or annotator on a cluster: who is free, who died, who takes over."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from echat_eval.errors import Unavailable, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from echat_eval.executors.pickling import RemoteResult

__all__ = ["MAX_WORKER_RESTARTS", "Pool"]

#: Workers that a call may lose before its row is missing; and in a row, without an answer, that a place may.
MAX_WORKER_RESTARTS = 3
#: Seconds that the cluster may take to begin a worker; loading comes on top of it.
PLACING = 300.0
#: Seconds that a copy may take to close before its process is ended.
CLOSING = 5.0


@dataclass(slots=True)
class _Place:
    """Where one worker is, or will be again once it died."""

    number: int
    worker: Any = None
    free: int = 0
    fruitless: int = 0  # workers lost in a row without an answer from any of them
    given_up: bool = False


class Pool:
    """Keeps one worker alive at every place, and gives each call to the one with most room.

    Used on the event loop only.

    Args:
        what: "system" or "annotator" and its name, for messages.
        start: starts a worker at a place and returns its handle.
        stop: ends a worker's process.
        places: how many.
        calls: that one worker bears at once.
    """

    def __init__(
        self,
        what: str,
        *,
        start: Callable[[int], Any],
        stop: Callable[[Any], None],
        places: int,
        calls: int,
    ) -> None:
        self._what, self._start_worker, self._stop_worker, self._calls = what, start, stop, calls
        self._places = [_Place(number) for number in range(places)]
        self._keeping: list[asyncio.Task[None]] = []
        self._changed = asyncio.Condition()
        self._fault: BaseException | None = None

    async def load(self) -> None:
        """Begin every worker and return once the first is ready; the others join when they are.

        Raises:
            whatever loading raised, if no worker could be had.
        """
        self._keeping = [asyncio.ensure_future(self._keep(place)) for place in self._places]
        async with self._changed:
            await self._changed.wait_for(lambda: self._fault or any(place.free for place in self._places))
        if self._fault is not None:
            raise self._fault

    async def call(self, method: str, parcel: bytes) -> bytes:
        """Have one worker make a call; if it dies on the way, have another one make it.

        Raises:
            Unavailable: too many died, or there are none any more.
            UsageError: a machine is set up wrongly.
        """
        from ray.exceptions import RayActorError, RayError

        for _ in range(MAX_WORKER_RESTARTS):
            place = await self._taken()
            worker = place.worker
            try:
                answer: bytes = await _answered(worker.call, method, parcel)
            except RayError as error:
                lost = _line(error)
                # Its keeper hears of a death as well; until then nobody else is sent there.
                if isinstance(error, RayActorError) and place.worker is worker:
                    place.worker, place.free = None, 0
            else:
                place.fruitless = 0
                return answer
            finally:
                await self._released(place, worker)
        raise Unavailable(
            f"{MAX_WORKER_RESTARTS} workers were lost while they answered this, the last one so: {lost}"
        )

    async def close(self) -> None:
        """Close every copy and end its process."""
        ready = [place.worker for place in self._places if place.worker is not None]
        for place, keeper in zip(self._places, self._keeping, strict=False):
            if place.worker is None:  # it is being begun, and no call waits for it
                keeper.cancel()
        # Once a copy is closed, `watch` returns, and its keeper dismisses the worker.
        ending: list[asyncio.Future[Any]] = [*map(_answered, (w.close for w in ready)), *self._keeping]
        for late in (await asyncio.wait(ending, timeout=CLOSING))[1] if ending else ():
            late.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    async def _taken(self) -> _Place:
        async with self._changed:
            await self._changed.wait_for(lambda: self._fault or any(place.free for place in self._places))
            if isinstance(self._fault, UsageError):
                # Not as the BadData it may be: that would be this row's trouble, and it is every row's.
                raise UsageError(str(self._fault)) from self._fault
            if self._fault is not None:
                raise Unavailable(f"{self._what} has no worker any more: {self._fault}")
            place = max(self._places, key=lambda place: place.free)
            place.free -= 1
            return place

    async def _released(self, place: _Place, worker: Any) -> None:
        async with self._changed:
            if place.worker is worker:
                place.free += 1
            self._changed.notify_all()

    async def _keep(self, place: _Place) -> None:
        """Have a worker at a place, and another one whenever it is gone."""
        from ray.exceptions import RayError

        last: BaseException = Unavailable("never begun")
        while place.fruitless < MAX_WORKER_RESTARTS:
            worker = self._start_worker(place.number)
            try:
                begun = _answered(worker.where)
                # Not wait_for, which until Python 3.12 may swallow that we are cancelled.
                if not (await asyncio.wait({begun}, timeout=PLACING))[0]:
                    last = Unavailable(f"the cluster began no worker in {PLACING:g} s: busy, or too small?")
                    break
                begun.result()
                answer: RemoteResult = await _answered(worker.load)
                if answer.error is None:
                    await self._let_in(place, worker)
                    await _answered(worker.watch)
                    return  # it was closed
                last = answer.error.again()
            except RayError as error:
                last = Unavailable(_line(error))
            finally:
                with suppress(RayError):
                    self._stop_worker(worker)
            if isinstance(last, UsageError):
                break  # another worker would say the same
            if place.worker is worker:
                place.worker, place.free = None, 0
            place.fruitless += 1
        place.given_up = True
        if isinstance(last, UsageError) or all(place.given_up for place in self._places):
            async with self._changed:
                self._fault = self._fault or last
                self._changed.notify_all()

    async def _let_in(self, place: _Place, worker: Any) -> None:
        async with self._changed:
            place.worker, place.free = worker, self._calls
            self._changed.notify_all()


def _answered(method: Any, *given: Any) -> asyncio.Future[Any]:
    answer = asyncio.wrap_future(method.remote(*given).future())
    # Who gave up waiting does not care how it ends.
    answer.add_done_callback(lambda done: done.cancelled() or done.exception())
    return answer


def _line(error: BaseException) -> str:
    """Return the line in which ray says the cause of a death; ids and traces come before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
