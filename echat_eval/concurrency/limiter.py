"""Adaptive limits on concurrent calls, one per server, shared by all its callers."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from urllib.parse import urlsplit

from echat_eval.errors import Unavailable

__all__ = ["Limiter", "QueueTime", "exclude_from_latency", "limiter_for", "measure_queue_time"]

#: A window whose mean latency is this multiple of the best window's means that calls queue at the server.
#: Replies differ in length, so a smaller ratio is noise.
OVERLOAD_RATIO = 2.0
#: Calls in the shortest window; the mean of fewer is too noisy.
WINDOW = 8
#: Largest share of a window that the loop's thread may be working; above it, the latency is our own.
BUSY = 0.6
#: Seconds. Limit on the pause that a server's Retry-After can cause.
LONGEST_PAUSE = 60.0


@dataclass(slots=True)
class QueueTime:
    """Seconds that the calls of one task spent in our own queues; not part of the server's latency."""

    seconds: float = 0.0


_queue_time: ContextVar[QueueTime | None] = ContextVar("queue_time", default=None)


@contextmanager
def measure_queue_time() -> Iterator[QueueTime]:
    """Measure the time that calls within this block wait for a limiter."""
    measured = QueueTime()
    token = _queue_time.set(measured)
    try:
        yield measured
    finally:
        _queue_time.reset(token)


def exclude_from_latency(seconds: float) -> None:
    """Subtract seconds spent in transit or in a queue from the latency of this task's call."""
    if (measured := _queue_time.get()) is not None:
        measured.seconds += seconds


class Limiter:
    """Limits concurrent calls to one server, and adapts the limit to the server's behaviour.

    The limit starts at the ceiling. An overloaded server or a timeout halves it, once per round of calls, and
    a Retry-After pauses all calls. The limit drops by a fifth when latency doubles over the best window,
    unless this process was busy itself. Every other window raises it by one. Use it on one event loop.

    Attributes:
        ceiling: maximum of the limit.
        limit: calls allowed at present; at least 1.
    """

    def __init__(
        self,
        ceiling: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        cpu_time: Callable[[], float] = time.thread_time,
    ) -> None:
        self.ceiling = ceiling
        self.limit = float(ceiling)
        self._clock, self._cpu_time = clock, cpu_time
        self._in_flight = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._paused_until = 0.0
        self._halved_at = float("-inf")
        self._best: float | None = None
        self._window: list[float] = []
        self._window_start = (float("-inf"), 0.0)

    def raise_to(self, ceiling: int) -> None:
        """Raise the ceiling for a further user of the server; a lower one changes nothing."""
        if ceiling > self.ceiling:
            self.limit += ceiling - self.ceiling
            self.ceiling = ceiling

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait until a call is allowed, and adapt the limit to its outcome."""
        arrived = self._clock()
        await self._enter()
        started = self._clock()
        exclude_from_latency(started - arrived)
        try:
            yield
        except Unavailable as error:
            if error.overloaded:
                self._on_overload(started, error.retry_after)
            raise
        else:
            self._on_success(self._clock() - started)
        finally:
            self._in_flight -= 1
            self._wake()

    async def _enter(self) -> None:
        while (pause := self._paused_until - self._clock()) > 0:
            await asyncio.sleep(pause)
        if self._in_flight < int(self.limit) and not self._queue:
            self._in_flight += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn  # `_wake` has counted this call as in flight
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._in_flight -= 1
                self._wake()
            raise

    def _wake(self) -> None:
        pause = self._paused_until - self._clock()
        if pause > 0 and self._queue:
            asyncio.get_running_loop().call_later(pause, self._wake)
            return
        while self._queue and self._in_flight < int(self.limit):
            turn = self._queue.popleft()
            if not turn.done():
                self._in_flight += 1
                turn.set_result(None)

    def _on_overload(self, started: float, retry_after: float | None) -> None:
        now = self._clock()
        if retry_after:
            self._paused_until = max(self._paused_until, now + min(retry_after, LONGEST_PAUSE))
        # The outcome of a call that started before the last halving is no evidence about the new limit.
        if started >= self._halved_at:
            self.limit = max(1.0, self.limit / 2)
            self._halved_at = now
            self._window.clear()

    def _on_success(self, seconds: float) -> None:
        if not self._window:
            self._window_start = self._clock(), self._cpu_time()
        self._window.append(seconds)
        if len(self._window) < max(WINDOW, int(self.limit)):
            return
        mean = sum(self._window) / len(self._window)
        self._window.clear()
        wall, cpu = self._clock() - self._window_start[0], self._cpu_time() - self._window_start[1]
        if cpu > BUSY * wall:
            return  # the latency is our own, not the server's
        if self._best is not None and mean > OVERLOAD_RATIO * self._best:
            self.limit = max(1.0, self.limit * 0.8)
            # Latency may have changed for good, so the best is relaxed to let the limit rise again.
            self._best *= 1.1
        else:
            self._best = mean if self._best is None else min(self._best, mean)
            self.limit = min(float(self.ceiling), self.limit + 1)


_limiters: dict[str, Limiter] = {}


def limiter_for(url: str, ceiling: int) -> Limiter:
    """Return the limiter of a server; all its callers share one.

    Args:
        url: any URL on the server; only scheme, host and port count.
        ceiling: maximum of concurrent calls for this caller.
    """
    parts = urlsplit(url)
    limiter = _limiters.setdefault(f"{parts.scheme}://{parts.netloc}", Limiter(ceiling))
    limiter.raise_to(ceiling)
    return limiter
