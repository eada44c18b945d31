"""The one event loop of the process."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

import pytest

from echat_eval.concurrency import event_loop


def test_a_wait_ends_although_the_step_that_would_end_it_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_loop, "GRACE", 0.1)
    never: Future[None] = Future()

    async def lose_a_step() -> None:
        def without_memory() -> None:
            raise MemoryError

        asyncio.get_running_loop().call_soon(without_memory)

    async def lose_it_soon() -> None:
        asyncio.get_running_loop().call_later(0.1, lambda: asyncio.ensure_future(lose_a_step()))

    event_loop.run(lose_it_soon())
    with pytest.raises(MemoryError, match="the event loop lost a step"):
        event_loop.wait_for(never)


def test_the_loop_survives_a_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    async def running_loop() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    async def later() -> str:
        await asyncio.sleep(0.05)
        return "done"

    loop = event_loop.run(running_loop())
    step, failed = type(loop)._run_once, list[int]()  # type: ignore[attr-defined]

    def without_memory() -> None:
        if not failed:
            failed.append(1)
            raise MemoryError
        step(loop)

    call = event_loop.start(later())
    monkeypatch.setattr(loop, "_run_once", without_memory, raising=False)
    assert call.result(timeout=5) == "done"
    assert failed
