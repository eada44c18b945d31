"""A thread pool of daemon threads: a call that never returns cannot keep the process from ending."""

from __future__ import annotations

import threading
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from echat_eval.concurrency.memory import demand_memory

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DaemonThread", "Threads"]

#: Seconds that a new thread may take for its first step.
START_TIMEOUT = 5.0

P = ParamSpec("P")
T = TypeVar("T")


class _Started(threading.Event):
    """The event of a thread's first step, for which `Thread.start` waits without a limit.

    A thread that gets no memory for its first step never sets it (CPython 3.11 to 3.13).
    """

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the first step.

        Raises:
            RuntimeError: it took longer than `START_TIMEOUT`.
        """
        if not super().wait(START_TIMEOUT if timeout is None else timeout):
            raise RuntimeError("can't start new thread: it took no first step")
        return True


class DaemonThread(threading.Thread):
    """A daemon thread whose start fails instead of waiting for ever when memory runs out."""

    def __init__(self, target: Callable[[], object], name: str | None = None) -> None:
        super().__init__(target=target, name=name, daemon=True)
        self._started = _Started()

    def start(self) -> None:
        """Start the thread.

        Raises:
            MemoryError: too little is left for it.
            RuntimeError: it cannot be started for another reason.
        """
        demand_memory()
        super().start()


class Threads(Executor):
    """An executor of at most `limit` daemon threads, each started when first needed.

    The standard pool joins its threads when the interpreter exits. A second Ctrl-C would then wait for the
    same call as the first.
    """

    def __init__(self, limit: int, name: str) -> None:
        self._limit, self._name = limit, name
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = threading.Semaphore(0)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function on one of the threads.

        Raises:
            RuntimeError: the first thread cannot be started; a further one is not needed.
        """
        future: Future[T] = Future()
        if not self._idle.acquire(blocking=False) and len(self._threads) < self._limit:
            self._start_thread()
        self._queue.put((future, lambda: fn(*args, **kwargs)))
        return future

    def _start_thread(self) -> None:
        thread = DaemonThread(self._work, self._name)
        try:
            thread.start()
        except (RuntimeError, MemoryError):
            if not self._threads:
                raise
        else:
            self._threads.append(thread)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End every thread once the queued jobs are done."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads if wait else ():
            thread.join()
        self._threads = []

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            future, function = job
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except BaseException as error:  # noqa: BLE001  passed on through the future
                    future.set_exception(error)
            self._idle.release()
