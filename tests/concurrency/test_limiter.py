"""The limiter: it lowers the limit of an overloaded server, raises it again, and is shared by all callers."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from echat_eval.concurrency.limiter import Limiter, limiter_for, measure_queue_time
from echat_eval.errors import Unavailable


class SimulatedTimeLoop(asyncio.SelectorEventLoop):
    """An event loop with simulated time, which advances only while all tasks wait."""

    def __init__(self) -> None:
        self.now = 0.0
        outer = self

        class Selector(selectors.DefaultSelector):
            def select(self, timeout: float | None = None) -> Any:
                outer.now += timeout or 0.0
                return super().select(0)

        super().__init__(Selector())

    def time(self) -> float:
        return self.now


def run(work: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=SimulatedTimeLoop) as runner:
        return runner.run(work)


def limiter_of(ceiling: int, busy: float = 0.0) -> Limiter:
    """Return a limiter on the loop's time; `busy` is the share of it that this process works itself."""

    def time() -> float:
        return asyncio.get_running_loop().time()

    return Limiter(ceiling, clock=time, cpu_time=lambda: busy * time())


class Server:
    """Answers in `seconds`; rejects calls beyond its capacity, or queues them for its one worker."""

    def __init__(self, *, capacity: int = 1000, seconds: float = 0.0, queues: bool = False) -> None:
        self.capacity, self.seconds, self.queues = capacity, seconds, queues
        self.in_flight = self.peak = self.rejected = 0

    async def call(self) -> None:
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            if self.queues:
                await asyncio.sleep(self.seconds * max(1.0, self.in_flight / self.capacity))
            elif self.in_flight > self.capacity:
                self.rejected += 1
                await asyncio.sleep(0)
                raise Unavailable("429", overloaded=True)
            else:
                await asyncio.sleep(self.seconds)
        finally:
            self.in_flight -= 1


async def call_many(limiter: Limiter, call: Callable[[], Awaitable[None]], count: int) -> int:
    """Make `count` calls, each repeated until it succeeds; return the number of failed tries."""
    failures = 0

    async def one() -> None:
        nonlocal failures
        while True:
            try:
                async with limiter.slot():
                    return await call()
            except Unavailable:
                failures += 1
                await asyncio.sleep(0.001)

    await asyncio.gather(*(one() for _ in range(count)))
    return failures


def test_concurrent_calls_never_exceed_the_ceiling() -> None:
    server, limiter = Server(seconds=0.001), limiter_of(5)
    run(call_many(limiter, server.call, 60))
    assert server.peak == 5
    assert limiter.limit == 5


def test_the_limit_follows_the_capacity_of_a_server_that_rejects_calls() -> None:
    server, limiter = Server(capacity=4, seconds=0.002), limiter_of(64)
    failures = run(call_many(limiter, server.call, 400))
    assert limiter.limit < 10
    # At a constant 64 calls, a server with a capacity of 4 would reject most of them.
    assert failures < 400
    server.capacity = 64
    run(call_many(limiter, server.call, 1500))
    assert limiter.limit > 20


def test_all_rejections_of_one_round_halve_the_limit_once() -> None:
    limiter = limiter_of(32)

    async def reject_together() -> None:
        async def one() -> None:
            async with limiter.slot():
                await asyncio.sleep(0.001)
                raise Unavailable("429", overloaded=True)

        ends = await asyncio.gather(*(one() for _ in range(32)), return_exceptions=True)
        assert {type(end) for end in ends} == {Unavailable}

    run(reject_together())
    assert limiter.limit == 16


def test_rising_latency_lowers_the_limit() -> None:
    limiter = limiter_of(40)
    steady, overloaded = Server(capacity=1000, seconds=0.004), Server(capacity=4, seconds=0.004, queues=True)
    run(call_many(limiter, steady.call, 80))
    assert limiter.limit == 40
    run(call_many(limiter, overloaded.call, 400))
    assert limiter.limit < 30


def test_latency_of_a_busy_client_does_not_lower_the_limit() -> None:
    limiter = limiter_of(40, busy=0.9)
    steady, overloaded = Server(capacity=1000, seconds=0.004), Server(capacity=4, seconds=0.004, queues=True)
    run(call_many(limiter, steady.call, 80))
    run(call_many(limiter, overloaded.call, 400))
    assert limiter.limit == 40


def test_errors_without_overload_do_not_lower_the_limit() -> None:
    limiter = limiter_of(8)

    async def refuse() -> None:
        for _ in range(20):
            with pytest.raises(Unavailable):
                async with limiter.slot():
                    raise Unavailable("connection refused")

    run(refuse())
    assert limiter.limit == 8


def test_retry_after_pauses_all_calls() -> None:
    limiter, started = limiter_of(4), []

    async def go() -> float:
        with pytest.raises(Unavailable):
            async with limiter.slot():
                raise Unavailable("429", retry_after=0.2, overloaded=True)
        now = asyncio.get_running_loop().time()

        async def call() -> None:
            started.append(asyncio.get_running_loop().time() - now)

        await call_many(limiter, call, 3)
        return now

    run(go())
    assert min(started) >= 0.19


def test_queue_time_is_measured_apart_from_the_call() -> None:
    limiter = limiter_of(1)

    async def timed() -> list[float]:
        async def one() -> float:
            with measure_queue_time() as queue_time:
                async with limiter.slot():
                    await asyncio.sleep(0.05)
            return queue_time.seconds

        return sorted(await asyncio.gather(*(one() for _ in range(3))))

    first, second, third = run(timed())
    assert first < 0.02
    assert 0.03 < second < 0.09 < third


def test_a_call_cancelled_in_the_queue_frees_its_turn() -> None:
    limiter = limiter_of(1)

    async def go() -> None:
        async def call() -> None:
            async with limiter.slot():
                await asyncio.sleep(0.02)

        active = asyncio.ensure_future(call())
        await asyncio.sleep(0)
        queued = asyncio.ensure_future(call())
        await asyncio.sleep(0)
        queued.cancel()
        await asyncio.gather(active, queued, return_exceptions=True)
        await asyncio.wait_for(call(), timeout=1)

    run(go())


def test_all_callers_of_a_server_share_one_limiter() -> None:
    limiter = limiter_for("http://limits.test:81/v1", 4)
    assert limiter_for("http://limits.test:81/v1/chat/completions", 2) is limiter
    assert limiter.ceiling == 4
    assert limiter_for("http://limits.test:81/", 9).ceiling == 9
    assert limiter_for("http://limits.test:82/", 4) is not limiter
