"""One queue of requests for all callers and all engines: bounded, and fair between kinds of requests."""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from echat_eval.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from echat_eval.osum.engine.types import OsumReply, ReplyKind, ReplyPart
    from echat_eval.osum.prompts.modes import GenerationRequest

__all__ = ["QueueClosed", "QueueFull", "RequestQueue", "Ticket"]

#: Seconds that a request of another kind waits before no further request of the present kind is taken.
PATIENCE = 1.0


class QueueFull(Unavailable):
    """As many requests wait as the queue takes; ask again later."""


class QueueClosed(Unavailable):
    """The queue takes no further requests."""


@dataclass(slots=True, eq=False)
class Ticket:
    """A submitted request and its reply to come.

    Attributes:
        number: unique within the queue.
        kind: requests of one kind are decoded together.
        on_text, on_codec: called with new text ids or codec ids while the reply is decoded, on the engine's
            thread: they must return at once. An error that they raise fails this request.
        max_new_tokens: limit on the ids of the reply; 0 for that of the kind.
        future: the reply. `asyncio.wrap_future` awaits it.
        submitted, started, first_id, ended: `time.monotonic()`; 0.0 before.
        engine: number of the engine that decodes it; -1 before.
        alone: decode it without others, because an error hit it together with others.
    """

    number: int
    request: GenerationRequest
    kind: ReplyKind
    on_text: Callable[[tuple[int, ...]], None] | None = None
    on_codec: Callable[[tuple[int, ...]], None] | None = None
    max_new_tokens: int = 0
    future: Future[OsumReply] = field(default_factory=Future)
    submitted: float = 0.0
    started: float = 0.0
    first_id: float = 0.0
    ended: float = 0.0
    engine: int = -1
    alone: bool = False

    @property
    def streamed(self) -> bool:
        """Return whether ids are handed out while the reply is decoded."""
        return self.on_text is not None or self.on_codec is not None

    def result(self, timeout: float | None = None) -> OsumReply:
        """Wait for the reply.

        Raises:
            The failure of this request; `concurrent.futures.CancelledError` after `cancel`.
        """
        return self.future.result(timeout)

    def cancel(self) -> bool:
        """Give up the reply and free its slot; return False if it has ended."""
        return self.future.cancel()

    def hand_out(self, part: ReplyPart) -> None:
        """Call the callbacks with new ids, unless the reply is not wanted any more."""
        self.first_id = self.first_id or time.monotonic()
        for ids, callback in ((part.text, self.on_text), (part.speech, self.on_codec)):
            if ids and callback is not None and not self.future.done():
                try:
                    callback(ids)
                except Exception as error:  # noqa: BLE001 - it fails this request, not its neighbours
                    self.end(error)

    def end(self, outcome: OsumReply | Exception) -> None:
        """Set the reply or the failure; do nothing if the reply was given up or failed before."""
        self.ended = time.monotonic()
        try:
            if isinstance(outcome, Exception):
                self.future.set_exception(outcome)
            else:
                self.future.set_result(outcome)
        except InvalidStateError:
            pass


class RequestQueue:
    """Tickets that wait, by kind, oldest first.

    Args:
        limit: the most tickets that wait.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.closed = False
        self._changed = threading.Condition()
        self._waiting: dict[ReplyKind, deque[Ticket]] = {}
        self._alone: deque[Ticket] = deque()

    def __len__(self) -> int:
        """Return the number of tickets that wait and were not given up."""
        with self._changed:
            return self._count()

    def _count(self) -> int:
        for kind, tickets in list(self._waiting.items()):
            while tickets and tickets[0].future.done():
                tickets.popleft()
            if not tickets:
                del self._waiting[kind]
        return sum(not one.future.done() for tickets in self._waiting.values() for one in tickets) + sum(
            not one.future.done() for one in self._alone
        )

    def put(self, ticket: Ticket, *, wait: bool) -> None:
        """Add a ticket.

        Args:
            wait: for a free place; otherwise a full queue is an error.

        Raises:
            QueueFull: as many tickets wait as the queue takes.
            QueueClosed: the queue is closed.
        """
        with self._changed:
            while not self.closed and self._count() >= self.limit:
                if not wait:
                    raise QueueFull(
                        f"{self.limit} requests wait, which is the limit: ask again later",
                        overloaded=True,
                        refused=True,
                    )
                self._changed.wait(timeout=1.0)
            if self.closed:
                raise QueueClosed("the engine is closed and takes no further request", refused=True)
            ticket.submitted = time.monotonic()
            self._waiting.setdefault(ticket.kind, deque()).append(ticket)
            self._changed.notify_all()

    def put_back(self, tickets: list[Ticket]) -> None:
        """Add tickets that an error hit together; each is decoded alone, before all others."""
        with self._changed:
            for ticket in tickets:
                ticket.alone = True
            self._alone.extend(tickets)
            self._changed.notify_all()

    def next(self) -> list[Ticket] | None:
        """Wait for tickets; return the first of the kind whose turn it is, None if closed and empty."""
        with self._changed:
            while True:
                self._count()  # forgets those given up
                while self._alone:
                    ticket = self._alone.popleft()
                    if not ticket.future.done():
                        return [ticket]
                if self._waiting:
                    kind = min(self._waiting, key=lambda kind: self._waiting[kind][0].submitted)
                    self._changed.notify_all()
                    return [self._waiting[kind].popleft()]
                if self.closed:
                    return None
                self._changed.wait()

    def take(self, kind: ReplyKind, count: int) -> list[Ticket] | None:
        """Return up to `count` tickets of a kind that wait now; None if another kind's turn has come."""
        with self._changed:
            self._count()
            others = [tickets[0].submitted for other, tickets in self._waiting.items() if other != kind]
            own = self._waiting.get(kind, deque())
            oldest = min(others, default=None)
            overdue = oldest is not None and time.monotonic() - oldest > PATIENCE
            if self._alone or overdue or (others and not own):
                return None
            taken: list[Ticket] = []
            while own and len(taken) < count:
                ticket = own.popleft()
                if not ticket.future.done():
                    taken.append(ticket)
            self._changed.notify_all()
            return taken

    def close(self, *, give_up: bool) -> None:
        """Take no further tickets; with `give_up`, cancel those that wait."""
        with self._changed:
            self.closed = True
            if give_up:
                for ticket in [*self._alone, *(one for tickets in self._waiting.values() for one in tickets)]:
                    ticket.cancel()
            self._changed.notify_all()
