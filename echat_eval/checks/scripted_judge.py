"""A scripted judge in this process: its answers are a function of the data in the prompt."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from echat_eval.io.hashing import sha256_of
from echat_eval.judge import NO_VOICE_EMOTION
from echat_eval.testing import ScriptedChatClient, judge_verdict, shown_to_judge

__all__ = ["attentive", "scripted_client"]

_WORD = {"sad": "sorry", "happy": "lovely"}


def attentive(shown: Mapping[str, str]) -> tuple[int, int, int]:
    """Grade like a judge that reads the labels: high if the reply's word fits them."""
    label = shown["cues"].partition(": ")[2]
    fits = _WORD.get(label, "?") in shown["reply"].lower()
    # Noise that depends on the question alone, under the key names that the committed results were made with.
    facts = {"heard" if name == "voice_emotion" else name: text for name, text in shown.items()}
    noise = int(sha256_of(json.dumps(facts, sort_keys=True))[:2], 16) % 2
    return (4, 4 + noise, 4) if fits else (4, 1, 2 + noise)


def scripted_client(
    grade: Callable[[Mapping[str, str]], tuple[int, int, int]],
    voice: Callable[[Mapping[str, str]], int] = lambda shown: 4,
) -> ScriptedChatClient:
    """Return a chat client of a judge that grades by functions of the data in the prompt.

    Args:
        grade: "transcript", "cues", "reply" and "voice_emotion" -> grades of content, cue awareness, empathy.
        voice: the same -> grade of the voice.
    """

    def answer(prompt: str) -> str:
        parts = shown_to_judge(prompt)
        shown = {name: parts[name].strip() for name in ("transcript", "cues", "reply", "voice_emotion")}
        more = {} if shown["voice_emotion"] == NO_VOICE_EMOTION else {"voice": voice(shown)}
        return judge_verdict(*grade(shown), **more)

    return ScriptedChatClient(answer)
