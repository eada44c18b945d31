"""A ceiling for perception: the LLM of `transcript-only` with the gold cues in addition."""

from __future__ import annotations

from typing import Literal

from echat_eval.languages import lookup
from echat_eval.records import Reply, Sample
from echat_eval.systems.transcript_only import TranscriptOnly

__all__ = ["GoldLabels"]

#: The text that gives the cues, before the transcript; by language.
CUE_PROMPTS: dict[str, str] = {
    "en": "(You hear from the voice: {cues}. Do not recite this; let it shape your answer.)",
    "zh": "(你从对方的声音中听出:{cues}。不要复述这些信息,让它影响你的回答。)",
}


class GoldLabels(TranscriptOnly):
    """An oracle that replies to the gold transcript and the gold cues; text only.

    A system's distance to this oracle is due to perception, or to the use of perceived cues. The oracle's
    distance to `reference` is due to the LLM. Takes the arguments of `TranscriptOnly`.
    """

    role: Literal["floor", "ceiling"] = "ceiling"
    further_contents = ("gold labels", "earlier turns")

    def __init__(
        self,
        model: str,
        url: str | None = None,
        max_tokens: int | None = 200,
        timeout: float = 60.0,
        calls_at_once: int = 4,
        name: str = "gold-labels",
        temperature: float | None = 0.0,
        seed: int | None = 0,
        token_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_tokens",
        reasoning_effort: str | None = None,
    ) -> None:
        super().__init__(
            model,
            url=url,
            max_tokens=max_tokens,
            timeout=timeout,
            calls_at_once=calls_at_once,
            name=name,
            temperature=temperature,
            seed=seed,
            token_parameter=token_parameter,
            reasoning_effort=reasoning_effort,
        )

    async def respond_to(self, sample: Sample) -> Reply:
        """Return the LLM's reply to transcript and cues; `perceived` holds the cues."""
        from dataclasses import replace

        return replace(await super().respond_to(sample), perceived=dict(sample.cues))

    def turn_text(self, sample: Sample) -> str:
        """Return the cues and the transcript."""
        cues = ", ".join(f"{cue} {label}" for cue, label in sorted(sample.cues.items()))
        return (
            CUE_PROMPTS[lookup(sample.language, CUE_PROMPTS) or "en"].format(cues=cues)
            + "\n"
            + sample.transcript
        )

    @classmethod
    def name_of_rule(cls) -> str:
        """Return the rule's name and version."""
        return "gold-labels-1"

    def fingerprint(self) -> str:
        """Return the hash of the prompts, the cue prompts included."""
        from echat_eval.io.hashing import digest

        return digest(super().fingerprint(), CUE_PROMPTS)
