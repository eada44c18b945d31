"""A list of the runs below a folder: when, which systems, the headline, the state and the size."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from echat_eval.errors import BadData, EChatError
from echat_eval.experiment.record import Command, read_commands
from echat_eval.store.run_folder import RunFolder

__all__ = ["RunLine", "list_runs"]

#: The task of a leaderboard's rows over all tasks.
_ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLine:
    """A run in a list of runs.

    Attributes:
        path: its folder.
        date: UTC time of the last command, or of the last change of the manifest; "" if unknown.
        systems: their names.
        headline: the metric that leads, and the value of each system by it, as in leaderboard.csv.
        state: "done", "N missing", "broken off", "unfinished" or "damaged".
        fault: of a damaged folder.
        size: bytes of all files.
    """

    path: Path
    date: str
    systems: tuple[str, ...] = ()
    headline: tuple[str, tuple[tuple[str, float], ...]] = ("", ())
    state: str
    fault: str = ""
    size: int


def list_runs(root: Path) -> list[RunLine]:
    """Return the runs in a folder and below it, the latest first; a damaged run is listed with its fault.

    Raises:
        BadData: no such folder.
    """
    if not root.is_dir():
        raise BadData(f"{root}: no such folder; give the folder that holds your runs")
    found = [_line(Path(folder)) for folder, folders, files in _walk(root) if "manifest.json" in files]
    return sorted(found, key=lambda line: line.date, reverse=True)


def _walk(root: Path) -> list[tuple[str, list[str], list[str]]]:
    """Return the folders below a folder; the folders of a run are not searched."""
    visited = []
    for folder, folders, files in os.walk(root):
        if "manifest.json" in files:
            folders.clear()
        visited.append((folder, folders, files))
    return visited


def _line(path: Path) -> RunLine:
    changed = datetime.fromtimestamp((path / "manifest.json").stat().st_mtime, tz=UTC)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    try:
        manifest, commands = RunFolder(path).manifest(), read_commands(path)
        rows = _leaderboard_rows(path)
    except EChatError as error:
        date = changed.isoformat(timespec="seconds")
        return RunLine(path=path, date=date, state="damaged", fault=str(error), size=size)
    last = commands[-1] if commands else None
    ranked = [row["metric"] for row in rows if row.get("rank_low")]
    lead = next(iter([*ranked, *(row["metric"] for row in rows)]), "")
    values = [row for row in rows if row["metric"] == lead and row["task"] == _ALL and row["value"]]
    return RunLine(
        path=path,
        date=last.started if last is not None else changed.isoformat(timespec="seconds"),
        systems=tuple(manifest.systems),
        headline=(lead, tuple((row["system"], float(row["value"])) for row in values)),
        state=_state(last, rows),
        size=size,
    )


def _leaderboard_rows(path: Path) -> list[dict[str, str]]:
    file = path / "leaderboard.csv"
    if not file.is_file():
        return []
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def _state(last: Command | None, rows: list[dict[str, str]]) -> str:
    if last is not None and last.outcome is None:
        return "unfinished"
    if last is not None and last.outcome != "done":
        return "broken off"
    if not rows:
        return "unfinished"
    missing = sum(int(row["missing"] or 0) for row in rows if row["task"] == _ALL)
    return f"{missing} missing" if missing else "done"
