"""A ceiling that replies with the sample's reference reply, which a person wrote for its cue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from echat_eval.errors import NotApplicable
from echat_eval.records import Reply, Sample

__all__ = ["Reference"]


class Reference:
    """An oracle that replies with the first reference reply, as text only."""

    role: Literal["floor", "ceiling"] = "ceiling"

    #: Answering is faster than a cache lookup.
    cached = False

    def __init__(self, name: str = "reference") -> None:
        self.name = name

    def respond_to(self, sample: Sample) -> Reply:
        """Return the first reference reply."""
        if not sample.references:
            raise NotApplicable(f"sample '{sample.id}' has no reference reply")
        return Reply(text=sample.references[0], perceived=sample.cues)

    def fingerprint(self) -> str:
        """Return the version of the rule; the reply is part of the sample."""
        return "reference-1"

    def settings(self) -> Mapping[str, Any]:
        """Return an empty mapping: there are no settings."""
        return {}
