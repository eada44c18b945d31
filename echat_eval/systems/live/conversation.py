"""One lasting session with a live system, as a dialogue of one turn or more holds it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from echat_eval.errors import NotApplicable
from echat_eval.systems.live.query import encoded_query, encoded_turns
from echat_eval.systems.live.session import Session
from echat_eval.systems.wire import MAX_REPLY_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from echat_eval.clients.websocket import Socket
    from echat_eval.concurrency.threads import Threads
    from echat_eval.records import Request
    from echat_eval.systems.live.dialect import Dialect, LiveSettings, PlainTurn
    from echat_eval.systems.live.query import Query
    from echat_eval.systems.live.session import Answer, Pace

__all__ = ["NO_TURNS", "Conversation", "PreparedTurn"]

NO_TURNS = "dialect={} has no earlier turns: each utterance stands alone"


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedTurn:
    """The messages of one turn.

    Attributes:
        history: turns before the session.
        instructions: system prompt and question.
    """

    query: Query
    history: Sequence[PlainTurn]
    instructions: str | None


class Conversation:
    """A dialogue in one session, which opens with its first turn.

    Only the first turn's history is sent: the server remembers the turns of the session.

    Args:
        connect: opens a connection.
        pace: of the queries' audio.
        timeout: seconds per reply, besides the query's own duration at its real pace.
        encoders: threads that read and encode queries.

    Attributes:
        is_asked: the last turn was sent, at least in part.
        spoken: seconds of the last turn that are none of the system's: the query's at its real pace, and the
            rest of the reply before it.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Socket]],
        *,
        dialect: Dialect,
        settings: LiveSettings,
        pace: Pace,
        timeout: float,
        encoders: Threads,
    ) -> None:
        self._connect, self._encoders = connect, encoders
        self._dialect, self._settings, self._pace, self._timeout = dialect, settings, pace, timeout
        self._socket: Socket | None = None
        self._session: Session | None = None
        self._instructions: str | None = None
        self.is_asked = False
        self.spoken = 0.0

    async def prepare(self, request: Request) -> PreparedTurn:
        """Return the messages of the next turn, made on a thread.

        Raises:
            NotApplicable: the dialect has no message for an earlier turn, or for a question.
            Unavailable: the audio cannot be read, which is no fault of the system.
        """
        dialect, settings, is_first = self._dialect, self._settings, self._session is None
        if is_first:
            _refuse(request, dialect)
        instructions = _with_question(settings.instructions, request.instruction)
        if not is_first and instructions != self._instructions and dialect.instruct("") is None:
            raise NotApplicable(f"dialect={dialect.name} cannot take a question in the middle of a session")

        def encode() -> PreparedTurn:
            return PreparedTurn(
                query=encoded_query(request.audio, dialect, settings),
                history=encoded_turns(request.history, dialect, settings) if is_first else [],
                instructions=instructions,
            )

        return await asyncio.wrap_future(self._encoders.submit(encode))

    async def ask(self, turn: PreparedTurn) -> Answer:
        """Send the next turn and return the reply.

        Raises:
            Unavailable, SystemFailure, UsageError: as `echat_eval.clients.websocket.open_socket` and
                `echat_eval.systems.live.session.Session`.
        """
        self.is_asked = False
        is_first = self._session is None
        if self._session is None:
            self._socket = await self._connect()
            settings = replace(self._settings, instructions=turn.instructions)
            self._session = Session(self._socket, self._dialect, settings, self._pace)
        assert self._socket is not None
        self.spoken = 0.0
        if self._pace == "real_time":
            self.spoken = turn.query.seconds + max(0.0, self._session.played_until - time.monotonic())
        async with self._socket.exchange(timeout=self._timeout + self.spoken, max_bytes=MAX_REPLY_BYTES):
            if is_first:
                await self._session.open(turn.history)
            elif turn.instructions != self._instructions:
                await self._session.instruct(turn.instructions or "")
            self._instructions = turn.instructions
            self.is_asked = True
            return await self._session.ask(turn.query)

    async def close(self) -> None:
        """End the session."""
        if self._socket is not None:
            await self._socket.close()


def _with_question(instructions: str | None, question: str | None) -> str | None:
    """Return the instructions of a session with a question among them.

    A message of its own before the audio would be a turn of its own for some servers.
    """
    return "\n\n".join(filter(None, [instructions, question])) if question else instructions


def _refuse(request: Request, dialect: Dialect) -> None:
    """Raise NotApplicable for a request that the dialect cannot express."""
    if request.history and not dialect.takes_history:
        raise NotApplicable(NO_TURNS.format(dialect.name))
    if request.instruction and not (dialect.takes_history or dialect.takes_instructions):
        raise NotApplicable(f"dialect={dialect.name} has no message for a question about the audio")
    for turn in request.history:
        if turn.text is None and not (turn.audio is not None and dialect.sends_turn(turn)):
            raise NotApplicable(f"an earlier {turn.role} turn has no text, and it cannot be sent as audio")
