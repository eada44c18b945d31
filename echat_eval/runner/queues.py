"""Work queues of systems, annotators and scorers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from echat_eval.ports import Closable, Loadable, calls_at_once_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from echat_eval.concurrency.work_queue import Workflow, WorkQueue
    from echat_eval.ports import Annotator, Oracle, Scorer, System

__all__ = ["queue_for"]

T = TypeVar("T")


def queue_for(
    workflow: Workflow,
    part: System | Oracle | Annotator | Scorer,
    work: Callable[[list[T]], Awaitable[None]],
    *,
    size: int = 1,
    held: bool = False,
) -> WorkQueue[T]:
    """Open the queue of a part, which is loaded before the first job and closed at the end.

    Args:
        work: processes one batch of jobs.
        size: jobs per batch.
        held: start no job before `release`.
    """
    return workflow.queue(
        part.name,
        work,
        width=calls_at_once_of(part),
        size=size,
        held=held,
        load=part.load if isinstance(part, Loadable) else None,
        close=part.close if isinstance(part, Closable) else None,
    )
