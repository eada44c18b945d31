"""Scripted judges: the data in a judge's prompt, verdicts, and a chat client without a server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from echat_eval.clients.chat import ChatAnswer
from echat_eval.judge.client import IDENTITY_PROMPT
from echat_eval.judge.question import QUOTE
from echat_eval.testing.servers import in_schema, prompt_of, text_of

__all__ = ["ScriptedChatClient", "judge_verdict", "shown_to_judge"]

_FENCE = re.compile(r"={5}[0-9a-f]{16}")
#: Beginnings of the title of the earlier turns.
_HISTORY_TITLES = ("earlier turns", "此前的对话")
#: Beginnings of the title of the description of the voice.
_VOICE_TITLES = ("what instruments measured", "仪器从助手声音里量到")
#: Beginnings of the title of the reply.
_REPLY_TITLES = ("what the assistant", "助手的回复")


def shown_to_judge(question: str | Mapping[str, Any]) -> dict[str, str]:
    """Return the parts of a judge's prompt, as a judge sees them.

    Args:
        question: the prompt, or the chat request that contains it.

    Returns:
        "transcript", "cues", "reply" and "voice_emotion": the data between the fences, and "history" and
        "voice" under a rubric that shows earlier turns and describes the voice; "outside": the rest, with
        "FENCE" for the fence. In a match question, "cues" has a line for each voice, and there is no emotion.
        A judge that listens is shown no reply, or, in a match question, no cues.

    Raises:
        ValueError: the prompt has no fence, or its data broke it or has a line without the prefix.
    """
    prompt = question if isinstance(question, str) else text_of(prompt_of(question))
    first = _FENCE.search(prompt)
    if first is None:
        raise ValueError(f"not a judge's prompt: {prompt[:80]!r}")
    fence = first.group()  # its first mention names it
    titles = re.findall(rf"^{fence} ([^\n]*)\n", prompt, flags=re.MULTILINE)
    pieces = re.split(rf"^{fence} [^\n]*\n", prompt, flags=re.MULTILINE)
    history = {"history": pieces.pop(1)} if titles and titles[0].startswith(_HISTORY_TITLES) else {}
    described = len(titles) > 2 and titles[-2].startswith(_VOICE_TITLES)
    voice = {"voice": pieces.pop(-2)} if described else {}
    if len(pieces) == 5 and pieces[2].startswith(f"{QUOTE}voice 1: "):
        pieces.insert(4, f"{QUOTE}\n")  # a match question
    if len(pieces) == 4:  # a judge that listens
        pieces.insert(2 if titles[1].startswith(_REPLY_TITLES) else 3, f"{QUOTE}\n")
        pieces.insert(4, f"{QUOTE}\n")
    if len(pieces) != 6:
        raise ValueError(f"the fence was broken: {len(pieces)} pieces")
    before, transcript, cues, reply, voice_emotion, after = pieces
    data = {
        **history,
        **voice,
        "transcript": transcript,
        "cues": cues,
        "reply": reply,
        "voice_emotion": voice_emotion,
    }
    return {"outside": before.replace(fence, "FENCE") + after} | {n: _unquoted(d) for n, d in data.items()}


def _unquoted(data: str) -> str:
    """Return data without the prefix of its lines.

    Raises:
        ValueError: a line has no prefix.
    """
    lines = data.removesuffix("\n").split("\n")
    if not all(line.startswith(QUOTE) for line in lines):
        raise ValueError(f"a line of data has no prefix {QUOTE!r}: {data[:80]!r}")
    return "\n".join(line.removeprefix(QUOTE) for line in lines).rstrip("\n")


def judge_verdict(content: int, cue_awareness: int, empathy: int, **more: Any) -> str:
    """Return a judge's answer with these grades; `more` holds further keys, such as `voice`."""
    grades = {"content": content, "cue_awareness": cue_awareness, "empathy": empathy}
    return json.dumps({"reason": "scripted", **grades, **more})


class ScriptedChatClient:
    """A chat client in this process, in place of `echat_eval.clients.chat.ChatClient`.

    Args:
        answer: a function of the prompt that returns the text of the answer, or raises; of a judge that
            listens, a function of the parts of the message.
        model: name of the model.
        identity: answer to the request for the server's identity.

    Attributes:
        prompts: first message of each call, in order, requests for the identity included.
    """

    base_url = None

    def __init__(
        self, answer: Callable[[Any], str], *, model: str = "scripted", identity: str = "Yes."
    ) -> None:
        self.answer, self.identity = answer, identity
        self.model = model
        self.prompts: list[Any] = []

    async def ask(
        self, messages: Sequence[Mapping[str, Any]], *, schema: Mapping[str, Any] | None = None, **_: Any
    ) -> ChatAnswer:
        """Return the answer to the first message; see `servers.in_schema`."""
        prompt = messages[0]["content"]
        self.prompts.append(prompt)
        text = self.identity if text_of(prompt) == IDENTITY_PROMPT else in_schema(self.answer(prompt), schema)
        return ChatAnswer(text=text, model=self.model, server="1", prompt_tokens=1, completion_tokens=1)

    async def listed_model(self) -> Mapping[str, Any] | None:
        """Return None: there is no list of models."""
        return None

    def close(self) -> None:
        """Do nothing: there is no connection."""
