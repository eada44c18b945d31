"""One client of a scripted live server: its messages, and the answers of the server, faults included."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import time
from array import array
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from echat_eval.testing.realtime_forms import FORMS, Form

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["Conversation", "LiveScript", "LiveSession"]

#: Samples of the query louder than this are speech, and a pause of this many seconds ends a turn.
_SPEECH, _PAUSE_SECONDS = 300, 0.5
#: Seconds of voice in one message.
_PIECE_SECONDS = 0.1


class LiveScript(Protocol):
    """The answers of a scripted server; see `ScriptedRealtimeServer`."""

    dialect: str
    fault: str | None
    fault_turn: int
    words: tuple[str, ...]
    voice: bytes
    rate: int
    delay: float
    real_time: bool


@dataclass(slots=True)
class LiveSession:
    """The messages of one session, and their times, on the monotonic clock.

    Attributes:
        path: of the handshake, with its query.
        headers: of the handshake; names in lower case.
        messages: everything but the audio of the query.
        query: 16-bit samples, of all turns.
        turn_ends: number of bytes of them at the end of each turn.
        chunks: number of messages with audio, and when each arrived.
        query_end: when the last speech of the query, or the end of the turn, arrived.
        first_audio: when the first piece of the reply's voice was sent.
    """

    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    messages: list[dict[str, Any]] = field(default_factory=list)
    query: bytearray = field(default_factory=bytearray)
    turn_ends: list[int] = field(default_factory=list)
    chunks: list[float] = field(default_factory=list)
    query_end: float = 0.0
    first_audio: float | None = None

    @property
    def queries(self) -> list[bytes]:
        """Return the samples of each turn."""
        begins = [0, *self.turn_ends]
        return [bytes(self.query[a:b]) for a, b in zip(begins, self.turn_ends, strict=False)]

    @property
    def first_audio_seconds(self) -> float | None:
        """Return the time from the end of the query to the first audio, on the server's clock."""
        return None if self.first_audio is None else self.first_audio - self.query_end


