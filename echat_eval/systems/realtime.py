"""Live systems behind a WebSocket: OpenAI's Realtime protocol in its dialects, and Gemini Live.

Each sample has a session of its own, so that no reply depends on another sample: one turn, or all turns of a
live dialogue. `echat_eval.systems.live` holds the dialects and the session.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from echat_eval.errors import Unavailable, UsageError, scrub
from echat_eval.io.hashing import digest
from echat_eval.ports import Destination
from echat_eval.records import Reply, Request
from echat_eval.systems.live.conversation import NO_TURNS, Conversation
from echat_eval.systems.live.dialect import LiveSettings
from echat_eval.systems.live.gemini import GEMINI
from echat_eval.systems.live.openai_family import OPENAI_FAMILY
from echat_eval.systems.server import ServerConnection, refuse_declared
from echat_eval.systems.shutdowns import note_listed_shutdown

if TYPE_CHECKING:
    from echat_eval.clients.websocket import Socket
    from echat_eval.systems.live.dialect import Dialect

__all__ = ["DIALECTS", "Realtime"]

#: Name of a dialect -> the dialect.
DIALECTS: Mapping[str, Dialect] = {**OPENAI_FAMILY, GEMINI.name: GEMINI}
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
        self._entry: Mapping[str, Any] | None = None

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
        entry = self._entry = server.listed_model(base, self.dialect.headers(self._key()), self.model)
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
        # In a live dialogue the user's words are unknown, and the server remembers both voices.
        is_live = any(turn.role == "user" and turn.text is None for turn in request.history)
        for turn in request.history:
            if turn.audio is not None and (is_live or self.dialect.sends_turn(turn)):
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

    @property
    def holds_sessions(self) -> bool:
        """Return whether the server remembers the turns of a session."""
        return self.dialect.keeps_turns

    def dialogue_fault(self) -> str | None:
        """Return that the dialect's sessions have one turn."""
        return None if self.dialect.keeps_turns else NO_TURNS.format(self.dialect.name)

    def open_session(self, request: Request) -> _Dialogue:
        """Begin a dialogue in one session, which opens with its first turn."""
        self.load()
        assert self._encoders is not None
        conversation = Conversation(
            self._connect,
            dialect=self.dialect,
            settings=self._settings,
            pace=self.pace,
            timeout=self.timeout,
            encoders=self._encoders,
        )
        return _Dialogue(self, conversation)

    async def respond(self, request: Request) -> Reply:
        """Hold a session of one turn.

        Raises:
            NotApplicable, Unavailable, SystemFailure, UsageError: as
                `echat_eval.systems.live.conversation.Conversation`.
        """
        dialogue = self.open_session(request)
        try:
            return await dialogue.respond(request)
        finally:
            await dialogue.close()

    async def ask(self, conversation: Conversation, request: Request) -> Reply:
        """Return the reply to the next turn of a conversation, whose cost is counted.

        Raises:
            EChatError: as `Conversation.prepare` and `Conversation.ask`.
        """
        refuse_declared(self._entry, request)
        turn = await conversation.prepare(request)
        size = self.size_of(request)
        async with (
            metered_call(self._account, size.upper_bound()) as call,
            limiter_for(self._http_url, self.calls_at_once).slot(),
        ):
            try:
                answer = await conversation.ask(turn)
            except Unavailable:
                if not conversation.is_asked:  # no session could be opened
                    call.report_unbilled()
                raise
            call.report_usage(size.used(answer.usage))
        # The time in which a query is spoken, or the reply before it, is none of the system's.
        exclude_from_latency(conversation.spoken)
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

    async def _connect(self) -> Socket:
        if self._client is None:
            raise Unavailable("the system was closed while a call was in flight")
        return await open_socket(
            self._client,
            self.dialect.address(self._http_url, self.model),
            headers=self.dialect.headers(self._key()),
            timeout=self.timeout,
        )


class _Dialogue:
    """A live dialogue: the port `echat_eval.ports.Session`."""

    def __init__(self, system: Realtime, conversation: Conversation) -> None:
        self._system, self._conversation = system, conversation

    async def respond(self, request: Request) -> Reply:
        """Return the reply to the next turn; raises as `Realtime.respond`."""
        return await self._system.ask(self._conversation, request)

    async def close(self) -> None:
        """End the session."""
        await self._conversation.close()


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
