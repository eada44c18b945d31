"""Marks of a finished command: while they hold, the same command has nothing to do and reads no row.

The file `.settled.json` of a run folder holds one hash: of all that decides which rows of the command are
missing or stale, and of the folder's files at its end. While both are the same, so is the result. Anything
else is worked out from the rows, and so is everything in a folder that cannot be hashed: no fault here ends a
command.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import echat_eval
from echat_eval.io.data_folder import data_folder
from echat_eval.io.hashing import file_sha256, fingerprint_of
from echat_eval.io.kept import FAULTS, keep, kept

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "SIDE_FILES",
    "Settled",
    "code_mark",
    "find_settled",
    "is_view_of",
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
    found = kept(folder / _FILE)
    try:
        if found["of"] != _mark(folder, command):
            return None
        stages = tuple((str(name), int(total)) for name, total in found["stages"])
        return Settled(stages=stages, states=Counter({str(k): int(v) for k, v in found["states"].items()}))
    except FAULTS:
        return None


def keep_settled(folder: Path, command: str, settled: Settled) -> None:
    """Keep the result of a command; arguments as of `find_settled`."""
    with suppress(*FAULTS):
        mark = _mark(folder, command)
        keep(folder / _FILE, {"of": mark, "stages": settled.stages, "states": settled.states})


def _mark(folder: Path, command: str) -> str:
    return fingerprint_of([command, content_mark(folder, ROWS)])


def content_mark(folder: Path, names: Sequence[str]) -> str:
    """Return a hash of some files of a run folder, and of the names, sizes and times of its recordings."""
    found: list[object] = [
        [ascii(name), file_sha256(path) if (path := folder / name).is_file() else None] for name in names
    ]
    for name in RECORDINGS:
        found.append(sorted(_marks(folder / name)) if (folder / name).is_dir() else None)
    return fingerprint_of(found)


def _marks(folder: Path) -> Iterator[tuple[str, int, int]]:
    """Yield name, size and time of every file in a folder; a name need not be UTF-8."""
    for entry in os.scandir(folder):
        if entry.is_file():
            status = entry.stat()
            yield ascii(entry.name), status.st_size, status.st_mtime_ns


def view_mark(folder: Path) -> str | None:
    """Return a hash of all that a leaderboard of a run folder is made from, the day included.

    None if something in the folder cannot be read: it equals no mark, so nothing is kept or found.
    """
    try:
        own = sorted(path.name for path in folder.iterdir() if path.is_file() and not _is_product(path.name))
        places = sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in RECORDINGS)
        others = [mark for place in places for mark in _all_marks(place)]
        today = datetime.now(UTC).date().isoformat()
        return fingerprint_of([ascii(folder), today, code_mark(), content_mark(folder, own), others])
    except FAULTS:
        return None


def is_view_of(folder: Path, mark: object) -> bool:
    """Return whether a mark is `view_mark` of the folder as it is."""
    return mark is not None and mark == view_mark(folder)


def _is_product(name: str) -> bool:
    """Return whether a file of a run folder is in no leaderboard: a product, a lock, the list of commands."""
    return name.startswith((".", "leaderboard.")) or name in {*SIDE_FILES, "commands.jsonl"}


def is_written(folder: Path) -> bool:
    """Return whether the files of the leaderboard are those of the folder as it is."""
    found = kept(folder / _WRITTEN)
    try:
        return is_view_of(folder, found["of"]) and bool(found["files"] == _products(folder))
    except FAULTS:
        return False


def keep_written(folder: Path, before: str | None) -> None:
    """Keep that the files of the leaderboard were written from the folder as it is.

    Args:
        before: `view_mark` when no row was read yet. If it is another now, such as after `forget` in
            between, nothing is kept.
    """
    with suppress(*FAULTS):
        if is_view_of(folder, before):
            keep(folder / _WRITTEN, {"of": before, "files": _products(folder)})


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
        yield from [ascii(place), place.stat().st_size, place.stat().st_mtime_ns]
    for root, folders, _ in os.walk(place):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        yield from (ascii(root), sorted(_marks(Path(root))))
