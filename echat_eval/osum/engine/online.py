"""Engines that run for long: any thread submits requests, which are decoded in the same slots."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from echat_eval.osum.engine.job_source import NumberedRequest
from echat_eval.osum.engine.request_queue import QueueClosed, QueueFull, RequestQueue, Ticket
from echat_eval.osum.engine.types import ReplyPart

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from echat_eval.osum.decoding.sampling import Sampling
    from echat_eval.osum.engine.engine import Engine
    from echat_eval.osum.engine.types import OsumReply, ReplyKind
    from echat_eval.osum.prompts.modes import GenerationRequest

__all__ = ["OnlineCounts", "OnlineEngine", "QueueClosed", "QueueFull", "Ticket"]

#: Requests that may wait unless the caller sets another limit.
MAX_WAITING = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineCounts:
    """Numbers of requests by their state.

    A submitted request is waiting, running, answered, failed or cancelled. While nothing is asked, `running`
    and `releasing` are 0: otherwise a slot leaks.

    Attributes:
        running: taken by an engine and not ended.
        releasing: given up or failed; the slot is freed when the engine next reads the rows.
        slots: over all engines.
    """

    submitted: int
    waiting: int
    running: int
    releasing: int
    answered: int
    failed: int
    cancelled: int
    slots: int


class TicketSupply:
    """The tickets of one kind that an engine takes during one run; the first is taken already.

    Attributes:
        open: number -> ticket, of those that take a slot.
    """

    def __init__(self, queue: RequestQueue, first: Ticket, engine: int) -> None:
        self.queue, self.kind, self.engine, self.alone = queue, first.kind, engine, first.alone
        self.open: dict[int, Ticket] = {}
        self._first: list[Ticket] = [first]

    def take(self, count: int) -> Sequence[NumberedRequest] | None:
        """Return up to `count` further requests; see `RequestSupply`."""
        tickets, self._first = self._first, []
        if count > len(tickets):
            further = None if self.alone else self.queue.take(self.kind, count - len(tickets))
            if further is None and not tickets:
                return None
            tickets += further or ()
        now = time.monotonic()
        for ticket in tickets:
            ticket.started, ticket.engine = now, self.engine
        self.open |= {ticket.number: ticket for ticket in tickets}
        return [
            NumberedRequest(
                number=ticket.number,
                request=ticket.request,
                streamed=ticket.streamed,
                max_new_tokens=ticket.max_new_tokens,
            )
            for ticket in tickets
        ]

    def unwanted(self) -> set[int]:
        """Return the numbers of tickets that were given up or have failed."""
        return {number for number, ticket in self.open.items() if ticket.future.done()}

    def dropped(self, number: int) -> None:
        """Forget a ticket whose slot is free."""
        self.open.pop(number)

    def fail(self, number: int, error: Exception) -> None:
        """Set the failure of one request."""
        self.open[number].end(error)


class OnlineEngine:
    """One bounded queue before one or several engines, each with a thread of its own.

    Requests that differ in mode, sampling or the limit of the mode are not decoded together: when one of
    another kind has waited for a second, the present kind takes no more until its turn comes again. An error
    that several requests meet together is repeated with each alone, and fails only those that cause it.

    Args:
        engines: each on its device; not to be used elsewhere before `close`.
        max_waiting: the most requests that wait.
    """

    def __init__(self, engines: Sequence[Engine], *, max_waiting: int = MAX_WAITING) -> None:
        self.engines = tuple(engines)
        self.queue = RequestQueue(max_waiting)
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._supplies: dict[int, TicketSupply] = {}
        self._submitted = self._answered = self._failed = self._cancelled = 0

    def submit(
        self,
        request: GenerationRequest,
        *,
        mode: str = "s2s",
        sampling: Sampling | None = None,
        max_new_tokens: int = 0,
        on_text: Callable[[tuple[int, ...]], None] | None = None,
        on_codec: Callable[[tuple[int, ...]], None] | None = None,
        wait: bool = False,
        kind: ReplyKind | None = None,
    ) -> Ticket:
        """Check a request, add it to the queue, and return the ticket of its reply.

        In profile `fixed`, the ids that the callbacks get are together those of the reply; profile `upstream`
        cuts the reply at its end.

        Args:
            request: in fp32 its reply is the same as if it were alone.
            mode: a name of `modes.MODES`.
            sampling: replaces the mode's sampling.
            max_new_tokens: a limit on the ids of this reply, below that of the profile; 0 for that.
            on_text, on_codec: see `Ticket`.
            wait: for a place in a full queue.
            kind: in place of mode and sampling, as returned by `Engine.kind`.

        Raises:
            SystemFailure, UsageError: as `Engine.check`.
            QueueFull: the queue is full, and `wait` is false.
            QueueClosed: after `close`.
        """
        engine = self.engines[0]
        kind = kind or engine.kind(mode, sampling=sampling)
        engine.prompts.checked_layout(kind.mode, request, max_new_tokens=kind.rules.max_new_tokens)
        ticket = Ticket(
            number=next(self._numbers),
            request=request,
            kind=kind,
            on_text=on_text,
            on_codec=on_codec,
            max_new_tokens=max_new_tokens,
        )
        self._start()
        self.queue.put(ticket, wait=wait)
        with self._lock:
            self._submitted += 1
        ticket.future.add_done_callback(self._count)
        return ticket

    def counts(self) -> OnlineCounts:
        """Return the numbers of requests by their state."""
        held = [
            ticket.future.done()
            for supply in list(self._supplies.values())
            for ticket in list(supply.open.values())
        ]
        with self._lock:
            return OnlineCounts(
                submitted=self._submitted,
                waiting=len(self.queue),
                running=held.count(False),
                releasing=held.count(True),
                answered=self._answered,
                failed=self._failed,
                cancelled=self._cancelled,
                slots=sum(engine.slots for engine in self.engines),
            )

    def close(self, *, give_up: bool = False, timeout: float | None = None) -> bool:
        """Take no further requests, finish the others, and end the threads.

        Args:
            give_up: cancel all requests instead of finishing them.
            timeout: seconds after which all that are left are cancelled; None for no limit.

        Returns:
            Whether every request ended without being cancelled here.
        """
        self.queue.close(give_up=give_up)
        if give_up:
            self._cancel_running()
        until = None if timeout is None else time.monotonic() + timeout
        for thread in self._threads:
            thread.join(None if until is None else max(0.0, until - time.monotonic()))
        in_time = not any(thread.is_alive() for thread in self._threads)
        if not in_time:
            self.queue.close(give_up=True)
            self._cancel_running()
            for thread in self._threads:
                thread.join()
        return in_time and not give_up

    def _cancel_running(self) -> None:
        for supply in list(self._supplies.values()):
            for ticket in list(supply.open.values()):
                ticket.cancel()

    def _start(self) -> None:
        with self._lock:
            if self._threads:
                return
            self._threads = [
                threading.Thread(target=self._serve, args=(number,), name=f"osum-{number}", daemon=True)
                for number in range(len(self.engines))
            ]
            for thread in self._threads:
                thread.start()

    def _count(self, future: Future[OsumReply]) -> None:
        """Count a ticket that has ended."""
        with self._lock:
            if future.cancelled():
                self._cancelled += 1
            elif future.exception() is not None:
                self._failed += 1
            else:
                self._answered += 1

    def _serve(self, number: int) -> None:
        """Decode tickets until the queue is closed and empty."""
        device = self.engines[number].model.device
        with torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext():
            while (first := self.queue.next()) is not None:
                self._run(number, TicketSupply(self.queue, first[0], number))

    def _run(self, number: int, supply: TicketSupply) -> None:
        """Decode the tickets of one kind until none is left, or until another kind's turn comes."""
        self._supplies[number] = supply
        try:
            slots = 1 if supply.alone or supply.kind.mode.interleaved else 0
            for event in self.engines[number].serve(supply, supply.kind, slots=slots):
                if isinstance(event, ReplyPart):
                    supply.open[event.number].hand_out(event)
                else:
                    ended, reply = event
                    supply.open.pop(ended).end(reply)
        except Exception as error:  # noqa: BLE001 - of whatever kind, the other requests must still get their replies
            left = [ticket for ticket in supply.open.values() if not ticket.future.done()]
            supply.open.clear()
            if supply.alone:
                for ticket in left:
                    ticket.end(error)
            else:
                self.queue.put_back(left)
        finally:
            del self._supplies[number]
