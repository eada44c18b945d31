"""A floor for voice metrics that replies with the query's audio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from echat_eval.records import Reply, Request

__all__ = ["Echo"]


class Echo:
    """Returns the query's audio as the reply."""

    #: Answering is faster than a cache lookup.
    cached = False

    def __init__(self, name: str = "echo") -> None:
        self.name = name
        self.role = "floor"

    def respond(self, request: Request) -> Reply:
        """Return the query's audio."""
        return Reply(audio=request.audio)

    def fingerprint(self) -> str:
        """Return the version of the rule."""
        return "echo-1"

    def settings(self) -> Mapping[str, Any]:
        """Return an empty mapping: there are no settings."""
        return {}
