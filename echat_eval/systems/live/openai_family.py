"""The dialects of OpenAI's Realtime protocol, as a table, and their messages.

The attribute `source` of each names where its messages are documented.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

from echat_eval.clients.faults import reported_fault
from echat_eval.errors import UsageError
from echat_eval.records import Turn
from echat_eval.systems.live.dialect import Event, LiveSettings, Message, PlainTurn, TurnMode, pcm_rate
from echat_eval.systems.live.openai_session import SESSIONS

__all__ = ["OPENAI_FAMILY", "OpenAIDialect"]

_DONE = frozenset({"response.done"})
#: Parameter of a session -> the option that changes it, for a server that refuses one.
_OPTIONS = {
    "voice": "--set voice=NAME",
    "turn_detection": "--set turn=commit, --set turn=vad or another vad",
    "reasoning": "--set reasoning_effort=null, or another value",
    "max_output_tokens": "--set max_tokens=null, or another number",
    "max_response_output_tokens": "--set max_tokens=null, or another number",
    "output_modalities": "--set audio_out=false",
    "modalities": "--set audio_out=false",
}
#: Reason of a reply that is not complete -> its finish reason in chat protocols.
_FINISH = {"max_output_tokens": "length"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIDialect:
    """One dialect; see `echat_eval.systems.live.dialect.Dialect` for the other attributes.

    Attributes:
        form: of the message with the settings.
        audio, words, text: names of the events with pieces of the voice, of its words, and of written text.
        content: names of an earlier turn's text, of the user and of the assistant.
        streams: the turn begins before its audio and ends with a final commit, and asks for no reply.
        source: where its messages are documented.
    """

    name: str
    title: str
    form: Literal["current", "beta", "xai", "model"]
    url: str | None = None
    key: tuple[str, ...] = ()
    audio: str = "response.output_audio.delta"
    words: str = "response.output_audio_transcript.delta"
    text: str = "response.output_text.delta"
    content: tuple[str, str] = ("input_text", "output_text")
    input_rate: int = 24_000
    output_rate: int = 24_000
    turns: tuple[TurnMode, ...] = ("commit", "vad")
    takes_history: bool = True
    takes_instructions: bool = True
    takes_voice: bool = True
    keeps_turns: bool = True
    greets: bool = True
    confirms: bool = True
    streams: bool = False
    ends: tuple[frozenset[str], ...] = (_DONE,)
    source: str

    @property
    def audio_end(self) -> str | None:
        """Return the event that ends the audio of a reply."""
        return self.audio.replace(".delta", ".done")

    def address(self, url: str, model: str) -> str:
        """Return the URL with the model as a parameter, unless it names one."""
        parts = urlsplit(url)
        if self.form == "model" or any(name == "model" for name, _ in parse_qsl(parts.query)):
            return url
        query = "&".join(filter(None, [parts.query, f"model={quote(model, safe='')}"]))
        return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))

    def headers(self, key: str | None) -> Mapping[str, str]:
        """Return the key as a bearer token."""
        return {"authorization": f"Bearer {key}"} if key else {}

    def set_up(self, settings: LiveSettings) -> Message:
        """Return `session.update`."""
        if self.form == "model":
            return {"type": "session.update", "model": settings.model}
        return {"type": "session.update", "session": SESSIONS[self.form](settings)}

    def turn(self, turn: PlainTurn) -> Message:
        """Return `conversation.item.create`."""
        if turn.audio is not None:
            part = {"type": "input_audio", "audio": turn.audio}
        else:
            part = {"type": self.content[turn.role == "assistant"], "text": turn.text or ""}
        item = {"type": "message", "role": turn.role, "content": [part]}
        return {"type": "conversation.item.create", "item": item}

    def instruct(self, instructions: str) -> Message | None:
        """Return `session.update` of the instructions alone."""
        kind = {"type": "realtime"} if self.form == "current" else {}
        return {"type": "session.update", "session": {**kind, "instructions": instructions}}

    def sends_turn(self, turn: Turn) -> bool:
        """Return whether it is a turn of the user; the assistant's are sent as text."""
        return turn.role == "user"

    def begin(self, settings: LiveSettings) -> Sequence[Message]:
        """Return the commit that opens a turn, where the dialect has one."""
        return [{"type": "input_audio_buffer.commit", "final": False}] if self.streams else []

    def append(self, samples: str, settings: LiveSettings) -> Message:
        """Return `input_audio_buffer.append`."""
        return {"type": "input_audio_buffer.append", "audio": samples}

    def end(self, settings: LiveSettings) -> Sequence[Message]:
        """Return the commit and, unless it asks for a reply by itself, `response.create`."""
        if self.streams:
            return [{"type": "input_audio_buffer.commit", "final": True}]
        if self.name == "vllm-omni-openai":  # the commit starts the reply
            return [{"type": "input_audio_buffer.commit"}]
        return [{"type": "input_audio_buffer.commit"}, {"type": "response.create"}]

    def read(self, message: Message, place: str) -> list[Event]:
        """Return the meaning of an event; see `Dialect.read`."""
        name = str(message.get("type", ""))
        reply = _text(message.get("response_id"))
        if name == "error":
            raise reported_fault(message, place=place, options=_OPTIONS)
        if name in ("session.created", "conversation.created", "session.updated"):
            return [self._session(name, message, place)]
        if name == self.audio:
            content = _text(message.get("delta")) or _text(message.get("audio")) or ""
            rate = pcm_rate(message.get("sample_rate_hz"))
            return [Event(kind="audio", name=name, content=content, rate=rate, reply=reply)]
        if name in (self.words, "transcription.delta"):
            return [Event(kind="words", name=name, content=_text(message.get("delta")) or "", reply=reply)]
        if name == self.text:
            return [Event(kind="text", name=name, content=_text(message.get("delta")) or "", reply=reply)]
        if name in ("transcription.done", self.audio_end):
            return _ended_part(name, message, reply)
        if name == self.words.replace(".delta", ".done"):
            words = _text(message.get("transcript")) or ""
            return [Event(kind="whole words", name=name, content=words, reply=reply)]
        if name == "response.created":
            return [Event(kind="started", name=name, reply=_reply_id(message))]
        if name == "input_audio_buffer.speech_started":
            return [Event(kind="speech", name=name)]
        if name == "response.done":
            return _done(message, place)
        self._refuse_other(name, message, place)
        return []

    def _session(self, name: str, message: Message, place: str) -> Event:
        session = _mapping(message.get("session"))
        is_beta = "input_audio_format" in session or "output_audio_format" in session
        is_current = "audio" in session or "output_modalities" in session
        if self.form != "beta" and is_beta and not is_current:
            raise _other_dialect(place, self.name, "beta", "its session has the fields of the beta form")
        if self.form in ("beta", "model") and is_current and not is_beta:
            raise _other_dialect(
                place, self.name, "openai", "its session has the fields of OpenAI's current form"
            )
        if name != "session.updated":
            return Event(kind="greeting", name=name)
        audio = _mapping(session.get("audio"))
        sent, received = _mapping(audio.get("input")), _mapping(audio.get("output"))
        turn: TurnMode | None = None
        for holder in (session, sent):
            if "turn_detection" in holder:
                detection = holder["turn_detection"]
                turn = "vad" if isinstance(detection, Mapping) and detection.get("type") else "commit"
        return Event(
            kind="ready",
            name=name,
            input_rate=pcm_rate(_mapping(sent.get("format")).get("rate")),
            output_rate=pcm_rate(_mapping(received.get("format")).get("rate")),
            turn=turn,
        )

    def _refuse_other(self, name: str, message: Message, place: str) -> None:
        """Raise UsageError for an event that only another dialect has."""
        if not name and {"setupComplete", "serverContent"} & message.keys():
            raise _other_dialect(place, self.name, "gemini", "it sends the messages of Gemini Live")
        for other in OPENAI_FAMILY.values():
            if name == other.audio and name != self.audio:
                raise _other_dialect(place, self.name, other.name, f"it sends {name}")


