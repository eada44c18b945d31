"""Trackers: experiment trackers to which a finished run is copied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from echat_eval.plugins import build_part, parse_parts, renamed, require_different_names, require_members
from echat_eval.ports import Tracker

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TRACKERS", "select_trackers"]

#: Name -> class; other packages add theirs with the entry points `echat_eval.trackers`.
TRACKERS: Mapping[str, str] = {"wandb": "echat_eval.trackers.wandb_tracker:WandbTracker"}


def select_trackers(given: Any) -> list[Tracker]:
    """Return the trackers that a caller describes.

    Args:
        given: an object with the `Tracker` protocol; a name or `my.py:Class`; a mapping
            `{"use": name, setting: value}`; a list of these; or a mapping of names to these; None: none.

    Raises:
        UnknownName: no tracker or setting has this name.
        UsageError: an object that is no tracker, or two trackers with the same name.
        NotInstalled: a tracker needs a package.
    """
    trackers = []
    for spec in [] if given is None else parse_parts("tracker", given):
        part = spec.part
        if isinstance(part, str):
            part = build_part("tracker", part, TRACKERS, spec.settings)
        part = part if spec.name is None else renamed("tracker", part, spec.name)
        require_members("tracker", part, Tracker)
        trackers.append(part)
    require_different_names("tracker", trackers)
    return trackers
