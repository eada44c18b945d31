"""How a stage performs its jobs: concurrently, and with every finished one written at once."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from echat_eval.jsonl import Appender

__all__ = ["Job", "Progress", "Silent", "opened", "perform"]

T = TypeVar("T")


class Progress(Protocol):
    """Told what is going on; the command line draws it."""

    def stage(self, name: str, total: int, done: int) -> None:
        """A stage begins: `total` rows, of which `done` were there already."""

    def advance(self, count: int = 1) -> None:
        """So many more rows are done."""


class Silent:
    """Progress that nobody watches."""

    def stage(self, name: str, total: int, done: int) -> None:
        """Say nothing."""

    def advance(self, count: int = 1) -> None:
        """Say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Generic[T]):
    """Something to call, and how its outcome becomes rows."""

    call: Callable[[], T]
    rows: Callable[[T], Iterable[dict[str, Any]]]


def perform(jobs: Sequence[Job[T]], *, workers: int, appender: Appender, progress: Progress) -> None:
    """Run jobs on threads; every finished one is written before this returns, however it returns."""
    pending: set[Future[Any]] = set()
    job_of: dict[Future[Any], Job[T]] = {}
    queue = iter(jobs)

    def write(done: Iterable[Future[Any]]) -> None:
        for future in done:
            for row in job_of.pop(future).rows(future.result()):
                appender.append(row)
                progress.advance()

    with ThreadPoolExecutor(max_workers=workers) as pool:
        try:
            while True:
                while len(pending) < workers and (job := next(queue, None)) is not None:
                    future = pool.submit(job.call)
                    job_of[future] = job
                    pending.add(future)
                if not pending:
                    return
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                write(done)
        except KeyboardInterrupt:
            # What is in flight is paid for: let it finish and keep it. A second Ctrl-C stops here.
            write(wait(set(job_of)).done)
            raise


class opened:  # noqa: N801  reads as a word where it is used
    """Load a system before it is asked, and close it whatever happens."""

    def __init__(self, system: Any) -> None:
        self._system = system

    def __enter__(self) -> None:
        getattr(self._system, "load", lambda: None)()

    def __exit__(self, *_: object) -> None:
        getattr(self._system, "close", lambda: None)()
