"""The one event loop of this process, in its own thread; every connection belongs to it.

An open connection therefore outlives the call that opened it, whatever thread made that call, and the main
thread stays free to receive Ctrl-C.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import threading
import time
from concurrent.futures import wait
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

from echat_eval.concurrency.own_faults import is_own_fault
from echat_eval.concurrency.threads import DaemonThread

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future

__all__ = ["call", "is_here", "run", "start", "wait_for"]

T = TypeVar("T")

NAME = "echat-eval-loop"
_creation = threading.Lock()


#: Seconds for which a wait goes on after the loop lost a step.
GRACE = 5.0
_STEP = 0.2


@cache
def _running_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(_note_lost_step)
    # A daemon thread, so that the process can end while a call is in flight.
    DaemonThread(partial(_serve, loop), NAME).start()
    return loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    """Run the loop for ever; one that ended for lack of memory would leave its callers waiting for ever."""
    while True:
        try:
            return loop.run_forever()
        except MemoryError as error:
            _lost_steps.append(error)


#: The faults of this machine that cost the loop a step: what that step would have ended waits for ever.
_lost_steps: list[BaseException] = []


def _note_lost_step(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if isinstance(error, BaseException) and is_own_fault(error):
        _lost_steps.append(error)
    else:
        loop.default_exception_handler(context)


def wait_for(work: Future[T]) -> T:
    """Wait for a future and return its result.

    The wait is made of short steps: a Ctrl-C that arrives just before one starts does not interrupt that one.

    Raises:
        MemoryError: this machine's faults cost the loop a step, and the future did not end within `GRACE`.
    """
    known, end = len(_lost_steps), math.inf
    while not work.done():
        wait([work], timeout=_STEP)
        if end == math.inf and len(_lost_steps) > known:
            end = time.monotonic() + GRACE
        if time.monotonic() > end and not work.done():
            raise MemoryError("out of memory: the event loop lost a step") from _lost_steps[-1]
    return work.result()


def start(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Start a coroutine on the loop and return its future at once."""
    try:
        with _creation:
            loop = _running_loop()
    except BaseException:
        work.close()
        raise
    return asyncio.run_coroutine_threadsafe(work, loop)


def is_here() -> bool:
    """Return whether the caller runs on the loop's thread."""
    return threading.current_thread().name == NAME


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the loop and return its result.

    Raises:
        RuntimeError: called on the loop's thread, which would deadlock.

    >>> async def seven(): return 7
    >>> run(seven())
    7
    """
    if is_here():
        work.close()
        raise RuntimeError("the event loop cannot wait for itself; await the work")
    return wait_for(start(work))


def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a plain function or a coroutine function, and return its result."""
    result = function(*args, **kwargs)
    return run(result) if inspect.iscoroutine(result) else result
