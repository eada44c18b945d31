"""Faults of a task folder: raise the first one, or list all of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from echat_eval.errors import BadData

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FaultList", "display_path"]


def display_path(path: Path) -> str:
    """Return a path for messages: relative if it lies below the current folder."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


class FaultList:
    """The faults found so far.

    Args:
        keep_going: list every fault; otherwise the first one raises BadData.
    """

    def __init__(self, *, keep_going: bool) -> None:
        self.found: list[str] = []
        self._keep_going = keep_going

    def add(self, path: Path, line: int | None, message: str) -> None:
        """Add a fault; `line` counts from 1, None means the file as a whole."""
        self.add_line(
            f"{display_path(path)}:{line}: {message}" if line else f"{display_path(path)}: {message}"
        )

    def add_line(self, text: str) -> None:
        """Add a fault whose text already holds the location."""
        text = " ".join(text.split())
        if not self._keep_going:
            raise BadData(text)
        self.found.append(text)
