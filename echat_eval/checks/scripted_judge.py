"""A scripted judge in this process: its answers are a function of the data in the prompt."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from echat_eval.clients.chat import ChatAnswer
from echat_eval.io.hashing import sha256_of
from echat_eval.judge import NO_VOICE_EMOTION

__all__ = ["ScriptedClient", "attentive"]

_FENCE = re.compile(r"={5}[0-9a-f]{16}")
_WORD = {"sad": "sorry", "happy": "lovely"}


def attentive(shown: Mapping[str, str]) -> tuple[int, int, int]:
    """Grade like a judge that reads the labels: high if the reply's word fits them."""
    label = shown["cues"].partition(": ")[2]
    fits = _WORD.get(label, "?") in shown["reply"].lower()
    # Noise that depends on the question alone.
    noise = int(sha256_of(json.dumps(dict(shown), sort_keys=True))[:2], 16) % 2
    return (4, 4 + noise, 4) if fits else (4, 1, 2 + noise)


class ScriptedClient:
    """Replacement for a chat client."""

    model, base_url = "scripted", None

    def __init__(self, grade: Callable[[Mapping[str, str]], tuple[int, int, int]]) -> None:
        self._grade = grade

    async def ask(self, messages: Sequence[Mapping[str, str]], **_: Any) -> ChatAnswer:
        """Return a verdict on the data between the fences; "Yes." to a prompt without a fence."""
        prompt = messages[0]["content"]
        fence = _FENCE.search(prompt)
        text = "Yes." if fence is None else self._verdict(prompt, fence.group())
        return ChatAnswer(text=text, model="scripted", server="1", prompt_tokens=0, completion_tokens=0)

    def _verdict(self, prompt: str, fence: str) -> str:
        pieces = re.split(rf"^{fence} [^\n]*\n", prompt, flags=re.MULTILINE)
        shown = dict(zip(("transcript", "cues", "reply", "heard"), map(str.strip, pieces[1:5]), strict=True))
        content, cue, empathy = self._grade(shown)
        verdict: dict[str, Any] = {
            "reason": "scripted",
            "content": content,
            "cue_awareness": cue,
            "empathy": empathy,
        }
        if shown["heard"] != NO_VOICE_EMOTION:
            verdict["voice"] = 4
        return json.dumps(verdict)

    def close(self) -> None:
        """Do nothing: there is no connection."""