def _other_dialect(place: str, ours: str, theirs: str, why: str) -> UsageError:
    return UsageError(
        f"{place}: the server speaks another dialect than {ours!r}: {why}; set --set dialect={theirs}"
    )


def _done(message: Message, place: str) -> list[Event]:
    """Return the events of a reply's end; a reply that failed raises its error."""
    response = _mapping(message.get("response"))
    status, details = response.get("status"), _mapping(response.get("status_details"))
    usage, reply = _mapping(response.get("usage")), _reply_id(message)
    if status == "failed" or details.get("error"):
        error = details.get("error") or {"message": "the reply failed, and no reason is stated"}
        raise reported_fault({"error": error}, place=place, options=_OPTIONS)
    reason = _text(details.get("reason"))
    if status == "cancelled":
        return [Event(kind="interrupted", name="response.done", reply=reply, finish=reason, usage=usage)]
    finish = _FINISH.get(reason or "", reason) if status == "incomplete" else "stop"
    events = [
        Event(kind="whole words", name="response.done", content=words, reply=reply)
        for words in [_words_of(response)]
        if words
    ]
    return [
        *events,
        Event(kind="part done", name="response.done", reply=reply, finish=finish or "stop", usage=usage),
    ]


def _words_of(response: Message) -> str:
    """Return the words that the end of a reply repeats."""
    words = ""
    output = response.get("output")
    for item in output if isinstance(output, list) else []:
        content = _mapping(item).get("content")
        for part in content if isinstance(content, list) else []:
            held = _mapping(part)
            words += _text(held.get("transcript")) or _text(held.get("text")) or ""
    return words