class Conversation:
    """One client of a `ScriptedRealtimeServer`."""

    def __init__(
        self,
        server: LiveScript,
        session: LiveSession,
        socket: web.WebSocketResponse,
        request: web.Request,
    ) -> None:
        self.server, self.session, self.socket, self.request = server, session, socket, request
        self.form: Form = FORMS[server.dialect]()
        self.fault = server.fault if server.fault_turn == 1 else None
        self.turn = "commit"
        self._settings: dict[str, Any] = {}
        self._speaking, self._silent = False, 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._replies = 0
        self._early: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Answer the client until it leaves."""
        if self.fault == "late":
            await asyncio.sleep(0.15)
        if self.fault == "wrong-key-event":
            await self._refuse("invalid_api_key", "Incorrect API key provided.", 1008)
        if self.fault == "unknown-model":
            await self._refuse("model_not_found", "The model 'scripted' does not exist.", 1008)
        if self.fault == "no-quota":
            await self._refuse("insufficient_quota", "You exceeded your current quota.", 1011)
        if self.fault == "other-dialect":
            self.form = FORMS["openai" if self.server.dialect in ("beta", "gemini") else "beta"]()
        for message in self.form.greeting():
            await self.send(message)
        async for raw in self.socket:
            if raw.data and isinstance(raw.data, str):
                await self._take(json.loads(raw.data))
        for task in self._tasks:
            task.cancel()

    async def _refuse(self, code: str, message: str, closing: int) -> None:
        """Report an error, as an event where the dialect has one, and close."""
        if (event := self.form.error(code, message)) is not None:
            await self.send(event)
            await self.socket.close()
        else:
            await self.socket.close(code=closing, message=message.encode())

    async def _take(self, message: dict[str, Any]) -> None:
        try:
            kind, content = self.form.taken(message)
        except (KeyError, TypeError) as error:
            await self._refuse("invalid_event", f"Missing required parameter: {error}.", 1007)
            return
        if kind == "audio":
            await self._take_audio(base64.b64decode(content))
            return
        self.session.messages.append(message)
        if kind == "set up":
            self.turn = content or self.turn
            self._settings |= message.get("session", {})  # an update states what changes
            message = {**message, "session": self._settings}
            stated = 16_000 if self.fault == "other-rate" else self.server.rate
            turn = "vad" if self.fault == "other-turn" else self.turn
            if self.fault == "bad-setting":
                await self._refuse("invalid_value", "Invalid value: 'x' is no 'voice'.", 1007)
            for event in self.form.confirmed(message, turn, stated):
                await self.send(event)
        elif kind == "end":
            self.session.query_end = time.monotonic()
            self._begin_reply()

    async def _take_audio(self, samples: bytes) -> None:
        now = time.monotonic()
        self.session.chunks.append(now)
        self.session.query += samples
        if self.turn != "vad":
            return
        loud = max(map(abs, array("h", samples)), default=0) > _SPEECH
        if loud:
            self.session.query_end = now
            if not self._speaking:
                self._speaking = True
                await self._speech_started()
            self._silent = 0.0
            return
        self._silent += len(samples) / 2 / self.form.input_rate
        if self._speaking and self._silent >= _PAUSE_SECONDS:
            self._speaking = False
            self._begin_reply()

    async def _speech_started(self) -> None:
        if self._early is not None:
            self._early.cancel()
            for event in self.form.interrupted(f"r{self._replies - 1}"):
                await self.send(event)
            self._early = None
        for event in self.form.speech():
            await self.send(event)

    def _begin_reply(self) -> None:
        self.session.turn_ends.append(len(self.session.query))
        if len(self.session.turn_ends) == self.server.fault_turn:
            self.fault = self.server.fault
        if self.fault == "silence":
            return
        task = asyncio.create_task(self._reply(f"r{self._replies}"))
        if self._replies == 0 and self.fault == "interrupted":
            self._early = task
        self._replies += 1
        self._tasks.add(task)

    # -- replies ---------------------------------------------------------------------

    async def _reply(self, name: str) -> None:
        await asyncio.sleep(self.server.delay + (0.2 if self.fault == "late" else 0.0))
        begun = time.monotonic()
        spoken = 0.0
        async for message, seconds in self._messages(name):
            if self.server.real_time or (name == "r0" and self.fault == "interrupted"):
                await asyncio.sleep(max(0.0, begun + spoken - time.monotonic()))
            if seconds and self.session.first_audio is None:
                self.session.first_audio = time.monotonic()
            spoken += seconds
            await self.send(message)
        if self.fault == "leaves":
            await self.socket.close()

    async def _messages(self, name: str) -> AsyncIterator[tuple[dict[str, Any], float]]:
        """Yield the messages of a reply, each with the seconds of voice in it."""
        found = list(self._whole(name))
        if self.fault == "wrong-order":
            found = self.form.reordered(found)
        if self.fault == "two-responses":
            other = [(message, 0.0) for message, _ in self._whole("r9")]
            found = [*found[:-1], *other, found[-1]] if self.form.has_ids else [*found, *other]
        for number, (message, seconds) in enumerate(found):
            if self.fault == "unknown-events":
                yield {"type": "rate_limits.updated", "rate_limits": []}, 0.0
                yield {"type": "x.y", "serverNews": [number]}, 0.0
            yield message, seconds
            if seconds:
                await self._after_audio()

    def _whole(self, name: str) -> Iterator[tuple[dict[str, Any], float]]:
        voice, rate, form = self.server.voice, self.server.rate, self.form
        for message in form.started(name):
            yield message, 0.0
        size = 2 * int(rate * _PIECE_SECONDS)
        pieces = [voice[at : at + size] for at in range(0, len(voice), size)]
        turn = str(len(self.session.turn_ends))
        words = [piece.replace("{turn}", turn) for piece in self.server.words]
        for number in range(max(len(pieces), len(words))):
            if number < len(words):
                yield form.words(name, words[number]), 0.0
            if number < len(pieces):
                yield self._audio(name, pieces[number], rate, number)
        for message in form.ended(name, "".join(words)):
            yield message, 0.0

    def _audio(self, name: str, piece: bytes, rate: int, number: int) -> tuple[dict[str, Any], float]:
        stated = 16_000 if self.fault == "other-rate" else rate
        if self.fault == "changing-rate" and number:
            stated = 8000
        if self.fault == "odd-bytes" and not number:
            piece = piece[:-1]
        content = base64.b64encode(piece).decode()
        if self.fault == "torn-base64" and number == 1:
            content = content[: len(content) // 2 * 2 - 3]
        return self.form.audio(name, content, stated), len(piece) / 2 / rate

    async def _after_audio(self) -> None:
        """Show the faults that happen in the middle of a reply."""
        if self.fault == "close-mid-reply":
            await self.socket.close()
        if self.fault == "cut-mid-reply" and self.request.transport is not None:
            self.request.transport.abort()
        if self.fault == "expired":
            message = "Your session hit the maximum duration of 60 minutes."
            await self._refuse("session_expired", message, 1001)
        if self.fault == "own-error":
            await self._refuse("bad_reply", "the model returned nothing", 1007)
        if self.fault == "no-json":
            await self.socket.send_str("I hear you")
        if self.fault == "no-object":
            await self.socket.send_str("[1, 2]")
        if self.fault == "broken-off":
            for event in self.form.interrupted("r0"):
                await self.send(event)
        if self.fault == "busy":
            for event in self.form.failed("r0", "inference_rate_limit_exceeded", "too many requests"):
                await self.send(event)
            await self.socket.close(code=1013, message=b"overloaded")
        while self.fault == "endless":
            second = base64.b64encode(bytes(2 * self.server.rate * 10)).decode()
            await self.send(self.form.audio("r0", second, self.server.rate))

    async def send(self, message: dict[str, Any]) -> None:
        """Send an object, whole or in several frames."""
        text = json.dumps(message)
        if self.socket.closed:
            raise asyncio.CancelledError
        try:
            if self.fault == "split-frames" and self.request.transport is not None:
                self.request.transport.write(b"".join(_frames(text.encode())))
            elif self.form.binary:
                await self.socket.send_bytes(text.encode())
            else:
                await self.socket.send_str(text)
        except (ConnectionError, RuntimeError):
            raise asyncio.CancelledError from None


def _frames(content: bytes) -> Iterator[bytes]:
    """Yield a text message as three frames, cut within characters and without regard to JSON."""
    third = max(1, len(content) // 3)
    parts = [content[:third], content[third : 2 * third], content[2 * third :]]
    for number, part in enumerate(parts):
        first = (0x80 if number == 2 else 0) | (0x01 if number == 0 else 0x00)
        if len(part) < 126:
            yield struct.pack("!BB", first, len(part)) + part
        elif len(part) < 2**16:
            yield struct.pack("!BBH", first, 126, len(part)) + part
        else:
            yield struct.pack("!BBQ", first, 127, len(part)) + part
