"""A floor that speaks one sentence in one neutral voice, whatever the cue: the floor of the voice match."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from echat_eval.errors import NotApplicable
from echat_eval.languages import lookup
from echat_eval.records import Reply
from echat_eval.systems.canned import SENTENCES
from echat_eval.systems.hibari_voice import HibariVoice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from echat_eval.records import Request, Waveform

__all__ = ["NeutralVoice"]


class Voice(Protocol):
    """A text-to-speech model."""

    def load(self) -> None:
        """Load the model."""

    def close(self) -> None:
        """Free the model."""

    def say(self, text: str) -> Waveform:
        """Return the spoken text; equal text gives equal audio."""

    def fingerprint(self) -> str:
        """Return a hash of the weights and settings."""


@dataclass(slots=True, kw_only=True)
class NeutralVoice:
    """Replies to every query with the same recording of one sentence; English only.

    Each reply is the same waveform, so that its voice match is exactly 50 %, whatever the annotator.

    Args:
        name: the system's name in tables.
        voice: the text-to-speech model; by default the one that the cascade uses.
    """

    name: str = "neutral-voice"
    voice: Voice = field(default_factory=HibariVoice)
    role: Literal["floor"] = field(default="floor", init=False)

    def load(self) -> None:
        """Load the voice."""
        self.voice.load()

    def close(self) -> None:
        """Free the voice."""
        self.voice.close()

    def respond(self, request: Request) -> Reply:
        """Return the spoken sentence.

        Raises:
            NotApplicable: the query is not English, which is the voice's only language.
        """
        if lookup(request.language, ["en"]) is None:
            raise NotApplicable(f"neutral-voice speaks English, not '{request.language}'")
        text = SENTENCES["en"]
        return Reply(text=text, audio=self.voice.say(text))

    def fingerprint(self) -> str:
        """Return the version of the rule and the hash of the voice."""
        return f"neutral-voice-1 {self.voice.fingerprint()}"

    def settings(self) -> Mapping[str, Any]:
        """Return the sentence."""
        return {"text": SENTENCES["en"]}