def _ended_part(name: str, message: Message, reply: str | None) -> list[Event]:
    words = _text(message.get("text"))
    repeated = [Event(kind="whole words", name=name, content=words, reply=reply)] if words else []
    done = Event(
        kind="part done", name=name, reply=reply, finish="stop", usage=_mapping(message.get("usage"))
    )
    return [*repeated, done]


def _reply_id(message: Message) -> str | None:
    return _text(_mapping(message.get("response")).get("id")) or _text(message.get("response_id"))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


_DIALECTS = (
    OpenAIDialect(
        name="openai",
        title="OpenAI",
        form="current",
        url="wss://api.openai.com/v1/realtime",
        key=("OPENAI_API_KEY",),
        source="developers.openai.com, Realtime API; list of server events of November 2026",
    ),
    OpenAIDialect(
        name="beta",
        title="Qwen-Omni-Realtime, StepFun, SGLang-omni: OpenAI's beta form",
        form="beta",
        audio="response.audio.delta",
        words="response.audio_transcript.delta",
        text="response.text.delta",
        content=("input_text", "text"),
        source="alibabacloud.com/help, Model Studio, client events, March 2026; platform.stepfun.com",
    ),
    OpenAIDialect(
        name="xai",
        title="xAI",
        form="xai",
        url="wss://api.x.ai/v1/realtime",
        key=("XAI_API_KEY",),
        source="docs.x.ai, voice agent; sierra-research/tau2-bench at a2c0247",
    ),
    OpenAIDialect(
        name="vllm-omni",
        title="vLLM-omni, turn-based",
        form="model",
        audio="response.audio.delta",
        words="transcription.delta",
        text="response.text.delta",
        input_rate=16_000,
        turns=("commit",),
        takes_history=False,
        keeps_turns=False,
        takes_instructions=False,
        takes_voice=False,
        confirms=False,
        streams=True,
        ends=(frozenset({"transcription.done", "response.audio.done"}),),
        source="vllm-project/vllm-omni, docs/serving/realtime_api.md at 40815a4",
    ),
    OpenAIDialect(
        name="vllm-omni-openai",
        title="vLLM-omni, its subset of OpenAI's form",
        form="current",
        input_rate=16_000,
        takes_history=False,
        keeps_turns=False,
        confirms=False,
        ends=(_DONE, frozenset({"transcription.done", "response.output_audio.done"})),
        source="vllm-project/vllm-omni, docs/serving/realtime_openai_duplex_api.md at 0067411",
    ),
    OpenAIDialect(
        name="dynamo",
        title="NVIDIA Dynamo",
        form="current",
        input_rate=16_000,
        turns=("commit",),
        takes_history=False,
        keeps_turns=False,
        confirms=False,
        source="docs.nvidia.com/dynamo, speech to speech",
    ),
)

#: Name of a dialect -> the dialect.
OPENAI_FAMILY: Mapping[str, OpenAIDialect] = {dialect.name: dialect for dialect in _DIALECTS}
