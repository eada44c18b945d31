"""The protocol of dialects: the messages that a session sends, and the meaning of those that arrive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from echat_eval.errors import SystemFailure
from echat_eval.records import Turn

__all__ = ["Dialect", "Event", "LiveSettings", "Message", "PlainTurn", "TurnMode", "pcm_rate"]

#: A JSON object in either direction.
Message = Mapping[str, Any]
#: The side that ends the user's turn: this client, or the server's voice activity detection.
TurnMode = Literal["commit", "vad"]
#: Meaning of an event of a server.
EventKind = Literal[
    "greeting",  # the session exists
    "ready",  # the settings hold
    "started",  # a reply begins
    "audio",
    "words",  # of the voice
    "text",  # written beside the voice or in its place
    "whole words",  # all words of the voice again
    "speech",  # the server detected speech of the user
    "part done",  # one of the events that end a reply
    "interrupted",  # the server broke a reply off
    "other",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event of a server in the words of this package.

    Attributes:
        name: the server's name of it.
        content: base64 of 16-bit samples, or text.
        rate: Hz that the event states for its samples.
        reply: the server's id of the reply that it belongs to.
        finish: why the reply ended.
        usage: the server's counts, as it states them.
        input_rate, output_rate: Hz that the session states.
        turn: the mode that the session states.
    """

    kind: EventKind
    name: str = ""
    content: str = ""
    rate: int | None = None
    reply: str | None = None
    finish: str | None = None
    usage: Message = field(default_factory=dict)
    input_rate: int | None = None
    output_rate: int | None = None
    turn: TurnMode | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSettings:
    """The settings of a session.

    Attributes:
        model: name on the server.
        turn: the side that ends the user's turn.
        vad: kind of the server's voice activity detection, in the server's words.
        voice: name of the voice; None: the server's default.
        instructions: system prompt, and the question that goes with the audio where a dialect has no
            message for it.
        spoken: ask for a voice.
        input_rate, output_rate: Hz.
        max_tokens: limit of the reply; None: the server's own.
        reasoning_effort: such as "low"; None leaves it out.
    """

    model: str
    turn: TurnMode
    vad: str
    voice: str | None
    instructions: str | None
    spoken: bool
    input_rate: int
    output_rate: int
    max_tokens: int | None
    reasoning_effort: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainTurn:
    """One earlier turn: text, or base64 of 16-bit samples at the session's input rate."""

    role: Literal["user", "assistant"]
    text: str | None = None
    audio: str | None = None


class Dialect(Protocol):
    """One form of the protocol.

    Attributes:
        name: value of the setting `dialect`.
        title: services that speak it.
        url: default address; None: a server of one's own.
        key: environment variables of the key at the default address.
        input_rate, output_rate: default Hz.
        turns: modes that the protocol has.
        takes_history, takes_instructions, takes_voice: abilities of the protocol.
        keeps_turns: a session may have several turns, and the server remembers them.
        greets: the server speaks first.
        confirms: the server confirms the settings.
        audio_end: the event that ends the audio of a reply, if there is one besides those of `ends`.
        ends: sets of events, any one of which ends a reply once all of its events arrived.
    """

    @property
    def name(self) -> str:
        """Return the value of the setting `dialect`."""

    @property
    def title(self) -> str:
        """Return the services that speak it."""

    @property
    def url(self) -> str | None:
        """Return the default address."""

    @property
    def key(self) -> tuple[str, ...]:
        """Return the environment variables of the key."""

    @property
    def input_rate(self) -> int:
        """Return the default Hz of the query."""

    @property
    def output_rate(self) -> int:
        """Return the default Hz of the reply."""

    @property
    def turns(self) -> tuple[TurnMode, ...]:
        """Return the modes that the protocol has."""

    @property
    def takes_history(self) -> bool:
        """Return whether earlier turns can be sent."""

    @property
    def takes_instructions(self) -> bool:
        """Return whether a session has instructions."""

    @property
    def takes_voice(self) -> bool:
        """Return whether a voice can be chosen."""

    @property
    def keeps_turns(self) -> bool:
        """Return whether the server remembers the turns of a session."""

    @property
    def greets(self) -> bool:
        """Return whether the server speaks first."""

    @property
    def confirms(self) -> bool:
        """Return whether the server confirms the settings."""

    @property
    def audio_end(self) -> str | None:
        """Return the event that ends the audio of a reply."""

    @property
    def ends(self) -> tuple[frozenset[str], ...]:
        """Return the sets of events that end a reply."""

    def address(self, url: str, model: str) -> str:
        """Return the URL of a session with a model."""

    def headers(self, key: str | None) -> Mapping[str, str]:
        """Return the headers of the handshake."""

    def set_up(self, settings: LiveSettings) -> Message:
        """Return the message that states the settings."""

    def turn(self, turn: PlainTurn) -> Message:
        """Return the message that adds an earlier turn or a question to the session."""

    def instruct(self, instructions: str) -> Message | None:
        """Return the message that changes the instructions of a session; None if nothing can."""

    def sends_turn(self, turn: Turn) -> bool:
        """Return whether the audio of an earlier turn can be sent, not only its text."""

    def begin(self, settings: LiveSettings) -> Sequence[Message]:
        """Return what precedes the query's audio."""

    def append(self, samples: str, settings: LiveSettings) -> Message:
        """Return the message of a piece of audio, base64 of 16-bit samples."""

    def end(self, settings: LiveSettings) -> Sequence[Message]:
        """Return what ends the query in the mode "commit"."""

    def read(self, message: Message, place: str) -> list[Event]:
        """Return the meaning of a server's message, in order; nothing for one that does not matter.

        Raises:
            EChatError: it reports an error, or belongs to another dialect.
        """


def pcm_rate(value: object) -> int | None:
    """Return the sample rate that a server states, None if it states none.

    Raises:
        SystemFailure: it is no rate of audio.

    >>> pcm_rate(24000), pcm_rate("audio/pcm;rate=16000"), pcm_rate("audio/pcm"), pcm_rate(None)
    (24000, 16000, None, None)
    """
    if isinstance(value, str):
        _, found, digits = value.partition("rate=")
        value = int(digits) if found and digits.isascii() and digits.isdigit() and len(digits) < 9 else None
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1000 <= value <= 192_000:
        raise SystemFailure(f"the server states a sample rate of {value!r}; expected 1,000 to 192,000 Hz")
    return value
