"""The ceiling: a cue-aware reply that a person wrote for this very sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from echat_eval.errors import NotApplicable
from echat_eval.records import Reply, Sample

__all__ = ["Reference"]


class Reference:
    """An oracle: it sees the sample, and says its first reference reply. Text only."""

    role: Literal["floor", "ceiling"] = "ceiling"

    #: Quicker than looking it up.
    cached = False

    def __init__(self, name: str = "reference") -> None:
        self.name = name

    def respond_to(self, sample: Sample) -> Reply:
        """Return the first reference reply."""
        if not sample.references:
            raise NotApplicable(f"sample '{sample.id}' has no reference reply")
        return Reply(text=sample.references[0], perceived=sample.cues)

    def fingerprint(self) -> str:
        """Return the rule's version; the words are part of the sample."""
        return "reference-1"

    def settings(self) -> Mapping[str, Any]:
        """Return no settings: there are none."""
        return {}
