"""What a command showed of a run, kept in the run folder to be shown again while nothing has changed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from echat_eval.cli.blocks import Lines
from echat_eval.cli.fitted_table import Cells
from echat_eval.errors import BadData
from echat_eval.io.files import write_atomically
from echat_eval.io.jsonl import dumps
from echat_eval.store.settled import view_mark

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Shown", "find_shown", "keep_shown"]

_FILE = ".shown.json"


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


def keep_shown(folder: Path, shown: Shown) -> None:
    """Keep what is shown of a run that this process may write to."""
    write_atomically(
        folder / _FILE, dumps({"of": view_mark(folder), "shown": asdict(shown)}) + "\n", durable=False
    )


def find_shown(folder: Path) -> Shown | None:
    """Return what was shown of a run; None if something has changed since."""
    try:
        kept: dict[str, Any] = json.loads((folder / _FILE).read_bytes())
        if kept["of"] != view_mark(folder):
            return None
        blocks = [
            Cells(**block) if "caption" in block else Lines(**block) for block in kept["shown"]["blocks"]
        ]
        return Shown(**{**kept["shown"], "blocks": blocks})
    except (OSError, ValueError, TypeError, KeyError, BadData):
        return None
