"""The one event loop of this process, in its own thread; every connection belongs to it.

An open connection therefore outlives the call that opened it, whatever thread made that call, and the main
thread stays free to receive Ctrl-C.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

from echat_eval.concurrency.threads import DaemonThread

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future

__all__ = ["call", "is_here", "run", "start"]

T = TypeVar("T")

NAME = "echat-eval-loop"
_creation = threading.Lock()


@cache
def _running_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    # A daemon thread, so that the process can end while a call is in flight.
    DaemonThread(partial(_serve, loop), NAME).start()
    return loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    """Run the loop for ever; one that ended for lack of memory would leave its callers waiting for ever."""
    while True:
        try:
            return loop.run_forever()
        except MemoryError:
            continue


def start(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Start a coroutine on the loop and return its future at once."""
    with _creation:
        loop = _running_loop()
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
    return start(work).result()


def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a plain function or a coroutine function, and return its result."""
    result = function(*args, **kwargs)
    return run(result) if inspect.iscoroutine(result) else result
