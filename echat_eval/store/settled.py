"""Marks of a finished command: while they hold, the same command has nothing to do and reads no row.

The file `.settled.json` of a run folder holds one hash: of all that decides which rows of the command are
missing or stale, and of the folder's files at its end. While both are the same, so is the result. Anything
else is worked out from the rows.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import echat_eval
from echat_eval.errors import BadData
from echat_eval.io import jsonl
from echat_eval.io.data_folder import data_folder
from echat_eval.io.files import write_atomically
from echat_eval.io.hashing import file_sha256, fingerprint_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "SIDE_FILES",
    "Settled",
    "code_mark",
    "find_settled",
    "is_written",
    "keep_settled",
    "keep_written",
    "view_mark",
]

_FILE, _WRITTEN = ".settled.json", ".written.json"
#: Tables beside leaderboard.csv.
SIDE_FILES = ("listening_gap.csv", "reply_times.csv")
#: Folders of recordings, which are named by their hashes.
RECORDINGS = ("requests", "audio")
#: Files that decide whether a row is missing or stale.
ROWS = ("manifest.json", "samples.jsonl", "responses.jsonl", "annotations.jsonl", "scores.jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The result of a command that made every row.

    Attributes:
        stages: names of the stages and their numbers of rows.
        states: state -> number of scores.
    """

    stages: Sequence[tuple[str, int]]
    states: Counter[str]


def find_settled(folder: Path, command: str) -> Settled | None:
    """Return the result of a command that is finished; None if it may have rows to make.

    Args:
        folder: of the run; its lock should be held.
        command: hash of all that the command depends on beside the folder.
    """
    try:
        kept: dict[str, Any] = json.loads((folder / _FILE).read_bytes())
        if kept["of"] != _mark(folder, command):
            return None
        stages = tuple((str(name), int(total)) for name, total in kept["stages"])
        return Settled(stages=stages, states=Counter({str(k): int(v) for k, v in kept["states"].items()}))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, BadData):
        return None


def keep_settled(folder: Path, command: str, settled: Settled) -> None:
    """Keep the result of a command; arguments as of `find_settled`."""
    kept = {"of": _mark(folder, command), "stages": settled.stages, "states": settled.states}
    write_atomically(folder / _FILE, jsonl.dumps(kept) + "\n", durable=False)


def _mark(folder: Path, command: str) -> str:
    return fingerprint_of([command, content_mark(folder, ROWS)])


def content_mark(folder: Path, names: Sequence[str]) -> str:
    """Return a hash of some files of a run folder, and of the names, sizes and times of its recordings."""
    found: list[object] = [
        [name, file_sha256(path) if (path := folder / name).is_file() else None] for name in names
    ]
    for name in RECORDINGS:
        found.append(sorted(_marks(folder / name)) if (folder / name).is_dir() else None)
    return fingerprint_of(found)


def _marks(folder: Path) -> Iterator[tuple[str, int, int]]:
    """Yield name, size and time of every file in a folder."""
    for entry in os.scandir(folder):
        if entry.is_file():
            status = entry.stat()
            yield entry.name, status.st_size, status.st_mtime_ns


def view_mark(folder: Path) -> str:
    """Return a hash of all that a leaderboard of a run folder is made from, the day included."""
    own = sorted(path.name for path in folder.iterdir() if path.is_file() and not _is_product(path.name))
    places = sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in RECORDINGS)
    others = [mark for place in places for mark in _all_marks(place)]
    today = datetime.now(UTC).date().isoformat()
    return fingerprint_of([str(folder), today, code_mark(), own, content_mark(folder, own), others])


def _is_product(name: str) -> bool:
    """Return whether a file of a run folder is in no leaderboard: a product, a lock, the list of commands."""
    return name.startswith((".", "leaderboard.")) or name in {*SIDE_FILES, "commands.jsonl"}


def is_written(folder: Path) -> bool:
    """Return whether the files of the leaderboard are those of the folder as it is."""
    try:
        kept: dict[str, Any] = json.loads((folder / _WRITTEN).read_bytes())
        return bool(kept["of"] == view_mark(folder) and kept["files"] == _products(folder))
    except (OSError, ValueError, TypeError, KeyError):
        return False


def keep_written(folder: Path) -> None:
    """Keep that the files of the leaderboard were written from the folder as it is."""
    kept = {"of": view_mark(folder), "files": _products(folder)}
    write_atomically(folder / _WRITTEN, jsonl.dumps(kept) + "\n", durable=False)


def _products(folder: Path) -> dict[str, str | None]:
    names = [*(f"leaderboard.{ending}" for ending in ("md", "csv", "png")), *SIDE_FILES]
    return {name: file_sha256(path) if (path := folder / name).is_file() else None for name in names}


@cache
def code_mark() -> str:
    """Return a hash of the code and its data, by sizes and times of files, and of what is installed."""
    package = Path(echat_eval.__file__).parent
    shipped = [data_folder("baselines"), data_folder("judges"), data_folder("tasks") / "cues.yaml"]
    installed = [place for place in map(Path, sys.path) if place.name in {"site-packages", "dist-packages"}]
    found = [
        *(mark for place in (package, *shipped) for mark in _all_marks(place)),
        *(place.stat().st_mtime_ns for place in installed if place.is_dir()),
    ]
    return fingerprint_of([echat_eval.__version__, sys.version, *found])


def _all_marks(place: Path) -> Iterator[object]:
    """Yield path, size and time of every source or data file below a place, which may be a file itself."""
    if place.is_file():
        yield from [str(place), place.stat().st_size, place.stat().st_mtime_ns]
    for root, folders, _ in os.walk(place):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        yield from (root, sorted(_marks(Path(root))))
