"""Faults of a task folder: raise the first one, or list all of them."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from echat_eval.errors import BadData

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["EXAMPLES", "FaultList", "by_kind", "display_path", "kind_of"]

#: Faults of a kind that are shown as examples.
EXAMPLES = 3
_VARYING = re.compile(r"'[^']*'|\"[^\"]*\"|\b[0-9a-f]{16,}\b|\d+")
_PLACE = re.compile(r"^\S+:\d+: ")


def kind_of(reason: str) -> str:
    """Return a reason without the parts that differ from row to row, for counting.

    >>> kind_of("emotion 'angry' is an alias; write 'anger'")
    'emotion … is an alias; write …'
    """
    return _VARYING.sub("…", reason)[:160]


def by_kind(faults: Sequence[str]) -> dict[str, list[str]]:
    """Return kind -> its faults, which begin with their place; the most frequent kind first.

    >>> by_kind(["a.jsonl:1: id 'x' twice", "a.jsonl:9: id 'y' twice"])
    {'id … twice': ["a.jsonl:1: id 'x' twice", "a.jsonl:9: id 'y' twice"]}
    """
    kinds: dict[str, list[str]] = {}
    for fault in faults:
        kinds.setdefault(kind_of(_PLACE.sub("", fault)), []).append(fault)
    return dict(sorted(kinds.items(), key=lambda item: -len(item[1])))


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
