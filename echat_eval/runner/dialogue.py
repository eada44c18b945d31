"""Asks one system a live dialogue, turn by turn.

A system that holds sessions gets one session per dialogue. Any other system gets each turn with the dialogue
so far as its history. An error in any turn ends the dialogue; the caller begins it again from the first turn.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from echat_eval.concurrency.retry import RetryPolicy, Timed, call_with_retries, timed
from echat_eval.errors import NotApplicable
from echat_eval.ports import Oracle, SessionSystem, dialogue_fault_of
from echat_eval.records import Reply, Request, Sample
from echat_eval.store.turns import request_of_turn, sample_of_turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from concurrent.futures import Executor

    from echat_eval.ports import System

__all__ = ["Dialogue"]

logger = logging.getLogger(__name__)

_Call: TypeAlias = "Callable[[], Reply | Awaitable[Reply]]"


class Dialogue:
    """The dialogue of one sample with one system.

    Args:
        whole: the last request with its scripted turns; of an oracle, the sample.
        threads: for functions that are no coroutines.
        store: checks and stores a reply; only then does the next turn begin.

    Attributes:
        total: number of turns of the user.
        turn: number of the turn that was asked last, from 1; 0 if none was.
    """

    def __init__(
        self,
        system: System | Oracle,
        whole: Request | Sample,
        *,
        threads: Executor,
        store: Callable[[Timed[Reply]], Awaitable[Timed[Reply]]],
    ) -> None:
        self._system, self._whole, self._threads, self._store = system, whole, threads, store
        self.total = len(whole.turns or ()) + 1
        self.turn = 0

    async def ask(self) -> Timed[tuple[Reply, ...]]:
        """Ask every turn; return all replies, and the duration of the last turn.

        Raises:
            NotApplicable: the system states that it cannot hold a dialogue.
            Any error of the system in one of the turns.
        """
        if fault := dialogue_fault_of(self._system):
            raise NotApplicable(fault)
        replies: list[Reply] = []
        self.turn = 0
        async with self._opened() as call_for:
            for number in range(self.total):
                self.turn = number + 1
                done = await self._store(await timed(call_for(tuple(replies)), threads=self._threads))
                replies.append(done.value)
        return Timed(value=tuple(replies), seconds=done.seconds)

    def reason(self, reason: str | None) -> str | None:
        """Return the reason of a dialogue without an outcome, with the turn in which it ended."""
        return f"turn {self.turn} of {self.total}: {reason}" if reason and self.turn else reason

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Callable[[tuple[Reply, ...]], _Call]]:
        """Return a function from the replies so far to the call of the next turn."""
        system, whole = self._system, self._whole
        if isinstance(whole, Sample):
            assert isinstance(system, Oracle)
            yield lambda replies: partial(system.respond_to, sample_of_turn(whole, replies))
            return
        assert not isinstance(system, Oracle)
        if not isinstance(system, SessionSystem) or not system.holds_sessions:
            yield lambda replies: partial(system.respond, request_of_turn(whole, replies))
            return
        opened = await timed(partial(system.open_session, request_of_turn(whole, ())), threads=self._threads)
        session = opened.value
        try:
            yield lambda replies: partial(session.respond, request_of_turn(whole, replies))
        finally:
            closed = await call_with_retries(
                lambda: timed(session.close, threads=self._threads),
                blame="system",
                retry_policy=RetryPolicy(tries=1),
            )
            if closed.state != "value":  # the replies, or the error of a turn, are what counts
                logger.warning("%s: a session could not be closed: %s", system.name, closed.reason)
