"""Answers everything with one kind sentence: kind, fluent, and deaf to every cue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from echat_eval.errors import NotApplicable, UsageError
from echat_eval.records import Reply, Request

__all__ = ["SENTENCES", "Canned"]

SENTENCES: dict[str, str] = {
    "en": "Thank you for telling me. I am here for you, and I would love to hear more about it.",
    "zh": "谢谢你告诉我。我会一直在这里陪着你,也很想听你多说一些。",
}


class Canned:
    """Text only; the same words whatever was heard.

    Args:
        text: one sentence for every language; by default one of ours for each.
    """

    #: Quicker than looking it up.
    cached = False

    def __init__(self, text: str | None = None, name: str = "canned") -> None:
        if text is not None and not text.strip():
            raise UsageError("canned text is empty; give a sentence")
        self.name = name
        self.role = "floor"
        self.text = text

    def respond(self, request: Request) -> Reply:
        """Return the sentence."""
        text = self.text or SENTENCES.get(request.language)
        if text is None:
            raise NotApplicable(f"no canned sentence in language '{request.language}'; set text=...")
        return Reply(text=text)

    def fingerprint(self) -> str:
        """Return the rule's version; the words are settings."""
        return "canned-1"

    def settings(self) -> Mapping[str, Any]:
        """Return the words."""
        return {"text": self.text or SENTENCES}
