"""Small systems for the ablations of a paper: one that listens, and an oracle with shuffled labels.

They need no model, so that the whole pack can be made anywhere; put your own systems in `experiment.yaml`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

import echat_eval as ev
from echat_eval.io.audio import read_mono
from echat_eval.systems.label_parrot import LabelParrot
from echat_eval.systems.voice_cues import RATE, RULES_VERSION, VoiceCues, detect_cues

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Manner of the voice, or sound beside the words -> reply, by language. Written without the references.
REPLIES = {
    "en": {
        "happy": "That is wonderful! I can hear how happy you are. Tell me everything!",
        "surprise": "Really? I didn't expect that at all! How did that happen?",
        "sad": "I'm so sorry. I can hear how sad you are. I'm here as long as you need.",
        "fear": "I can hear that you are scared. Breathe slowly with me; I'll stay with you.",
        "anger": "You are really angry, and you have every right to be. What upsets you most?",
        "child": "How good that you tell me! Ask your mum or dad to help you, my little friend.",
        "old": "After so many years you know yourself best. Take it slowly and mind your health.",
        "laugh": "Your laugh is catching! Now I want to hear the whole story.",
        "cry": "Oh, please don't hold it back; cry as long as you need to. I'm right here with you.",
        "cough": "That is a nasty cough. Have something warm to drink and rest a little.",
        "sneeze": "Bless you! Are you catching a cold? Wrap up warm and have some tea.",
        "throat clearing": "You sound hoarse. Take a sip of water and rest your voice a little.",
        "sigh": "That was a deep sigh. You sound worn out; what is weighing on you?",
        "scream": "What happened? Are you safe? Call for help if you need it!",
        "neutral": "I see. Please tell me more about it.",
    },
    "zh": {
        "happy": "太好了!听得出来你很高兴,快跟我说说吧!",
        "surprise": "真的吗?我完全没想到!是怎么回事?",
        "sad": "我很难过听到这个。听得出来你很伤心,我会一直陪着你。",
        "fear": "听得出来你很害怕。跟我一起慢慢呼吸,我陪着你。",
        "anger": "你真的很生气,这也难怪。最让你气的是什么?",
        "child": "你愿意告诉我真好!小朋友,让爸爸妈妈帮帮你吧。",
        "old": "您这么多年的经验最清楚。慢慢来,多保重身体。",
        "laugh": "你笑得我也想笑了!快把整件事讲给我听。",
        "cry": "想哭就哭吧,不用忍着。我就在这里陪你。",
        "cough": "咳得有点厉害。喝点热的,休息一下吧。",
        "sneeze": "打喷嚏了,是不是着凉了?多穿点,喝杯热茶。",
        "throat clearing": "你的嗓子有点哑。喝口水,歇一歇。",
        "sigh": "这一声叹得好深。你听起来很累,有什么心事吗?",
        "scream": "怎么了?你安全吗?需要的话赶快叫人帮忙!",
        "neutral": "我明白了,请再多说一点。",
    },
}


@dataclass
class Listener:
    """A system that answers the voice by rules on pitch, energy and timing, whatever the words.

    Args:
        name: in the tables.
        hears: the recording as it is, silence of the same length, or the recording under white noise (0 dB).
        think: name the impression of the voice before the reply, and choose the reply by it. Without it the
            reply is the neutral one.
    """

    name: str = "listener"
    hears: Literal["clean", "muted", "noisy"] = "clean"
    think: bool = True

    def respond(self, request: ev.Request) -> ev.Reply:
        """Return the reply that fits the impression."""
        replies = REPLIES["zh" if request.language.startswith("zh") else "en"]
        if not self.think:
            return ev.Reply(text=replies["neutral"])
        cues = detect_cues(self._sound(request))
        if not cues.hertz:  # no voice
            cues = VoiceCues()
        impression = cues.event if cues.event in replies else cues.manner
        perceived = {cue: label for cue in ("emotion", "age", "event") if (label := cues.label_of(cue))}
        thought = f"The voice: {impression}."
        return ev.Reply(text=replies[impression], think=thought, perceived=perceived)

    def _sound(self, request: ev.Request) -> NDArray[np.float64]:
        mono, _ = read_mono(request.audio.path, rate=RATE)
        sound = mono.astype(np.float64)
        if self.hears == "muted":
            return np.zeros_like(sound)
        if self.hears == "noisy":
            seed = int(request.audio.sha256[:8], 16)
            level = float(np.sqrt(np.mean(sound**2)))
            return sound + np.random.default_rng(seed).normal(0, level, len(sound))
        return sound

    def fingerprint(self) -> str:
        """Return the version of the rules and replies."""
        return f"paper-listener-2 {RULES_VERSION}"

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
        return "paper-words-only-2"


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
