"""Atomic writes: a file has its old content or all of the new one.

Content is written to a temporary file beside the target, `.NAME.PID.NUMBER.tmp`, which then replaces it.
Several threads and processes may write the same file; the last one to finish decides. After an error the
target is unchanged and the temporary file is removed; after SIGKILL a temporary file may remain.

A durable write forces the content to the disk before it replaces the target: after a power failure the target
is old or new, never empty. Without it, only a power failure can leave an incomplete file; use it where the
reader checks the content, or where the file can be made again.
"""

from __future__ import annotations

import itertools
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from echat_eval.errors import UsageError

__all__ = ["check_target", "copy_atomically", "make_folder", "replacing", "write_atomically"]

_BLOCK_BYTES = 1 << 20
_numbers = itertools.count()


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path to write to; it replaces `path` if the block ends without an error.

    The new file keeps the permissions of the old one; without an old one it gets those of any new file.
    Missing folders are created.
    """
    folder, name = os.path.split(path)
    if not os.path.isdir(folder or "."):
        os.makedirs(folder, exist_ok=True)
    temporary = Path(folder, f".{name}.{os.getpid()}.{next(_numbers)}.tmp")
    try:
        yield temporary
        try:
            old = os.stat(path).st_mode
        except OSError:  # no old file
            old = 0
        if stat.S_ISREG(old):
            temporary.chmod(stat.S_IMODE(old))
        if durable:
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: str | bytes, *, durable: bool = True) -> None:
    """Replace a file by text (as UTF-8) or bytes."""
    with replacing(path, durable=durable) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def copy_atomically(source: Path | IO[bytes], target: Path, *, durable: bool = False) -> None:
    """Replace a file by a copy of a file or stream, in blocks; times and permissions are not copied."""
    with replacing(target, durable=durable) as temporary:
        if isinstance(source, Path):
            shutil.copyfile(source, temporary)
        else:
            with temporary.open("wb") as file:
                shutil.copyfileobj(source, file, _BLOCK_BYTES)


def check_target(path: Path, option: str) -> None:
    """Refuse a file to write before any work is done.

    Args:
        path: is created or replaced later.
        option: that names it, for the message.

    Raises:
        UsageError: it is a folder or a device, or its folder cannot be created or written.
    """
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: is no regular file; name another with {option}")
    fault = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK | os.X_OK):
            fault = "permission denied"
        else:
            with tempfile.TemporaryFile(dir=path.parent):
                pass
    except OSError as error:
        fault = error.strerror or str(error)
    if fault:
        raise UsageError(f"{path}: cannot be written: {fault}; name another file with {option}")


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
