"""Calls with retries: timing, retry policy, and the ledger state that a call ends in.

This is the only place that catches every error of a system or an instrument.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar, cast

from echat_eval.concurrency.limiter import measure_queue_time
from echat_eval.concurrency.memory import demand_memory
from echat_eval.concurrency.own_faults import is_own_fault
from echat_eval.errors import (
    BadData,
    JudgeFailure,
    NotApplicable,
    ServerRefusal,
    SystemFailure,
    Unavailable,
    UsageError,
    Withheld,
    scrub,
    writable,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Executor

    from echat_eval.records import State

__all__ = [
    "MAX_REASON",
    "CallResult",
    "Interrupted",
    "RetryPolicy",
    "Timed",
    "call_with_retries",
    "timed",
    "with_second_look",
]

T = TypeVar("T")

#: Characters. Reasons are for people, and a foreign message can have any length.
MAX_REASON = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The number of tries of a call, and the waits between them.

    Attributes:
        tries: maximum number of calls per row.
        first_wait: seconds before the second try; doubled for each further try, with jitter.
        longest_wait: maximum of seconds, even if a server asks for more.
        failed_again: call again for rows that failed in an earlier command.
    """

    tries: int = 3
    first_wait: float = 0.5
    longest_wait: float = 60.0
    failed_again: bool = False

    def wait(self, tried: int, retry_after: float | None) -> float:
        """Return the seconds to wait after `tried` tries."""
        if retry_after is not None:
            return min(max(0.0, retry_after), self.longest_wait)
        doubled: float = min(self.first_wait * 2.0 ** (tried - 1), self.longest_wait)
        return doubled * random.uniform(0.5, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResult(Generic[T]):
    """The outcome of a call after all its tries.

    Attributes:
        seconds: duration of the successful try.
    """

    state: State
    value: T | None = None
    reason: str | None = None
    tries: int = 1
    seconds: float | None = None


def reason_of(error: BaseException) -> str:
    """Return an error as one line of at most `MAX_REASON` characters, without secrets."""
    ours = isinstance(error, SystemFailure | Unavailable | NotApplicable | UsageError)
    text = str(error) if ours else f"{type(error).__name__}: {error}"
    line = " ".join(writable(scrub(text)).split()) or type(error).__name__
    return line if len(line) <= MAX_REASON else line[: MAX_REASON - 1] + "…"


class Interrupted(BaseException):
    """Stands in for KeyboardInterrupt, which would end the event loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed(Generic[T]):
    """The result of a call and its duration in seconds."""

    value: T
    seconds: float


async def timed(call: Callable[[], T | Awaitable[T]], *, threads: Executor) -> Timed[T]:
    """Call a coroutine function on the loop, or any other function on a thread, and measure its duration.

    Waiting for a thread or for a limiter is not part of the duration.

    Raises:
        MemoryError: too little memory is left to begin.
    """
    if inspect.iscoroutinefunction(call):
        with measure_queue_time() as queue_time:
            demand_memory()
            started = time.monotonic()
            try:
                value: T = await call()
            except KeyboardInterrupt as error:
                raise Interrupted from error
            return Timed(value=value, seconds=time.monotonic() - started - queue_time.seconds)

    def call_and_time() -> Timed[T]:
        demand_memory()
        started = time.monotonic()
        try:
            value = cast("T", call())  # not a coroutine function
        except KeyboardInterrupt as error:
            raise Interrupted from error
        except StopIteration as error:  # a future cannot carry it
            raise RuntimeError("StopIteration") from error
        return Timed(value=value, seconds=time.monotonic() - started)

    return await asyncio.get_running_loop().run_in_executor(threads, call_and_time)


async def call_with_retries(
    call: Callable[[], Awaitable[Timed[T]]],
    *,
    blame: Literal["system", "instrument"],
    retry_policy: RetryPolicy,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> CallResult[T]:
    """Call until a try succeeds or the retry policy is exhausted.

    The row is "failed" if every try of a system ends in the same error. It is "missing" if the tries end
    differently, if the network, this process or this machine is at fault, or if an instrument fails. Time
    passes between two tries only if that can change the outcome.

    Args:
        blame: the party that `call` runs.

    Raises:
        UsageError: any but `BadData`; it would be the same for every row. A `ServerRefusal` is raised only
            if a second look, which may be one try more, meets another.
    """
    errors: list[BaseException] = []
    tried = 0
    while tried < retry_policy.tries or (tried == 1 and _needs_second_look(errors[0])):
        tried += 1
        try:
            done = await call()
        except NotApplicable as error:
            return CallResult(state="not applicable", reason=reason_of(error), tries=tried)
        except UsageError as error:
            # A wrong key or a missing package affects every row, so the run must stop.
            refused_before = any(isinstance(earlier, ServerRefusal) for earlier in errors)
            if not isinstance(error, BadData) and (refused_before or not isinstance(error, ServerRefusal)):
                raise
            errors.append(error)
        except (Exception, SystemExit) as error:  # noqa: BLE001  foreign code may raise anything; the run continues
            errors.append(error)
        else:
            return CallResult(state="value", value=done.value, tries=tried, seconds=done.seconds)
        if isinstance(errors[-1], Withheld):
            break
        again = tried < retry_policy.tries or (tried == 1 and _needs_second_look(errors[0]))
        if again and _is_external(errors[-1]) and not isinstance(errors[-1], JudgeFailure):
            await sleep(retry_policy.wait(tried, _retry_after(errors[-1])))
    return CallResult(state=_state_of(errors, blame), reason=_summary(errors), tries=len(errors))


async def with_second_look(call: Callable[[], Awaitable[T]]) -> T:
    """Return the result of a call outside a run, which is made again if a server refuses the first."""
    try:
        return await call()
    except ServerRefusal:
        await asyncio.sleep(RetryPolicy().first_wait)
        return await call()


def _needs_second_look(error: BaseException) -> bool:
    return isinstance(error, ServerRefusal) and not error.per_row


def _retry_after(error: BaseException) -> float | None:
    """Return the seconds that a server asked to wait, if any."""
    return error.retry_after if isinstance(error, Unavailable) else None


def _state_of(errors: list[BaseException], blame: str) -> State:
    same = len(_distinct_reasons(errors)) == 1
    return "failed" if blame == "system" and same and not any(map(_is_external, errors)) else "missing"


def _is_external(error: BaseException) -> bool:
    """Return whether the network, a server's state, this process or this machine is at fault."""
    external = isinstance(error, Unavailable | ServerRefusal | ConnectionError | TimeoutError)
    return external or is_own_fault(error)


def _distinct_reasons(errors: list[BaseException]) -> list[str]:
    """Return the reasons; of messages that differ only in numbers, the first."""
    reasons: dict[str, str] = {}
    for error in errors:
        # Messages may hold a process id, an address or a time.
        reasons.setdefault(re.sub(r"0x[0-9a-fA-F]+|\d+", "#", reason_of(error)), reason_of(error))
    return list(reasons.values())


def _summary(errors: list[BaseException]) -> str:
    reasons = _distinct_reasons(errors)
    text = (
        reasons[0] if len(reasons) == 1 else f"different errors in {len(errors)} tries: " + "; ".join(reasons)
    )
    return text[:MAX_REASON]
