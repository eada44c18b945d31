"""The default progress of the API: notes are logged."""

from __future__ import annotations

import logging

from echat_eval.ports import Silent

__all__ = ["Logged"]

logger = logging.getLogger(__name__)


class Logged(Silent):
    """The default `Progress`: it logs notes as warnings, which Python shows by default."""

    def note(self, text: str) -> None:
        """Log a message."""
        logger.warning("%s", text)
