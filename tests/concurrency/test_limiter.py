"""The limit of an endpoint: found by trying, held by all, and forgiving once the trouble is over."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from echat_eval.concurrency.limiter import Limiter, endpoint, waiting
from echat_eval.errors import Unavailable


class Instant(asyncio.SelectorEventLoop):
    """An event loop on which time passes only while all wait, and then at once: no machine is too busy for it."""

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
    with asyncio.Runner(loop_factory=Instant) as runner:
        return runner.run(work)


def limiter_of(most: int, busy: float = 0.0) -> Limiter:
    """A limiter on the loop's time; `busy` is the share of it that this process works itself."""
    time = lambda: asyncio.get_running_loop().time()  # noqa: E731
    return Limiter(most, clock=time, worked=lambda: busy * time())


class Server:
    """Answers in `seconds`; more calls at once than it bears are refused, or queue for its one worker."""

    def __init__(self, *, bears: int = 1000, seconds: float = 0.0, queues: bool = False) -> None:
        self.bears, self.seconds, self.queues = bears, seconds, queues
        self.busy = self.most = self.refused = 0

    async def call(self) -> None:
        self.busy += 1
        self.most = max(self.most, self.busy)
        try:
            if self.queues:
                await asyncio.sleep(self.seconds * max(1.0, self.busy / self.bears))
            elif self.busy > self.bears:
                self.refused += 1
                await asyncio.sleep(0)
                raise Unavailable("429", overloaded=True)
            else:
                await asyncio.sleep(self.seconds)
        finally:
            self.busy -= 1


async def many(limiter: Limiter, call: Callable[[], Awaitable[None]], count: int) -> int:
    """Make so many calls, each until it goes well; return how many went badly."""
    bad = 0

    async def one() -> None:
        nonlocal bad
        while True:
            try:
                async with limiter.slot():
                    return await call()
            except Unavailable:
                bad += 1
                await asyncio.sleep(0.001)

    await asyncio.gather(*(one() for _ in range(count)))
    return bad


def test_no_more_calls_than_asked_for_are_made_at_once() -> None:
    server, limiter = Server(seconds=0.001), limiter_of(5)
    run(many(limiter, server.call, 60))
    assert server.most == 5
    assert limiter.limit == 5


def test_a_server_that_refuses_is_asked_less_at_once_and_more_once_it_bears_more() -> None:
    server, limiter = Server(bears=4, seconds=0.002), limiter_of(64)
    bad = run(many(limiter, server.call, 400))
    assert limiter.limit < 10
    # Asked 64 at once all the time, a server that bears 4 refuses most of what it gets.
    assert bad < 400
    server.bears = 64
    run(many(limiter, server.call, 1500))
    assert limiter.limit > 20


def test_halved_once_for_all_refusals_of_one_round() -> None:
    limiter = limiter_of(32)

    async def refused_together() -> None:
        async def one() -> None:
            async with limiter.slot():
                await asyncio.sleep(0.001)
                raise Unavailable("429", overloaded=True)

        ends = await asyncio.gather(*(one() for _ in range(32)), return_exceptions=True)
        assert {type(end) for end in ends} == {Unavailable}

    run(refused_together())
    assert limiter.limit == 16


def test_latency_that_rises_lowers_the_limit() -> None:
    limiter = limiter_of(40)
    steady, overloaded = Server(bears=1000, seconds=0.004), Server(bears=4, seconds=0.004, queues=True)
    run(many(limiter, steady.call, 80))
    assert limiter.limit == 40
    run(many(limiter, overloaded.call, 400))
    assert limiter.limit < 30


def test_latency_of_our_own_making_lowers_nothing() -> None:
    limiter = limiter_of(40, busy=0.9)
    steady, overloaded = Server(bears=1000, seconds=0.004), Server(bears=4, seconds=0.004, queues=True)
    run(many(limiter, steady.call, 80))
    run(many(limiter, overloaded.call, 400))
    assert limiter.limit == 40


def test_what_is_no_sign_of_crowding_lowers_nothing() -> None:
    limiter = limiter_of(8)

    async def refuse() -> None:
        for _ in range(20):
            with pytest.raises(Unavailable):
                async with limiter.slot():
                    raise Unavailable("connection refused")

    run(refuse())
    assert limiter.limit == 8


def test_retry_after_holds_everybody_back() -> None:
    limiter, begun = limiter_of(4), []

    async def go() -> float:
        with pytest.raises(Unavailable):
            async with limiter.slot():
                raise Unavailable("429", retry_after=0.2, overloaded=True)
        now = asyncio.get_running_loop().time()

        async def call() -> None:
            begun.append(asyncio.get_running_loop().time() - now)

        await many(limiter, call, 3)
        return now

    run(go())
    assert min(begun) >= 0.19


def test_the_wait_for_a_place_is_told_apart_from_the_call() -> None:
    limiter = limiter_of(1)

    async def timed() -> list[float]:
        async def one() -> float:
            with waiting() as waited:
                async with limiter.slot():
                    await asyncio.sleep(0.05)
            return waited.seconds

        return sorted(await asyncio.gather(*(one() for _ in range(3))))

    first, second, third = run(timed())
    assert first < 0.02
    assert 0.03 < second < 0.09 < third


def test_a_call_that_is_given_up_while_it_waits_leaves_its_place_to_others() -> None:
    limiter = limiter_of(1)

    async def go() -> None:
        async def hold() -> None:
            async with limiter.slot():
                await asyncio.sleep(0.02)

        holder = asyncio.ensure_future(hold())
        await asyncio.sleep(0)
        waiter = asyncio.ensure_future(hold())
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.gather(holder, waiter, return_exceptions=True)
        await asyncio.wait_for(hold(), timeout=1)

    run(go())


def test_one_endpoint_has_one_limit_whoever_asks_it() -> None:
    judge = endpoint("http://limits.test:81/v1", 4)
    assert endpoint("http://limits.test:81/v1/chat/completions", 2) is judge
    assert judge.most == 4
    assert endpoint("http://limits.test:81/", 9).most == 9
    assert endpoint("http://limits.test:82/", 4) is not judge
