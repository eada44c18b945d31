"""Answers with the question's own sound: the floor of every voice metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from echat_eval.records import Reply, Request

__all__ = ["Echo"]


class Echo:
    """Says back what it heard."""

    #: Quicker than looking it up.
    cached = False

    def __init__(self, name: str = "echo") -> None:
        self.name = name
        self.role = "floor"

    def respond(self, request: Request) -> Reply:
        """Return the query's audio."""
        return Reply(audio=request.audio)

    def fingerprint(self) -> str:
        """Return the rule's version."""
        return "echo-1"

    def settings(self) -> Mapping[str, Any]:
        """Return no settings: there are none."""
        return {}
