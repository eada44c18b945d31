"""The state that all requests and sessions share: model, limits, threads, and whether the server ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from echat_eval.concurrency.threads import Threads
from echat_eval.serve.api_error import ApiError
from echat_eval.serve.exchange import Exchange, exchange

if TYPE_CHECKING:
    from echat_eval.serve.answerer import Answerer, Question
    from echat_eval.serve.limits import Limits

__all__ = ["Service", "given_up_error"]

#: Threads that decode audio, read questions and encode voices.
_THREADS = 4
#: Seconds after which a refused client may ask again, while all connections are taken.
_BUSY_SECONDS = 1.0

T = TypeVar("T")


def given_up_error() -> ApiError:
    """Return the error of a reply that the server gave up at its end."""
    return ApiError(503, "the server ended before the reply was whole; ask again later", retry_after=10.0)


class Service:
    """The state of a server, used on its event loop.

    Attributes:
        active: requests and sessions in progress.
        draining: the server takes nothing new and finishes what is in progress.
        is_given_up: the server ends at once; each client whose reply is cancelled gets an error.
        has_cut: a reply was cut by its time limit after the end had begun.
    """

    def __init__(self, answerer: Answerer, limits: Limits) -> None:
        self.answerer, self.limits = answerer, limits
        self.active = 0
        self.draining = self.is_given_up = self.has_cut = False
        self.on_drain: set[Callable[[], object]] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._threads = Threads(_THREADS, "echat-eval-serve")

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Count a request or session, which the present task serves.

        Raises:
            ApiError: the server is ending, or has as many connections as it takes.
        """
        self.check_open()
        if self.active >= self.limits.connections:
            raise ApiError(
                503,
                f"the server has {self.active} connections, which is its limit; try again in "
                f"{_BUSY_SECONDS:g} s",
                retry_after=_BUSY_SECONDS,
            )
        self.active += 1
        task = asyncio.current_task()
        assert task is not None  # a coroutine runs in one
        self._tasks.add(task)
        try:
            yield
        finally:
            self.active -= 1
            self._tasks.discard(task)

    def check_open(self) -> None:
        """Raise ApiError if the server is ending."""
        if self.draining:
            raise ApiError(
                503,
                "the server is shutting down and takes nothing new; try again in 10 s",
                code="service_unavailable",
                retry_after=10.0,
            )

    def drain(self) -> None:
        """Take nothing new from now on, and end sessions in which nothing is in progress."""
        if not self.draining:
            self.draining = True
            for end in list(self.on_drain):
                end()

    def give_up(self) -> None:
        """Cancel the tasks of all requests and sessions."""
        self.is_given_up = True
        for task in list(self._tasks):
            task.cancel()

    def note_failure(self, error: BaseException) -> None:
        """Note why a reply failed, since the server states at its end whether all were finished."""
        self.has_cut |= self.draining and isinstance(error, TimeoutError)

    def ask(self, question: Question) -> AbstractAsyncContextManager[Exchange]:
        """Return the exchange of one question; see `exchange`."""
        return exchange(self.answerer, question, self._threads)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Return what a function returns that would hold up the event loop."""
        return await asyncio.wrap_future(self._threads.submit(work))

    def close(self) -> None:
        """End the threads and free the model."""
        self.answerer.close()
        self._threads.shutdown(wait=False)
