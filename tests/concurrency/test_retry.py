"""Retries: the state that a call ends in, and the waits between tries."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from echat_eval.concurrency import event_loop
from echat_eval.concurrency.retry import RetryPolicy, Timed, call_with_retries
from echat_eval.errors import JudgeFailure, NotApplicable, NotInstalled, SystemFailure, Unavailable, Withheld

RETRY_POLICY = RetryPolicy(tries=3, first_wait=0.01)


async def no_sleep(_: float) -> None:
    pass


def raising(*errors: Exception | None) -> Callable[[], Awaitable[Timed[str]]]:
    left = list(errors)

    async def call() -> Timed[str]:
        error = left.pop(0)
        if error is not None:
            raise error
        return Timed(value="done", seconds=0.1)

    return call


@pytest.mark.parametrize(
    ("errors", "blame", "state", "tries"),
    [
        ([None], "system", "value", 1),
        ([RuntimeError("x"), None], "system", "value", 2),
        ([RuntimeError("x")] * 3, "system", "failed", 3),
        ([SystemExit(1)] * 3, "system", "failed", 3),
        ([SystemFailure("empty")] * 3, "system", "failed", 3),
        ([RuntimeError("x"), RuntimeError("y"), RuntimeError("x")], "system", "missing", 3),
        ([Unavailable("429")] * 3, "system", "missing", 3),
        ([ConnectionResetError("gone")] * 3, "system", "missing", 3),
        ([TimeoutError()] * 3, "system", "missing", 3),
        ([RuntimeError("x"), Unavailable("429"), RuntimeError("x")], "system", "missing", 3),
        ([RuntimeError("x")] * 3, "instrument", "missing", 3),
        ([JudgeFailure("prose")] * 3, "instrument", "missing", 3),
        ([NotApplicable("no voice")], "system", "not applicable", 1),
        ([Withheld("--max-cost")], "system", "missing", 1),
        ([Unavailable("429"), Withheld("--max-cost")], "instrument", "missing", 2),
    ],
)
def test_the_state_depends_on_who_is_at_fault(errors: list[Any], blame: Any, state: str, tries: int) -> None:
    done = event_loop.run(
        call_with_retries(raising(*errors), blame=blame, retry_policy=RETRY_POLICY, sleep=no_sleep)
    )
    assert (done.state, done.tries) == (state, tries)
    assert (done.reason is None) == (state == "value")
    assert (done.seconds is not None) == (state == "value")


def caused_by(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


OWN_FAULTS = [
    MemoryError(),
    RuntimeError("can't start new thread"),
    BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),
    OSError(errno.EMFILE, "Too many open files"),
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EFBIG, "File too large"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"),
    RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
    caused_by(SystemFailure("broken reply audio"), OSError(errno.ENOSPC, "No space left on device")),
    caused_by(RuntimeError("x"), caused_by(ValueError("y"), MemoryError())),
]


@pytest.mark.parametrize("error", OWN_FAULTS, ids=str)
def test_a_fault_of_this_process_or_machine_is_missing(error: Exception) -> None:
    done = event_loop.run(
        call_with_retries(raising(*[error] * 3), blame="system", retry_policy=RETRY_POLICY, sleep=no_sleep)
    )
    assert done.state == "missing"


@pytest.mark.parametrize(
    "error",
    [
        SystemFailure("the system reported: out of memory"),
        OSError(errno.ENOENT, "No such file"),
        KeyError("x"),
    ],
    ids=str,
)
def test_an_error_of_the_system_is_failed(error: Exception) -> None:
    done = event_loop.run(
        call_with_retries(raising(*[error] * 3), blame="system", retry_policy=RETRY_POLICY, sleep=no_sleep)
    )
    assert done.state == "failed"


@pytest.mark.parametrize(
    ("error", "waits"),
    [
        (Unavailable("429"), 2),
        (ConnectionResetError("gone"), 2),
        (MemoryError(), 2),
        (SystemFailure("empty"), 0),
        (ValueError("bad shape"), 0),
        (JudgeFailure("prose"), 0),
    ],
    ids=str,
)
def test_there_is_no_wait_where_time_changes_nothing(error: Exception, waits: int) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    done = event_loop.run(
        call_with_retries(raising(*[error] * 3), blame="system", retry_policy=RETRY_POLICY, sleep=sleep)
    )
    assert (done.tries, len(waited)) == (3, waits)


def test_retry_after_is_respected_up_to_the_longest_wait() -> None:
    slept: list[float] = []
    errors = [Unavailable("429", retry_after=7.0), Unavailable("429", retry_after=1e9), None]

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    event_loop.run(
        call_with_retries(raising(*errors), blame="system", retry_policy=RETRY_POLICY, sleep=sleep)
    )
    assert slept == [7.0, RETRY_POLICY.longest_wait]


def test_waits_double_up_to_the_longest_wait() -> None:
    retry_policy = RetryPolicy(tries=9, first_wait=1.0, longest_wait=20.0)
    for tried in range(1, 9):
        assert 0.5 * min(2 ** (tried - 1), 20) <= retry_policy.wait(tried, None) <= min(2 ** (tried - 1), 20)


def test_an_error_that_affects_every_row_is_raised() -> None:
    with pytest.raises(NotInstalled):
        event_loop.run(
            call_with_retries(raising(NotInstalled("no torch")), blame="system", retry_policy=RETRY_POLICY)
        )


def test_a_reason_is_one_bounded_line() -> None:
    done = event_loop.run(
        call_with_retries(
            raising(*[RuntimeError("a\nb" * 10_000)] * 3),
            blame="system",
            retry_policy=RETRY_POLICY,
            sleep=no_sleep,
        )
    )
    assert done.reason is not None
    assert len(done.reason) <= 500
    assert "\n" not in done.reason
