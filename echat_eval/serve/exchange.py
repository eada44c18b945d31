"""One question while it is answered: what the model's threads hand to the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from echat_eval.records import Reply

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    from echat_eval.serve.answerer import Answerer, Delta, Outcome, Question, Ticket

__all__ = ["Exchange", "exchange"]


class Exchange:
    """The pieces of one reply, in order."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._outcomes: asyncio.Queue[Outcome] = asyncio.Queue()

    def take(self, outcome: Outcome) -> None:
        """Add what arrived, on any thread."""
        try:
            self._loop.call_soon_threadsafe(self._outcomes.put_nowait, outcome)
        except RuntimeError:  # the loop has ended, and so has the wait
            if not self._loop.is_closed():
                raise

    async def pieces(self) -> AsyncIterator[Delta | Reply]:
        """Yield every piece of the reply, and at last the whole reply.

        Raises:
            EChatError: the reply failed.
        """
        while True:
            outcome = await self._outcomes.get()
            if isinstance(outcome, BaseException):
                raise outcome
            yield outcome
            if isinstance(outcome, Reply):
                return


@asynccontextmanager
async def exchange(answerer: Answerer, question: Question, threads: Executor) -> AsyncIterator[Exchange]:
    """Ask a question, and take it back when the block is left before the reply is whole.

    Args:
        threads: read the question's audio.

    Raises:
        SystemFailure, NotApplicable, Unavailable: as `Answerer.submit`.
    """
    held = Exchange()
    submitted = threads.submit(answerer.submit, question, held.take)
    try:
        ticket = await asyncio.wrap_future(submitted)
    except asyncio.CancelledError:
        submitted.add_done_callback(_take_back)
        raise
    try:
        yield held
    finally:
        ticket.cancel()


def _take_back(submitted: Future[Ticket]) -> None:
    """Cancel a question whose client left while it was being accepted."""
    if not submitted.cancelled() and submitted.exception() is None:
        submitted.result().cancel()
