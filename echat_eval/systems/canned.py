"""A floor that gives the same kind sentence as every reply, whatever the cue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from echat_eval.errors import NotApplicable, UsageError
from echat_eval.languages import lookup
from echat_eval.records import Reply, Request

__all__ = ["SENTENCES", "Canned"]

SENTENCES: dict[str, str] = {
    "en": "Thank you for telling me. I am here for you, and I would love to hear more about it.",
    "zh": "谢谢你告诉我。我会一直在这里陪着你,也很想听你多说一些。",
    "ja": "話してくれてありがとうございます。私はここにいますので、よかったらもっと聞かせてください。",
}


class Canned:
    """Replies with a fixed sentence, as text only.

    Args:
        text: the sentence for all languages; by default the one in `SENTENCES` for the query's language.
    """

    #: Answering is faster than a cache lookup.
    cached = False

    def __init__(self, text: str | None = None, name: str = "canned") -> None:
        if text is not None and not text.strip():
            raise UsageError("text is empty; give the sentence that canned replies with")
        self.name = name
        self.role = "floor"
        self.text = text

    def respond(self, request: Request) -> Reply:
        """Return the sentence."""
        text = self.text or SENTENCES.get(lookup(request.language, SENTENCES) or "")
        if text is None:
            raise NotApplicable(f"no canned sentence for language '{request.language}'; set text=...")
        return Reply(text=text)

    def fingerprint(self) -> str:
        """Return the version of the rule; the sentence is a setting."""
        return "canned-1"

    def settings(self) -> Mapping[str, Any]:
        """Return the sentence."""
        return {"text": self.text or SENTENCES}
