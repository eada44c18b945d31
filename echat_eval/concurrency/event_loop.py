"""The one event loop of this process, on a thread of its own: every connection lives on it.

So an open connection outlives the call that made it, whichever thread that call came from, and the
main thread stays free to hear Ctrl-C.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future

__all__ = ["call", "is_here", "run", "start"]

T = TypeVar("T")

NAME = "echat-eval-loop"
_making = threading.Lock()


@cache
def _made() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    # A daemon: the process may end while a call is in flight.
    threading.Thread(target=loop.run_forever, name=NAME, daemon=True).start()
    return loop


def start(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Begin some work on the loop and return at once."""
    with _making:
        loop = _made()
    return asyncio.run_coroutine_threadsafe(work, loop)


def is_here() -> bool:
    """Return whether the caller is on the loop."""
    return threading.current_thread().name == NAME


def run(work: Coroutine[Any, Any, T]) -> T:
    """Do some work on the loop and wait for it.

    Raises:
        RuntimeError: called on the loop itself, which would wait for ever.

    >>> async def seven(): return 7
    >>> run(seven())
    7
    """
    if is_here():
        work.close()
        raise RuntimeError("the event loop cannot wait for itself; await the work")
    return start(work).result()


def call(function: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """Call a function that may be a coroutine function, and return what it gives."""
    made = function(*given, **named)
    return run(made) if inspect.iscoroutine(made) else made
