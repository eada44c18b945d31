"""One session with a live system: set-up, each query at its pace, and each reply with its times."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from echat_eval.errors import ServerRefusal, SystemFailure, Unavailable, UsageError
from echat_eval.systems.live.collected import Collected, LiveReply
from echat_eval.systems.live.query import CHUNK_SECONDS

if TYPE_CHECKING:
    from echat_eval.clients.websocket import Socket
    from echat_eval.records import Waveform
    from echat_eval.systems.live.dialect import Dialect, Event, LiveSettings, PlainTurn
    from echat_eval.systems.live.query import Query

__all__ = ["Answer", "Pace", "Session"]

#: How the query's audio is sent: all of it as fast as the connection takes it, or as a person speaks.
Pace = Literal["at_once", "real_time"]
#: Seconds until a session is set up.
SETUP_SECONDS = 20.0
#: Seconds of silence after the query, and then of waiting, until the server's turn detection must have acted.
SILENCE_SECONDS, TURN_SECONDS = 3.0, 7.0
#: Seconds to wait for the end of the audio of a reply that ended, or for another reply in the mode "vad".
GRACE_SECONDS, NEXT_REPLY_SECONDS = 0.3, 1.5
#: Seconds between two pings.
PING_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The result of one query; times are in seconds from the end of the query's audio.

    Attributes:
        first_audio_seconds: to the first sample; 0 if it arrived before that end.
        first_audible_seconds: to the first sample that is audible.
        round_trip_seconds: of the fastest ping of the session; None if none was answered.
        interruptions: replies that the system began before this one.
    """

    text: str | None
    voice: Waveform | None
    first_audio_seconds: float | None
    first_audible_seconds: float | None
    round_trip_seconds: float | None
    interruptions: int
    finish_reason: str | None
    usage: Mapping[str, float]


