"""Atomic writes: a file has its old content or all of the new one."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from echat_eval.errors import UsageError

__all__ = ["make_folder", "write_atomically", "write_whole"]

_numbers = itertools.count()


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace a file atomically, and force it to the disk."""
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


def make_folder(path: Path) -> Path:
    """Create an output folder before any work is done, so that a bad path is reported early.

    Raises:
        UsageError: the folder cannot be created or is not writable.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        fault = "" if os.access(path, os.W_OK | os.X_OK) else "permission denied"
    except OSError as error:
        fault = error.strerror or str(error)
    if fault:
        raise UsageError(f"{path}: cannot be written: {fault}; choose another --out")
    return path


def write_whole(target: Path, content: bytes) -> None:
    """Write a file atomically; several threads and processes may write the same one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{target.name}.{os.getpid()}.{next(_numbers)}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
