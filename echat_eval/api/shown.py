"""Words about a run folder that are kept in it, to be shown again while nothing has changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from echat_eval.io.files import write_atomically
from echat_eval.io.hashing import fingerprint_of
from echat_eval.io.jsonl import dumps
from echat_eval.store.settled import view_mark

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["find_shown", "keep_shown"]

_FILE = ".shown.json"


def keep_shown(folder: Path, shown: Mapping[str, Any]) -> None:
    """Keep plain JSON about a run folder as it is."""
    kept = {"of": _mark(folder, shown), "shown": shown}
    write_atomically(folder / _FILE, dumps(kept) + "\n", durable=False)


def find_shown(folder: Path) -> dict[str, Any] | None:
    """Return what was kept; None if the folder, the code or the day has changed since."""
    try:
        kept: dict[str, Any] = json.loads((folder / _FILE).read_bytes())
        return dict(kept["shown"]) if kept["of"] == _mark(folder, kept["shown"]) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _mark(folder: Path, shown: Mapping[str, Any]) -> str:
    """Return a hash of the folder and of the words, so that an edited file is no longer shown."""
    return fingerprint_of([view_mark(folder), dumps(shown)])
