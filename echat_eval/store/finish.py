"""How to get the rows that a run folder lacks: one text for every message."""

from __future__ import annotations

import shlex

__all__ = ["finish_command"]


def finish_command(folder: str) -> str:
    """Return the command that gets the missing rows of a run folder.

    Args:
        folder: path of the run folder; "" if it is unknown, as for a table of another harness.
    """
    if not folder:
        return "run the same command again until no row is missing"
    return f"`echat-eval run {shlex.quote(folder)}`"
