"""The ceiling of perception: the same LLM as `transcript-only`, told the gold cues as well."""

from __future__ import annotations

from typing import Literal

from echat_eval.records import Reply, Sample
from echat_eval.systems.transcript_only import TranscriptOnly

__all__ = ["GoldLabels"]

#: How the cues are told, before the words.
TOLD: dict[str, str] = {
    "en": "(You hear from the voice: {cues}. Do not recite this; let it shape your answer.)",
    "zh": "(你从对方的声音中听出:{cues}。不要复述这些信息,让它影响你的回答。)",
}


class GoldLabels(TranscriptOnly):
    """An oracle: it sees the gold transcript and the gold cues. Text only.

    What a system falls short of it is perception, or the use of what was perceived; what it falls
    short of `reference` is the LLM's own doing. Arguments as `TranscriptOnly`.
    """

    role: Literal["floor", "ceiling"] = "ceiling"

    def __init__(
        self,
        model: str,
        url: str | None = None,
        max_tokens: int = 200,
        timeout: float = 60.0,
        calls_at_once: int = 4,
        name: str = "gold-labels",
    ) -> None:
        super().__init__(
            model, url=url, max_tokens=max_tokens, timeout=timeout, calls_at_once=calls_at_once, name=name
        )

    async def respond_to(self, sample: Sample) -> Reply:
        """Return what the LLM says to the words and the cues; it has perceived what it was told."""
        from dataclasses import replace

        return replace(await super().respond_to(sample), perceived=dict(sample.cues))

    def told(self, sample: Sample) -> str:
        """Return the cues and the words."""
        cues = ", ".join(f"{cue} {label}" for cue, label in sorted(sample.cues.items()))
        return TOLD.get(sample.language, TOLD["en"]).format(cues=cues) + "\n" + sample.transcript

    @classmethod
    def name_of_rule(cls) -> str:
        """Return the rule's name and version."""
        return "gold-labels-1"

    def fingerprint(self) -> str:
        """Return the hash of the prompts and of how the cues are told."""
        from echat_eval.io.hashing import digest

        return digest(super().fingerprint(), TOLD)