class Session:
    """A session on an open socket, for one query after another.

    Args:
        pace: of the queries' audio.

    Attributes:
        played_until: when the last reply is played to its end, on the monotonic clock; a query in real time
            begins then.
    """

    def __init__(self, socket: Socket, dialect: Dialect, settings: LiveSettings, pace: Pace) -> None:
        self._socket, self._dialect, self._settings, self._pace = socket, dialect, settings, pace
        self._collected = Collected(dialect, settings.output_rate)
        self._past: set[str] = set()
        self._is_later = False
        self._patience = asyncio.timeout(None)
        self._query_end: float | None = None
        self.played_until = 0.0

    async def open(self, turns: Sequence[PlainTurn]) -> None:
        """Set the session up, and add earlier turns.

        Raises:
            UsageError: the server refuses the settings, holds others, or speaks another dialect.
            Unavailable: no session in time.
        """
        place, dialect = self._socket.place, self._dialect
        await self._socket.send(dialect.set_up(self._settings))
        try:
            async with asyncio.timeout(SETUP_SECONDS):
                if dialect.greets or dialect.confirms:
                    await self._set_up("ready" if dialect.confirms else "greeting")
        except TimeoutError as error:
            raise Unavailable(
                f"{place}: no session in {SETUP_SECONDS:g} s; if the server speaks another dialect than "
                f"{dialect.name!r}, set --set dialect=NAME"
            ) from error
        except SystemFailure as error:  # nothing was asked yet: no evidence about the system
            raise ServerRefusal(f"{error}; check the settings and the dialect") from error
        await self._socket.ping()
        for turn in turns:
            await self._socket.send(dialect.turn(turn))

    async def instruct(self, instructions: str) -> None:
        """Change the instructions for the queries that follow, in a dialect that can."""
        if (message := self._dialect.instruct(instructions)) is not None:
            await self._socket.send(message)

    async def _set_up(self, kind: str) -> None:
        while True:
            message, _ = await self._socket.receive()
            for event in self._dialect.read(message, self._socket.place):
                if event.kind == "ready":
                    self._check_settings(event)
                if event.kind == kind:
                    return

    def _check_settings(self, event: Event) -> None:
        """Raise UsageError if the session holds other settings than were asked for."""
        settings, place = self._settings, self._socket.place
        if event.input_rate not in (None, settings.input_rate):
            raise UsageError(
                f"{place}: the session takes audio at {event.input_rate} Hz, and {settings.input_rate} Hz "
                f"are sent; set --set input_rate={event.input_rate}"
            )
        if event.turn not in (None, settings.turn):
            raise UsageError(
                f"{place}: the session ends turns by {event.turn!r}, and {settings.turn!r} was asked for; "
                f"set --set turn={event.turn}"
            )
        if event.output_rate is not None:
            self._collected.output_rate = event.output_rate

    async def ask(self, query: Query) -> Answer:
        """Send a query and return the reply.

        Raises:
            SystemFailure: the reply is broken or never ends, or the system takes no turn.
            Unavailable: the server is silent or the connection ended.
        """
        if self._query_end is not None:
            self._begin_again()
        sender = asyncio.create_task(self._send(query))
        try:
            reply = await self._reply(sender)
        finally:
            sender.cancel()
            await asyncio.wait([sender])
        if not sender.cancelled() and (error := sender.exception()) is not None:
            raise error
        self.played_until = reply.played_until(self._collected.output_rate)
        return self._answer(reply)

    def _begin_again(self) -> None:
        """Forget the replies to the query before."""
        self._past |= {reply.id for reply in self._collected.replies if reply.id is not None}
        self._collected = Collected(self._dialect, self._collected.output_rate)
        self._is_later = True
        self._patience = asyncio.timeout(None)
        self._query_end = None

    # -- sending ---------------------------------------------------------------------

    async def _send(self, query: Query) -> None:
        if self._pace == "real_time":  # a person lets the system finish
            await _sleep_until(self.played_until)
        for message in self._dialect.begin(self._settings):
            await self._socket.send(message)
        begun = time.monotonic()
        pinged = begun
        for number, piece in enumerate(query.pieces):
            if self._pace == "real_time":
                # A microphone has a piece when it was spoken.
                await _sleep_until(begun + min((number + 1) * CHUNK_SECONDS, query.seconds))
                if time.monotonic() - pinged > PING_SECONDS:
                    pinged = time.monotonic()
                    await self._socket.ping()
            await self._socket.send_text(piece)
        self._query_end = time.monotonic()
        if self._settings.turn == "commit":
            for message in self._dialect.end(self._settings):
                await self._socket.send(message)
        else:
            await self._send_silence(query)
        await self._socket.ping()

    async def _send_silence(self, query: Query) -> None:
        """Send silence, by which the server's turn detection finds the end of the query, until it replies."""
        begun, ended = time.monotonic(), len(self._collected.replies)
        for number in range(round(SILENCE_SECONDS / CHUNK_SECONDS)):
            if self._pace == "real_time":
                await _sleep_until(begun + (number + 1) * CHUNK_SECONDS)
                if len(self._collected.replies) > ended:
                    return
            await self._socket.send_text(query.silence)
        if len(self._collected.replies) == ended:
            complete = bool(self._collected.replies)
            self._wait(NEXT_REPLY_SECONDS if complete else TURN_SECONDS)

    def _wait(self, seconds: float | None) -> None:
        """Limit the wait for the next event; None: as long as the whole exchange may last."""
        loop = asyncio.get_running_loop()
        self._patience.reschedule(None if seconds is None else loop.time() + seconds)

    # -- receiving -------------------------------------------------------------------

    async def _reply(self, sender: asyncio.Task[None]) -> LiveReply:
        """Return the reply that counts, once it is complete."""
        try:
            async with self._patience:
                while True:
                    message, arrived = await self._socket.receive()
                    for event in self._dialect.read(message, self._socket.place):
                        self._take(event, arrived)
                    if (reply := self._finished()) is not None:
                        return reply
        except TimeoutError:
            if not self._patience.expired():
                raise
        reply = self._candidate()
        if reply is not None and self._collected.is_complete(reply):
            return reply
        if self._socket.round_trip is None:
            raise Unavailable(
                f"{self._socket.place}: the server is silent and answers no ping", overloaded=True
            )
        begun = "broke its reply off and began no other" if reply is not None else "began no reply"
        raise SystemFailure(
            f"the system {begun} within {SILENCE_SECONDS + TURN_SECONDS:g} s after the query "
            f"(turn=vad: its turn detection found no end of the query)"
        )

    def _take(self, event: Event, arrived: float) -> None:
        if self._is_of_the_past(event):
            return
        known = len(self._collected.replies)
        self._collected.take(event, arrived)
        if len(self._collected.replies) > known:
            self._wait(None)
        if event.kind == "interrupted":
            if self._settings.turn == "commit":
                raise SystemFailure(
                    f"the server broke its reply off ({event.finish or 'interrupted'}) although nothing was "
                    "said meanwhile"
                )
            self._wait(TURN_SECONDS)

    def _is_of_the_past(self, event: Event) -> bool:
        """Return whether an event belongs to the queries before, such as to a second reply."""
        if event.reply in self._past:
            return True
        # Nothing is to be replied to yet.
        is_early = self._is_later and self._query_end is None and self._settings.turn == "commit"
        if is_early and event.reply is not None:
            self._past.add(event.reply)
        return is_early

    def _finished(self) -> LiveReply | None:
        """Return the reply that counts once it is complete, and nothing else is to be expected."""
        reply = self._candidate()
        if reply is None or self._query_end is None:
            return None
        if self._settings.turn == "vad" and self._collected.hears_speech:
            return None
        if reply.is_interrupted or not self._collected.is_complete(reply):
            return None
        if self._collected.lacks_audio_end(reply):
            self._wait(GRACE_SECONDS)
            return None
        if self._settings.turn == "vad" and self._began_early(reply):
            self._wait(NEXT_REPLY_SECONDS)
            return None
        return reply

    def _candidate(self) -> LiveReply | None:
        """Return the reply that counts, complete or not: the first, or the last in the mode "vad"."""
        replies = self._collected.replies
        if not replies:
            return None
        return replies[0] if self._settings.turn == "commit" else replies[-1]

    def _began_early(self, reply: LiveReply) -> bool:
        """Return whether a reply began before the query's end, so that another may follow."""
        return bool(reply.pieces) and self._query_end is not None and reply.pieces[0][1] < self._query_end

    def _answer(self, reply: LiveReply) -> Answer:
        assert self._query_end is not None
        voice = reply.waveform(self._collected.output_rate)
        audible = None if voice is None else reply.audible_at(voice)
        return Answer(
            text=reply.said or None,
            voice=voice,
            first_audio_seconds=max(0.0, reply.pieces[0][1] - self._query_end) if reply.pieces else None,
            first_audible_seconds=None if audible is None else max(0.0, audible - self._query_end),
            round_trip_seconds=self._socket.round_trip,
            interruptions=self._collected.replies.index(reply),
            finish_reason=reply.finish_reason,
            usage=reply.usage,
        )


async def _sleep_until(moment: float) -> None:
    if (rest := moment - time.monotonic()) > 0:
        await asyncio.sleep(rest)
