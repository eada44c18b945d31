"""The one event loop of the process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from echat_eval.concurrency import event_loop

if TYPE_CHECKING:
    import pytest


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
