"""Limits on memory."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path

import pytest

from echat_eval.concurrency import memory
from echat_eval.concurrency.retry import RetryPolicy, call_with_retries, timed
from echat_eval.concurrency.threads import DaemonThread, Threads


def limit_address_space(monkeypatch: pytest.MonkeyPatch, *, left: int) -> None:
    """Let the limit on address space be `left` bytes above what this process uses."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + left
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))


def test_work_is_refused_while_the_process_can_still_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    memory.demand_memory()
    limit_address_space(monkeypatch, left=200 * 2**20)
    memory.demand_memory()
    with pytest.raises(MemoryError, match=r"out of memory: \d+ MiB are left of .* needs at least 512"):
        memory.demand_memory(512 * 2**20)
    limit_address_space(monkeypatch, left=20 * 2**20)
    with pytest.raises(MemoryError, match="at least 64"):
        memory.demand_memory()


def test_no_thread_is_started_without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    limit_address_space(monkeypatch, left=20 * 2**20)
    with pytest.raises(MemoryError, match="out of memory"):
        DaemonThread(lambda: None).start()


def test_a_call_that_gets_no_memory_is_missing_and_not_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, threads = list[str](), Threads(1, "calls")
    threads.submit(lambda: None).result()  # its thread runs before the limit
    limit_address_space(monkeypatch, left=20 * 2**20)

    async def no_wait(_: float) -> None:
        return None

    async def call_it() -> object:
        return await call_with_retries(
            lambda: timed(lambda: calls.append("called"), threads=threads),
            blame="system",
            retry_policy=RetryPolicy(tries=2),
            sleep=no_wait,
        )

    outcome = asyncio.run(call_it())
    threads.shutdown()
    assert (outcome.state, calls) == ("missing", [])  # type: ignore[attr-defined]
    assert "out of memory" in outcome.reason  # type: ignore[attr-defined]
