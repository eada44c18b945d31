"""Words about a run folder that are kept in it, to be shown again while nothing has changed."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from echat_eval.io.hashing import fingerprint_of
from echat_eval.io.kept import FAULTS, keep, kept
from echat_eval.store.settled import is_view_of, view_mark

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["find_shown", "keep_shown", "view_mark"]

_FILE = ".shown.json"


def keep_shown(folder: Path, shown: Mapping[str, Any], before: str | None) -> None:
    """Keep plain JSON about a run folder as it is.

    Args:
        before: `view_mark` when no row was read yet; if it is another now, nothing is kept.
    """
    with suppress(*FAULTS):
        if before is not None and is_view_of(folder, before):
            keep(folder / _FILE, {"of": _mark(before, shown), "shown": shown})


def find_shown(folder: Path) -> dict[str, Any] | None:
    """Return what was kept; None if the folder, the code or the day has changed since."""
    found = kept(folder / _FILE)
    try:
        mark, shown = found["of"], found["shown"]
        view = view_mark(folder)
        return dict(shown) if view is not None and mark == _mark(view, shown) else None
    except FAULTS:
        return None


def _mark(view: str, shown: Mapping[str, Any]) -> str:
    """Return a hash of the folder and of the words, so that an edited file is no longer shown."""
    return fingerprint_of([view, shown])
