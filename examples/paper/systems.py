"""Small systems for the ablations of a paper: one that listens, and an oracle with shuffled labels.

They need no model, so that the whole pack can be made anywhere; put your own systems in `experiment.yaml`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

import echat_eval as ev
from echat_eval.annotators.acoustics import describe
from echat_eval.io.audio import read_mono
from echat_eval.systems.label_parrot import LabelParrot

#: Replies of the listener to a lively voice, a low one and any other, by language.
REPLIES = {
    "en": {
        "lively": "You sound so full of energy! Tell me all about it.",
        "low": "That sounds heavy. I am here, take your time.",
        "plain": "I see. Please tell me more about it.",
    },
    "zh": {
        "lively": "听起来你很有精神！快跟我说说吧。",
        "low": "听起来你有些低落，慢慢说，我在这里。",
        "plain": "我明白了，请再多说一点。",
    },
}
RATE = 16000


@dataclass
class Listener:
    """A system that answers pitch and loudness of the voice.

    Args:
        name: in the tables.
        hears: the recording as it is, silence of the same length, or the recording under white noise (0 dB).
        think: name the impression of the voice before the reply, and choose the reply by it. Without it the
            reply is the plain one.
    """

    name: str = "listener"
    hears: Literal["clean", "muted", "noisy"] = "clean"
    think: bool = True

    def respond(self, request: ev.Request) -> ev.Reply:
        """Return the reply that fits the impression."""
        language = "zh" if request.language.startswith("zh") else "en"
        impression = self._impression(request) if self.think else "plain"
        emotion = {"lively": "happy", "low": "sad"}.get(impression, "neutral")
        thought = f"The voice sounds {impression}." if self.think else None
        perceived = {"emotion": emotion} if self.think else {}
        return ev.Reply(text=REPLIES[language][impression], think=thought, perceived=perceived)

    def _impression(self, request: ev.Request) -> Literal["lively", "low", "plain"]:
        mono, _ = read_mono(request.audio.path, rate=RATE)
        sound = mono.astype(np.float64)
        if self.hears == "muted":
            sound = np.zeros_like(sound)
        elif self.hears == "noisy":
            seed = int(request.audio.sha256[:8], 16)
            level = float(np.sqrt(np.mean(sound**2)))
            sound = sound + np.random.default_rng(seed).normal(0, level, len(sound))
        values = describe(sound, RATE)
        height, spread = values["f0_median_hz"], values["f0_range_semitones"]
        if height is None or spread is None:
            return "plain"
        if spread > 8 or height > 250:
            return "lively"
        return "low" if spread < 4 else "plain"

    def fingerprint(self) -> str:
        """Return the version of the rule."""
        return "paper-listener-1"

    def settings(self) -> dict[str, Any]:
        """Return what the ablations change."""
        return {"hears": self.hears, "think": self.think}


class WordsOnly(LabelParrot):
    """An oracle that answers the gold words alone, by rule; `transcript-only` does it with a model."""

    role: Literal["floor", "ceiling"] = "floor"

    def __init__(self, name: str = "words-only") -> None:
        super().__init__(name)

    def respond_to(self, sample: ev.Sample) -> ev.Reply:
        """Return one of the listener's replies, chosen by the words."""
        language = "zh" if sample.language.startswith("zh") else "en"
        words = hashlib.sha256((sample.transcript or "").encode()).digest()
        replies = list(REPLIES[language].values())
        return ev.Reply(text=replies[words[0] % len(replies)])

    def fingerprint(self) -> str:
        """Return the version of the rule."""
        return "paper-words-only-1"


class ShuffledLabels(LabelParrot):
    """The label parrot with another label than the voice's, of the same cue."""

    def __init__(self, name: str = "shuffled-labels") -> None:
        super().__init__(name)

    def respond_to(self, sample: ev.Sample) -> ev.Reply:
        """Return the sentence with wrong labels."""
        from echat_eval.labels import SHIPPED

        wrong = {}
        for cue, label in sample.cues.items():
            known = SHIPPED.get(cue)
            others = [other for other in (known.labels if known else ()) if other != label]
            number = hashlib.sha256(f"{sample.id}|{cue}".encode()).digest()[0]
            wrong[cue] = others[number % len(others)] if others else label
        return super().respond_to(replace(sample, cues=wrong))

    def fingerprint(self) -> str:
        """Return the version of the rule."""
        return "paper-shuffled-labels-1"
