"""The leaderboard of a run as a command showed it, to be shown again while nothing has changed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from echat_eval.api.shown import find_shown, keep_shown
from echat_eval.cli.blocks import Lines
from echat_eval.cli.fitted_table import Cells

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Shown", "keep", "kept"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The leaderboard of a run in words, and what decides the exit code.

    Attributes:
        blocks: tables and lines, in order.
        beside: names of the files beside leaderboard.csv.
        notes: of the run.
        all_failed: every reply failed.
        missing: scores are missing.
    """

    blocks: Sequence[Cells | Lines]
    beside: Sequence[str]
    notes: Sequence[str]
    all_failed: bool
    missing: bool


def keep(folder: Path, shown: Shown, before: str | None) -> None:
    """Keep what is shown of a run that this process may write to; `before` as of `keep_shown`."""
    keep_shown(folder, asdict(shown), before)


def kept(folder: Path) -> Shown | None:
    """Return what was shown of a run; None if something has changed since."""
    try:
        if (found := find_shown(folder)) is None:
            return None
        blocks = [Cells(**block) if "caption" in block else Lines(**block) for block in found["blocks"]]
        return Shown(**{**found, "blocks": blocks})
    except (TypeError, KeyError):
        return None
