"""A floor for perception: an LLM that gets the gold transcript and no audio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from echat_eval.clients.chat import ChatClient
from echat_eval.cost.tokens import MessageSize
from echat_eval.errors import NotApplicable, scrub
from echat_eval.io.hashing import digest
from echat_eval.languages import lookup
from echat_eval.ports import Destination
from echat_eval.records import Reply, Sample

__all__ = ["PROMPTS", "TranscriptOnly", "conversation"]

#: System prompt by language; floor and ceiling share it, so that they differ in the cues only.
PROMPTS: dict[str, str] = {
    "en": "You are a kind partner in a spoken conversation. Answer what was said to you in one to three "
    "sentences that can be spoken aloud, without lists, headings or emoji.",
    "zh": "你是一位友善的语音对话伙伴。请用一到三句适合说出口的话回应对方,不要使用列表、标题或表情符号。",
}


class TranscriptOnly:
    """An oracle that replies to the gold transcript, which no system receives; text only.

    Args:
        model: the LLM's name on its server.
        url: base URL of an OpenAI-compatible server, ending in /v1; OpenAI's own by default.
        max_tokens: limit of the reply; None for the server's default.
        temperature, seed: None leaves the parameter out.
        token_parameter: the server's name of the limit.
        reasoning_effort: such as "low"; None leaves the parameter out.
        timeout: seconds per reply.
        calls_at_once: maximum number of requests in flight.
    """

    role: Literal["floor", "ceiling"] = "floor"
    #: Sent beside the transcripts.
    further_contents: tuple[str, ...] = ("earlier turns",)
    #: The server may change the model behind its name.
    cached = False

    def __init__(
        self,
        model: str,
        url: str | None = None,
        max_tokens: int | None = 200,
        timeout: float = 60.0,
        calls_at_once: int = 4,
        name: str = "transcript-only",
        temperature: float | None = 0.0,
        seed: int | None = 0,
        token_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_tokens",
        reasoning_effort: str | None = None,
    ) -> None:
        self.name = name
        self.max_tokens, self.calls_at_once = max_tokens, int(calls_at_once)
        self.temperature, self.seed = temperature, seed
        self.client = ChatClient(
            model=model,
            base_url=url,
            timeout=float(timeout),
            calls_at_once=self.calls_at_once,
            token_parameter=token_parameter,
            reasoning_effort=reasoning_effort,
            party="system",
        )

    @property
    def billed_client(self) -> ChatClient:
        """Return the client whose calls may cost money."""
        return self.client

    def destinations(self) -> Sequence[Destination]:
        """Return the model's server."""
        return [Destination(url=self.client.address, contents=("transcripts", *self.further_contents))]

    def size_of(self, sample: Sample) -> MessageSize:
        """Return the size of the request for a sample."""
        messages = conversation(sample, self.turn_text(sample))
        return MessageSize(texts=tuple(m["content"] for m in messages), max_tokens=self.max_tokens)

    async def respond_to(self, sample: Sample) -> Reply:
        """Return the LLM's reply to the transcript."""
        messages = conversation(sample, self.turn_text(sample))
        answer = await self.client.ask(
            messages, max_tokens=self.max_tokens, seed=self.seed, temperature=self.temperature
        )
        usage = {"prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.completion_tokens}
        return Reply(text=answer.text.strip(), usage=usage)

    def turn_text(self, sample: Sample) -> str:
        """Return the LLM's input for the current turn: the transcript."""
        return sample.transcript

    def fingerprint(self) -> str:
        """Return the hash of the prompts; the model is a setting, and its weights are unknown."""
        return digest(self.name_of_rule(), PROMPTS)

    @classmethod
    def name_of_rule(cls) -> str:
        """Return the rule's name and version."""
        return "transcript-only-1"

    def settings(self) -> Mapping[str, Any]:
        """Return the model, where it is served, and its parameters."""
        # Left out at their defaults, so that replies of earlier versions stay valid.
        later = {
            "temperature": (self.temperature, 0.0),
            "seed": (self.seed, 0),
            "token_parameter": (self.client.token_parameter, "max_tokens"),
            "reasoning_effort": (self.client.reasoning_effort, None),
        }
        return {
            "model": self.client.model,
            "url": self.client.base_url and scrub(self.client.base_url),
            "max_tokens": self.max_tokens,
            **{name: value for name, (value, default) in later.items() if value != default},
        }

    def close(self) -> None:
        """Close connections."""
        self.client.close()


def conversation(sample: Sample, turn_text: str) -> list[dict[str, str]]:
    """Return the messages of a sample, with `turn_text` as the current turn.

    Raises:
        NotApplicable: there is no prompt in this language, or an earlier turn has no text.
    """
    language = lookup(sample.language, PROMPTS)
    if language is None:
        raise NotApplicable(f"no prompt in language '{sample.language}'")
    messages = [{"role": "system", "content": sample.instruction or PROMPTS[language]}]
    for turn in sample.history:
        if turn.text is None:
            raise NotApplicable("an earlier turn has no text, and this oracle takes no audio")
        messages.append({"role": turn.role, "content": turn.text})
    return [*messages, {"role": "user", "content": turn_text}]
