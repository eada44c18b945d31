"""Files that are written whole or not at all."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from echat_eval.errors import UsageError

__all__ = ["made_folder", "write_atomically", "write_whole"]


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace a file as a whole: a reader sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def made_folder(path: Path) -> Path:
    """Make a folder that will be written to, so that one that cannot be is told before any work is done.

    Raises:
        UsageError: it cannot be made, or not be written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        why = "" if os.access(path, os.W_OK | os.X_OK) else "permission denied"
    except OSError as error:
        why = error.strerror or str(error)
    if why:
        raise UsageError(f"{path}: cannot be written: {why}; choose another --out")
    return path


_numbers = itertools.count()


def write_whole(target: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all, whoever else writes the same."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{target.name}.{os.getpid()}.{next(_numbers)}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
