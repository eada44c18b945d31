"""The floor of hearing: an LLM that is given the gold words of the turn and hears nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from echat_eval.clients.chat import ChatClient
from echat_eval.cost.tokens import MessageSize
from echat_eval.errors import NotApplicable
from echat_eval.io.hashing import digest
from echat_eval.records import Reply, Sample

__all__ = ["PROMPTS", "TranscriptOnly", "conversation"]

#: What the LLM is told first; the same for the floor and for the ceiling, so that only the cues differ.
PROMPTS: dict[str, str] = {
    "en": "You are a kind partner in a spoken conversation. Answer what was said to you in one to three "
    "sentences that can be spoken aloud, without lists, headings or emoji.",
    "zh": "你是一位友善的语音对话伙伴。请用一到三句适合说出口的话回应对方,不要使用列表、标题或表情符号。",
}


class TranscriptOnly:
    """An oracle: it sees the gold transcript, which no system does. Text only.

    Args:
        model: the LLM's name at its server.
        url: base URL of an OpenAI-compatible server, ending in /v1; OpenAI's own by default.
        max_tokens: of the reply.
        timeout: seconds per reply.
        calls_at_once: requests in flight.
    """

    role: Literal["floor", "ceiling"] = "floor"
    #: The model may change behind its name.
    cached = False

    def __init__(
        self,
        model: str,
        url: str | None = None,
        max_tokens: int = 200,
        timeout: float = 60.0,
        calls_at_once: int = 4,
        name: str = "transcript-only",
    ) -> None:
        self.name = name
        self.max_tokens, self.calls_at_once = int(max_tokens), int(calls_at_once)
        self.client = ChatClient(
            model=model, base_url=url, timeout=float(timeout), calls_at_once=self.calls_at_once
        )

    @property
    def billed_client(self) -> ChatClient:
        """Return who asks the server."""
        return self.client

    def size_of(self, sample: Sample) -> MessageSize:
        """Return how large the question of a sample is."""
        said = conversation(sample, self.told(sample))
        return MessageSize(texts=tuple(m["content"] for m in said), max_tokens=self.max_tokens)

    async def respond_to(self, sample: Sample) -> Reply:
        """Return what the LLM says to the words."""
        answer = await self.client.ask(conversation(sample, self.told(sample)), max_tokens=self.max_tokens)
        usage = {"prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.completion_tokens}
        return Reply(text=answer.text.strip(), usage=usage)

    def told(self, sample: Sample) -> str:
        """Return what is told of this turn besides the earlier ones: the words."""
        return sample.transcript

    def fingerprint(self) -> str:
        """Return the hash of the prompts; which model answers is a setting, its weights are not known."""
        return digest(self.name_of_rule(), PROMPTS)

    @classmethod
    def name_of_rule(cls) -> str:
        """Return the rule's name and version."""
        return "transcript-only-1"

    def settings(self) -> Mapping[str, Any]:
        """Return the model and where it is served."""
        return {"model": self.client.model, "url": self.client.base_url, "max_tokens": self.max_tokens}

    def close(self) -> None:
        """Close connections."""
        self.client.close()


def conversation(sample: Sample, told: str) -> list[dict[str, str]]:
    """Return the messages of a sample, its last turn told as `told`.

    Raises:
        NotApplicable: no prompt in this language, or an earlier turn without words.
    """
    if sample.language not in PROMPTS:
        raise NotApplicable(f"no prompt in language '{sample.language}'")
    messages = [{"role": "system", "content": sample.instruction or PROMPTS[sample.language]}]
    for turn in sample.history:
        if turn.text is None:
            raise NotApplicable("an earlier turn has no words, and this oracle hears nothing")
        messages.append({"role": turn.role, "content": turn.text})
    return [*messages, {"role": "user", "content": told}]
