"""How many calls an endpoint bears at once: found out by asking it, and shared by all who ask it."""

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

__all__ = ["Limiter", "Waited", "endpoint", "exclude_from_latency", "waiting"]

#: A window's mean latency this many times the best window's says that calls queue at the server.
#: Replies differ in length, so less would be noise.
CROWDED = 2.0
#: Calls in the shortest window; fewer have no mean worth acting on.
WINDOW = 8
#: Share of a window that the loop's own thread may have been working; beyond, the latency is its own.
BUSY = 0.6
#: Seconds of pause at most, whatever a server asks for.
LONGEST_PAUSE = 60.0


@dataclass(slots=True)
class Waited:
    """Seconds that calls of one task spent in a queue of ours: they are no latency of the server's."""

    seconds: float = 0.0


_waited: ContextVar[Waited | None] = ContextVar("waited", default=None)


@contextmanager
def waiting() -> Iterator[Waited]:
    """Count what the calls made within this block wait for a limit."""
    counted = Waited()
    token = _waited.set(counted)
    try:
        yield counted
    finally:
        _waited.reset(token)


def exclude_from_latency(seconds: float) -> None:
    """Take seconds that this task's call spent on its way or in a queue off its latency."""
    if (counted := _waited.get()) is not None:
        counted.seconds += seconds


class Limiter:
    """Lets so many calls through at once, and learns how many are good.

    It begins with as many as were asked for. A server that says "not now", or does not answer in time,
    halves them, once per round of calls; a Retry-After holds every call back, not only the one it was
    said to. Latency that doubles over the best seen takes off a fifth, unless it was this process that was
    busy. Every window without trouble adds one again. Used on one event loop.

    Attributes:
        most: never more than this.
        limit: how many now; at least 1.
    """

    def __init__(
        self,
        most: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        worked: Callable[[], float] = time.thread_time,
    ) -> None:
        self.most = most
        self.limit = float(most)
        self._clock, self._worked = clock, worked
        self._busy = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._paused_until = 0.0
        self._calmed_at = float("-inf")
        self._best: float | None = None
        self._window: list[float] = []
        self._window_began = (float("-inf"), 0.0)

    def raise_to(self, most: int) -> None:
        """Allow more, where a second user of the endpoint asks for more."""
        if most > self.most:
            self.limit += most - self.most
            self.most = most

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a place, and learn from how the call in it ends."""
        came = self._clock()
        await self._enter()
        begun = self._clock()
        exclude_from_latency(begun - came)
        try:
            yield
        except Unavailable as error:
            if error.overloaded:
                self._trouble(begun, error.retry_after)
            raise
        else:
            self._went_well(self._clock() - begun)
        finally:
            self._busy -= 1
            self._wake()

    async def _enter(self) -> None:
        while (pause := self._paused_until - self._clock()) > 0:
            await asyncio.sleep(pause)
        if self._busy < int(self.limit) and not self._queue:
            self._busy += 1
            return
        place = asyncio.get_running_loop().create_future()
        self._queue.append(place)
        try:
            await place  # whoever wakes us has counted us as busy
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._busy -= 1
                self._wake()
            raise

    def _wake(self) -> None:
        pause = self._paused_until - self._clock()
        if pause > 0 and self._queue:
            asyncio.get_running_loop().call_later(pause, self._wake)
            return
        while self._queue and self._busy < int(self.limit):
            place = self._queue.popleft()
            if not place.done():
                self._busy += 1
                place.set_result(None)

    def _trouble(self, begun: float, retry_after: float | None) -> None:
        now = self._clock()
        if retry_after:
            self._paused_until = max(self._paused_until, now + min(retry_after, LONGEST_PAUSE))
        # Calls that were under way when it was halved say nothing about the new number.
        if begun >= self._calmed_at:
            self.limit = max(1.0, self.limit / 2)
            self._calmed_at = now
            self._window.clear()

    def _went_well(self, seconds: float) -> None:
        if not self._window:
            self._window_began = self._clock(), self._worked()
        self._window.append(seconds)
        if len(self._window) < max(WINDOW, int(self.limit)):
            return
        mean = sum(self._window) / len(self._window)
        self._window.clear()
        wall, work = self._clock() - self._window_began[0], self._worked() - self._window_began[1]
        if work > BUSY * wall:
            return  # it says nothing of the server
        if self._best is not None and mean > CROWDED * self._best:
            self.limit = max(1.0, self.limit * 0.8)
            # What is usual may change for good: the best fades, so that the limit can climb again.
            self._best *= 1.1
        else:
            self._best = mean if self._best is None else min(self._best, mean)
            self.limit = min(float(self.most), self.limit + 1)


_limiters: dict[str, Limiter] = {}


def endpoint(url: str, most: int) -> Limiter:
    """Return the limiter of a server, the same one for everybody who asks it.

    Args:
        url: any on the server; only scheme, host and port count.
        most: calls at once that this user would make.
    """
    parts = urlsplit(url)
    limiter = _limiters.setdefault(f"{parts.scheme}://{parts.netloc}", Limiter(most))
    limiter.raise_to(most)
    return limiter
