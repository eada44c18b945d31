"""One guarded call: how it is made, how often it is tried, and which ledger state it ends in.

This is the one place that catches whatever a system or an instrument raises.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from echat_eval.concurrency.limiter import waiting
from echat_eval.errors import BadData, NotApplicable, SystemFailure, Unavailable, UsageError, Withheld

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Executor

    from echat_eval.records import State

__all__ = ["CallResult", "Interrupted", "RetryPolicy", "Timed", "call_with_retries", "timed"]

T = TypeVar("T")

#: A reason is for people to read; what a system printed may be endless.
MAX_REASON = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a call is tried, and how long to wait between.

    Attributes:
        tries: calls at most, per row.
        first_wait: seconds before the second try; doubled for each further one, with jitter.
        longest_wait: seconds at most, also where a server asks for more.
    """

    tries: int = 3
    first_wait: float = 0.5
    longest_wait: float = 60.0

    def wait(self, tried: int, retry_after: float | None) -> float:
        """Return the seconds to wait after `tried` tries."""
        if retry_after is not None:
            return min(max(0.0, retry_after), self.longest_wait)
        doubled: float = min(self.first_wait * 2.0 ** (tried - 1), self.longest_wait)
        return doubled * random.uniform(0.5, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResult(Generic[T]):
    """What came of it."""

    state: State
    value: T | None = None
    reason: str | None = None
    tries: int = 1
    seconds: float | None = None


def reason_of(error: BaseException) -> str:
    """Return one bounded line that names an error."""
    known = isinstance(error, SystemFailure | Unavailable | NotApplicable | UsageError)
    text = str(error) if known else f"{type(error).__name__}: {error}"
    line = " ".join(text.split()) or type(error).__name__
    return line if len(line) <= MAX_REASON else line[: MAX_REASON - 1] + "…"


class Interrupted(BaseException):
    """A call was interrupted from the keyboard. Not KeyboardInterrupt, which would end the event loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed(Generic[T]):
    """What a call gave, and the seconds it took."""

    value: T
    seconds: float


async def timed(function: Callable[..., Any], *given: Any, threads: Executor, **named: Any) -> Timed[Any]:
    """Call a coroutine function on the loop, any other on a thread.

    What is measured is the call alone: not its waiting for a thread, for the loop or for a limit.
    """
    if inspect.iscoroutinefunction(function):
        with waiting() as waited:
            begun = time.monotonic()
            try:
                value = await function(*given, **named)
            except KeyboardInterrupt as error:
                raise Interrupted from error
            return Timed(value=value, seconds=time.monotonic() - begun - waited.seconds)

    def call() -> Timed[Any]:
        begun = time.monotonic()
        try:
            value = function(*given, **named)
        except KeyboardInterrupt as error:
            raise Interrupted from error
        except StopIteration as error:  # which no future can hold
            raise RuntimeError("StopIteration") from error
        return Timed(value=value, seconds=time.monotonic() - begun)

    return await asyncio.get_running_loop().run_in_executor(threads, call)


async def call_with_retries(
    call: Callable[[], Awaitable[Timed[T]]],
    *,
    blame: Literal["system", "instrument"],
    retry_policy: RetryPolicy,
    sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
) -> CallResult[T]:
    """Call until it works or retry_policy ends.

    A system that ends every try in the same error has failed; one whose tries end differently,
    or which the network kept from answering, leaves the row missing. An instrument's trouble is
    never the system's: its rows are missing.
    """
    errors: list[BaseException] = []
    for tried in range(1, retry_policy.tries + 1):
        try:
            done = await call()
        except NotApplicable as error:
            return CallResult(state="not applicable", reason=reason_of(error), tries=tried)
        except UsageError as error:
            # A wrong key or a missing package is wrong for every row: stop and say so.
            if not isinstance(error, BadData):
                raise
            errors.append(error)
        except (Exception, SystemExit) as error:  # noqa: BLE001  anything may fail in any way; the run must not
            errors.append(error)
        else:
            return CallResult(state="value", value=done.value, tries=tried, seconds=done.seconds)
        if isinstance(errors[-1], Withheld):
            break
        if tried < retry_policy.tries:
            await sleep(retry_policy.wait(tried, getattr(errors[-1], "retry_after", None)))
    return CallResult(state=_verdict(errors, blame), reason=_summary(errors), tries=len(errors))


def _verdict(errors: list[BaseException], blame: str) -> State:
    outside = any(isinstance(error, Unavailable | ConnectionError | TimeoutError) for error in errors)
    same = len(_distinct(errors)) == 1
    return "failed" if blame == "system" and same and not outside else "missing"


def _distinct(errors: list[BaseException]) -> list[str]:
    """Return the reasons, of those that are the same error the first."""
    found: dict[str, str] = {}
    for error in errors:
        # A process id, an address or a time in a message does not make it another error.
        found.setdefault(re.sub(r"0x[0-9a-fA-F]+|\d+", "#", reason_of(error)), reason_of(error))
    return list(found.values())


def _summary(errors: list[BaseException]) -> str:
    reasons = _distinct(errors)
    text = (
        reasons[0] if len(reasons) == 1 else f"different errors in {len(errors)} tries: " + "; ".join(reasons)
    )
    return text[:MAX_REASON]
