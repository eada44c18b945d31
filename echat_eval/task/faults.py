"""Faults of a task folder: the first one raised, or all of them listed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from echat_eval.errors import BadData

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Faults", "shown"]


def shown(path: Path) -> str:
    """Return how messages name a path: relative to the current folder if it lies below it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


class Faults:
    """Takes faults as they are found.

    Args:
        keep_going: list every fault; otherwise the first one raises BadData.
    """

    def __init__(self, *, keep_going: bool) -> None:
        self.found: list[str] = []
        self._keep_going = keep_going

    def add(self, path: Path, line: int | None, message: str) -> None:
        """Take one fault; `line` counts from 1, None means the file as a whole."""
        self.take(f"{shown(path)}:{line}: {message}" if line else f"{shown(path)}: {message}")

    def take(self, text: str) -> None:
        """Take one fault whose text already says where."""
        text = " ".join(text.split())
        if not self._keep_going:
            raise BadData(text)
        self.found.append(text)
