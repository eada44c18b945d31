"""Replies of the engine, and the interface of its vocoder."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from echat_eval.osum.decoding.sampling import Sampling
    from echat_eval.osum.decoding.state import DecodingRules
    from echat_eval.osum.prompts.modes import Mode
    from echat_eval.records import Waveform

__all__ = ["OsumReply", "ReplyKind", "ReplyPart", "SpeechStream", "Token2Wav"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyKind:
    """The settings that requests must share to be decoded together."""

    mode: Mode
    rules: DecodingRules
    sampling: Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyPart:
    """New ids of a streamed reply.

    Attributes:
        number: the request's.
        text: text ids, without the one that ends the text.
        speech: codec ids, without begin-or-end tokens.
    """

    number: int
    text: tuple[int, ...]
    speech: tuple[int, ...]


class SpeechStream(Protocol):
    """The sound of one reply while its codec ids arrive; may be dropped at any time."""

    def feed(self, tokens: Sequence[int]) -> list[Waveform]:
        """Return the pieces of sound that these ids complete; mostly none."""

    def finish(self) -> list[Waveform]:
        """Return the rest of the sound: one piece, or none if there were no ids."""


class Token2Wav(Protocol):
    """Turns speech tokens into sound.

    Attributes:
        fingerprint: hash of everything that determines the sound.
        notes: events to report to the user, such as a full memory.
    """

    fingerprint: str
    notes: list[str]

    def synthesise(self, tokens: Sequence[Sequence[int]], *, seeds: Sequence[int]) -> list[Waveform | None]:
        """Return one waveform per list of codec ids (0..4095, 25 per second); None for an empty list."""

    def stream(self, *, seed: int) -> SpeechStream:
        """Return the speech of one reply, to be fed with its codec ids while they arrive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OsumReply:
    """The reply to one request.

    Attributes:
        text: the text, without think text and without the leading emotion tag.
        think: the text between the think marks, None if there is none.
        perceived: cue name -> label that the model claims to perceive.
        reply_emotion: the emotion that the model claims to reply in, one of the values of
            `parse_reply.REPLY_EMOTIONS`.
        speech: codec ids, 25 per second; empty in text modes.
        finish_reason: "stop", or "length" if the reply reached the limit on new ids.
        prompt_positions: positions of the prompt.
        new_ids: number of generated ids.
        raw: the whole text as decoded.
        ids: all generated ids, for the history of the next turn.
    """

    text: str
    think: str | None
    perceived: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    reply_emotion: str | None = None
    speech: tuple[int, ...]
    finish_reason: Literal["stop", "length"]
    prompt_positions: int
    new_ids: int
    raw: str
    ids: tuple[int, ...]
