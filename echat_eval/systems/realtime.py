"""Live systems behind a WebSocket: OpenAI's Realtime protocol in its dialects, and Gemini Live.

Each request has a session of its own, so that no reply depends on another sample. `echat_eval.systems.live`
holds the dialects and the session.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit, urlunsplit

from echat_eval.clients.chat import is_dated
from echat_eval.clients.keys import KEY_VARIABLES, secret_from
from echat_eval.clients.network import refuse_unread_url, socket_url
from echat_eval.clients.websocket import SocketClient, open_socket
from echat_eval.concurrency.limiter import exclude_from_latency, limiter_for
from echat_eval.concurrency.threads import Threads
from echat_eval.cost.meter import Account, metered_call
from echat_eval.cost.tokens import MessageSize
from echat_eval.errors import NotApplicable, Unavailable, UsageError, scrub
from echat_eval.io.hashing import digest
from echat_eval.ports import Destination
from echat_eval.records import Reply, Request, Turn
from echat_eval.systems.live.dialect import LiveSettings, PlainTurn
from echat_eval.systems.live.gemini import GEMINI
from echat_eval.systems.live.openai_family import OPENAI_FAMILY
from echat_eval.systems.live.query import encoded_query, encoded_turns
from echat_eval.systems.live.session import Session
from echat_eval.systems.server import ServerConnection
from echat_eval.systems.shutdowns import note_listed_shutdown
from echat_eval.systems.wire import MAX_REPLY_BYTES

if TYPE_CHECKING:
    from echat_eval.systems.live.dialect import Dialect
    from echat_eval.systems.live.query import Query

__all__ = ["DIALECTS", "Realtime"]

#: Name of a dialect -> the dialect.
DIALECTS: Mapping[str, Dialect] = {**OPENAI_FAMILY, GEMINI.name: GEMINI}
_NO_TURNS = "dialect={} has no earlier turns: each utterance stands alone"
#: Threads that read and encode queries, so that the event loop's times stay exact.
_ENCODERS = 2


class Realtime:
    """A live system.

    Args:
        model: the model's name on the server.
        url: ws:// or wss:// address; by default the dialect's own service, if it has one.
        dialect: form of the protocol.
        turn: "commit": the query ends where its audio ends; "vad": the server's voice activity detection
            finds its end.
        vad: kind of that detection: "server_vad" or "semantic_vad".
        pace: "real_time" sends the query as a person speaks; "at_once" as fast as the server takes it.
        audio_out: ask for a spoken reply.
        voice: the server's name of a voice; None for its default.
        system_prompt: the session's instructions; None for none.
        input_rate, output_rate: Hz of the query's and of the reply's samples; None for the dialect's.
        max_tokens: limit of the reply; None for the server's default.
        reasoning_effort: such as "low"; None leaves it out.
        key_from: environment variable of the key; by default ECHAT_EVAL_API_KEY, then the dialect's own.
        timeout: seconds per reply, besides the query's own duration at its real pace.
        calls_at_once: maximum number of sessions.
        name: the system's name in tables; by default the model's name.
    """

    def __init__(
        self,
        model: str,
        url: str | None = None,
        dialect: Literal[
            "openai", "beta", "xai", "vllm-omni", "vllm-omni-openai", "dynamo", "gemini"
        ] = "openai",
        turn: Literal["commit", "vad"] = "commit",
        vad: Literal["server_vad", "semantic_vad"] = "server_vad",
        pace: Literal["at_once", "real_time"] = "real_time",
        audio_out: bool = True,
        voice: str | None = None,
        system_prompt: str | None = None,
        input_rate: int | None = None,
        output_rate: int | None = None,
        max_tokens: int | None = None,
        reasoning_effort: str | None = None,
        key_from: str | None = None,
        timeout: float = 120.0,
        calls_at_once: int = 4,
        name: str | None = None,
    ) -> None:
        if dialect not in DIALECTS:
            raise UsageError(f"dialect={dialect!r}: expected {', '.join(DIALECTS)}")
        self.dialect = DIALECTS[dialect]
        self.model, self.pace, self.key_from = model, pace, key_from
        self.url = _address(url, self.dialect)
        self._is_default = self.url == self.dialect.url
        self._http_url = socket_url(self.url, "url")
        self._settings = LiveSettings(
            model=model,
            turn=turn,
            vad=vad,
            voice=voice,
            instructions=system_prompt,
            spoken=bool(audio_out),
            input_rate=input_rate or self.dialect.input_rate,
            output_rate=output_rate or self.dialect.output_rate,
            max_tokens=max_tokens,
            reasoning_effort=reasoning_effort,
        )
        _check(self._settings, self.dialect)
        self.timeout, self.calls_at_once = float(timeout), int(calls_at_once)
        self.name = name or model.rstrip("/").rpartition("/")[2].replace(":", "-")
        # Another server, or a name without a date, may refer to different weights later.
        self.cached = self._is_default and is_dated(model)
        self._client: SocketClient | None = None
        self._encoders: Threads | None = None
        self._account: Account | None = None

    def settings(self) -> Mapping[str, Any]:
        """Return all settings that determine the reply and its times, without the key."""
        held = self._settings
        return {
            "model": self.model,
            "url": scrub(self.url),
            "dialect": self.dialect.name,
            "turn": held.turn,
            "vad": held.vad if held.turn == "vad" else None,
            "pace": self.pace,
            "audio_out": held.spoken,
            "voice": held.voice,
            "system_prompt": held.instructions,
            "input_rate": held.input_rate,
            "output_rate": held.output_rate,
            "max_tokens": held.max_tokens,
            "reasoning_effort": held.reasoning_effort,
        }

    def fingerprint(self) -> str | None:
        """Return the hash of the server's list entry for the model, or None if there is none.

        As for a chat server, it covers little more than the name.
        """
        parts = urlsplit(self._http_url)
        if self.dialect is GEMINI or not parts.path.rstrip("/").endswith("/realtime"):
            return None
        path = parts.path.rstrip("/").removesuffix("/realtime")
        base = urlunsplit((parts.scheme, parts.netloc, path, "", ""))
        server = ServerConnection(base, timeout=self.timeout, calls_at_once=self.calls_at_once)
        entry = server.listed_model(base, self.dialect.headers(self._key()), self.model)
        if entry is None:
            return None
        note_listed_shutdown(self.model, entry)
        volatile = {"permission", "shutdown_date"} | (set() if self._is_default else {"created"})
        return digest("realtime", {key: value for key, value in entry.items() if key not in volatile})

    def destinations(self) -> Sequence[Destination]:
        """Return the server."""
        return [Destination(url=self.url, contents=("query audio", "earlier turns"))]

    def attach_account(self, account: Account | None) -> None:
        """Count the cost of all further calls in an account; None: do not count it."""
        self._account = account

    @property
    def billed_client(self) -> Realtime:
        """Return the client whose calls may cost money."""
        return self

    @property
    def base_url(self) -> str:
        """Return the address of the server, in its http form."""
        return self._http_url

    def size_of(self, request: Request) -> MessageSize:
        """Return the size of the messages for a request."""
        texts = [self._settings.instructions or "", request.instruction or ""]
        seconds = request.audio.seconds
        for turn in request.history:
            if turn.audio is not None and self.dialect.sends_turn(turn):
                seconds += turn.audio.seconds
            else:
                texts.append(turn.text or "")
        return MessageSize(
            texts=tuple(texts),
            audio_seconds=seconds,
            max_tokens=self._settings.max_tokens,
            spoken_reply=self._settings.spoken,
        )

    def load(self) -> None:
        """Create the client; connections open when needed."""
        self._key()
        if self._client is None:
            # Here, so that the first call is not slower than the others.
            import scipy.signal  # noqa: F401
            import soundfile  # noqa: F401

            self._client = SocketClient()
            self._encoders = Threads(_ENCODERS, "echat-eval-live")

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._encoders is not None:
            self._encoders.shutdown(wait=False)
            self._encoders = None

    def _key(self) -> str | None:
        """Return the key, from the environment only.

        Raises:
            UsageError: the service needs one, and none is set; or no header can hold it.
        """
        # The key of a service goes to that service only, not to a server of the same dialect.
        own = self.dialect.key if self._is_default else ()
        names = (self.key_from,) if self.key_from else (KEY_VARIABLES[0], *own)
        for name in names:
            if key := secret_from(name):
                return key
        if self.key_from or self._is_default:
            raise UsageError(f"no API key for {self.dialect.title}: set {' or '.join(names)}")
        return None

    def dialogue_fault(self) -> str | None:
        """Return that the dialect has no earlier turns, or takes them as text alone.

        The words of the user's turns are the task's, so that no system gets them.
        """
        name = self.dialect.name
        if not self.dialect.takes_history:
            return _NO_TURNS.format(name)
        if self.dialect.sends_turn(Turn(role="user")):
            return None
        return (
            f"dialect={name} takes earlier turns as text alone; those of the user are audio in a live "
            "dialogue"
        )

    async def respond(self, request: Request) -> Reply:
        """Hold one session.

        Raises:
            NotApplicable: the dialect has no earlier turns, or no message for a question.
            Unavailable, SystemFailure, UsageError: as `echat_eval.clients.websocket.open_socket` and
                `echat_eval.systems.live.session.Session`.
        """
        self.load()
        self._refuse(request)
        settings = self._settings_for(request)
        query, turns = await self._encoded(request, settings)
        spoken = query.seconds if self.pace == "real_time" else 0.0
        size = self.size_of(request)
        async with (
            metered_call(self._account, size.upper_bound()) as call,
            limiter_for(self._http_url, self.calls_at_once).slot(),
        ):
            async with self._session(settings, turns, self.timeout + spoken, call.report_unbilled) as session:
                answer = await session.ask(query)
            call.report_usage(size.used(answer.usage))
        # The time in which the query is spoken is none of the system's.
        exclude_from_latency(spoken)
        return Reply(
            text=scrub(answer.text or "") or None,
            audio=answer.voice,
            first_audio_seconds=answer.first_audio_seconds,
            first_audible_seconds=answer.first_audible_seconds,
            round_trip_seconds=answer.round_trip_seconds,
            interruptions=answer.interruptions,
            finish_reason=answer.finish_reason,
            usage=answer.usage,
        )

    @asynccontextmanager
    async def _session(
        self,
        settings: LiveSettings,
        turns: Sequence[PlainTurn],
        timeout: float,
        report_unbilled: Callable[[], object],
    ) -> AsyncIterator[Session]:
        """Open a session and yield it; one that cannot be opened was asked for nothing, and costs nothing."""
        if self._client is None:
            raise Unavailable("the system was closed while a call was in flight")
        is_open = False
        try:
            async with open_socket(
                self._client,
                self.dialect.address(self._http_url, self.model),
                headers=self.dialect.headers(self._key()),
                timeout=timeout,
                max_bytes=MAX_REPLY_BYTES,
            ) as socket:
                session = Session(socket, self.dialect, settings, self.pace)
                await session.open(turns)
                is_open = True
                yield session
        except Unavailable:
            if not is_open:
                report_unbilled()
            raise

    def _refuse(self, request: Request) -> None:
        """Raise NotApplicable for a request that the dialect cannot express."""
        dialect = self.dialect
        if request.history and not dialect.takes_history:
            raise NotApplicable(_NO_TURNS.format(dialect.name))
        if request.instruction and not (dialect.takes_history or dialect.takes_instructions):
            raise NotApplicable(f"dialect={dialect.name} has no message for a question about the audio")
        for turn in request.history:
            if turn.text is None and not (turn.audio is not None and dialect.sends_turn(turn)):
                raise NotApplicable(
                    f"an earlier {turn.role} turn has no text, and it cannot be sent as audio"
                )

    def _settings_for(self, request: Request) -> LiveSettings:
        """Return the settings with the question among the instructions.

        A message of its own before the audio would be a turn of its own for some servers.
        """
        if not request.instruction:
            return self._settings
        instructions = "\n\n".join(filter(None, [self._settings.instructions, request.instruction]))
        return replace(self._settings, instructions=instructions)

    async def _encoded(self, request: Request, settings: LiveSettings) -> tuple[Query, list[PlainTurn]]:
        """Return the messages of a request, made on a thread."""

        def encode() -> tuple[Query, list[PlainTurn]]:
            history: Sequence[Turn] = request.history
            return (
                encoded_query(request.audio, self.dialect, settings),
                encoded_turns(history, self.dialect, settings),
            )

        assert self._encoders is not None
        return await asyncio.wrap_future(self._encoders.submit(encode))


def _address(url: str | None, dialect: Dialect) -> str:
    if url is not None:
        return url.rstrip("/")
    if dialect.url is None:
        raise UsageError(
            f"dialect={dialect.name} has no service of its own; give --set url=ws://host:port/v1/realtime"
        )
    if dialect.name == "openai":
        refuse_unread_url("https://api.openai.com/v1", "--set url=")
    return dialect.url


def _check(settings: LiveSettings, dialect: Dialect) -> None:
    """Raise UsageError for settings that a dialect cannot express."""
    if settings.turn not in dialect.turns:
        raise UsageError(
            f"turn={settings.turn!r}: dialect={dialect.name} has {', '.join(dialect.turns)} only"
        )
    for name, value in (("input_rate", settings.input_rate), ("output_rate", settings.output_rate)):
        if not 8000 <= value <= 48_000:
            raise UsageError(f"{name}={value!r}: expected 8000 to 48000 Hz")
    if settings.voice is not None and not dialect.takes_voice:
        raise UsageError(f"voice={settings.voice!r}: dialect={dialect.name} has no choice of a voice")
    if settings.instructions is not None and not dialect.takes_instructions:
        raise UsageError(f"system_prompt: dialect={dialect.name} has no instructions")
