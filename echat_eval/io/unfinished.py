"""Folders in the making: a command that was killed can be repeated, and files of the user are never touched.

While a command writes a folder, a journal in it, `.unfinished.jsonl`, holds the name of the command and one
line per file with its hash, each appended before the file is written. The journal is removed after the last
file. If the process is killed, the same command finds the journal, checks that it wrote everything there
itself, and starts again. A lock on the journal keeps two processes apart; the kernel releases it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from echat_eval.errors import Busy, UsageError
from echat_eval.io.files import copy_atomically, make_folder, write_atomically
from echat_eval.io.hashing import file_sha256, sha256_of
from echat_eval.io.jsonl import loads

__all__ = ["JOURNAL", "Journal", "NewFolder", "is_half_made"]

JOURNAL = ".unfinished.jsonl"
#: Temporary files of `write_atomically` that a killed process leaves.
_TEMPORARY = re.compile(r"\.(.+)\.\d+\.\d+\.tmp")


def path_of(folder: Path, name: str) -> Path:
    """Return the path of a file in a folder, or beside it ("../NAME") also where the folder is a link."""
    return folder.parent / name[3:] if name.startswith("../") else folder / name


def is_half_made(folder: Path) -> bool:
    """Return whether a command is writing this folder, or was killed while it did."""
    return (folder / JOURNAL).is_file()


class Journal:
    """The list of the files that one command is writing into one folder.

    Args:
        folder: an existing folder.
        made_by: the command, such as "echat-eval report".
        beside: names of files beside the folder that the command writes too.

    Attributes:
        earlier: name -> hashes of the files that a killed process had begun to write.

    Raises:
        Busy: another process is writing the folder.
        UsageError: another command left the journal, or it cannot be read or written.
    """

    def __init__(self, folder: Path, made_by: str, beside: Iterable[str] = ()) -> None:
        self.folder = folder
        self._path = folder / JOURNAL
        self._beside = {f"../{name}" for name in beside}
        self._file = self._locked()
        try:
            content = os.pread(self._file, os.fstat(self._file).st_size, 0)
            self.earlier = self._entries(content, made_by)
            # A torn last line: its file was not begun yet.
            os.ftruncate(self._file, content.rfind(b"\n") + 1)
            self._is_new = b"\n" not in content
            if self._is_new:
                self._append({"made_by": made_by})
        except BaseException:
            os.close(self._file)
            raise

    def _locked(self) -> int:
        """Return the journal's descriptor, holding its lock."""
        while True:
            try:
                flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
                file = os.open(self._path, flags, 0o666)
            except OSError as error:
                reason = error.strerror or error
                raise UsageError(
                    f"{self._path}: cannot be written: {reason}; choose another --out"
                ) from error
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.EACCES):
                    os.close(file)
                    raise Busy(
                        f"{self.folder}: another process is writing this folder; wait for it or choose "
                        "another --out"
                    ) from error
                # This file system has no locks.
            try:
                if os.fstat(file).st_ino == self._path.stat().st_ino:
                    return file
            except FileNotFoundError:
                pass  # its last holder has finished and removed it
            os.close(file)

    def _entries(self, content: bytes, made_by: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        lines = content.split(b"\n")[:-1]
        try:
            if lines and (owner := str(loads(lines[0])["made_by"])) != made_by:
                raise UsageError(
                    f"{self.folder}: `{owner}` was interrupted while it wrote this folder; run that command "
                    "again, or choose another --out"
                )
            for line in lines[1:]:
                entry = loads(line)
                found.setdefault(self.inside(entry["name"]), set()).add(str(entry["sha256"]))
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{self._path}: damaged; remove the folder if it holds nothing of yours, or choose another "
                "--out"
            ) from error
        return found

    def inside(self, name: str) -> str:
        """Return a name of a file of this folder, or beside it if it was declared; else raise ValueError."""
        pure = PurePosixPath(name)
        if name not in self._beside and (not name or pure.is_absolute() or ".." in pure.parts):
            raise ValueError(f"path {name!r} leaves the folder")
        return name

    def add(self, name: str, sha256: str) -> Path:
        """List a file that is about to be written; return its path."""
        path = path_of(self.folder, self.inside(name))
        self._append({"name": name, "sha256": sha256})
        return path

    def _append(self, entry: Mapping[str, str]) -> None:
        line = (json.dumps(entry) + "\n").encode()
        if os.write(self._file, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))

    def remove_temporary(self) -> None:
        """Remove temporary files that a killed process left in this folder, or of its files beside it."""
        if self._is_new:
            return
        found = [path for path in self.folder.rglob("*.tmp") if _TEMPORARY.fullmatch(path.name)]
        for path in self.folder.parent.glob("*.tmp"):
            name = _TEMPORARY.fullmatch(path.name)
            if name is not None and f"../{name[1]}" in self._beside:
                found.append(path)
        for path in found:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the journal, because the folder is finished, and release the folder."""
        self._path.unlink(missing_ok=True)
        os.close(self._file)

    def give_up(self) -> None:
        """Release the folder before anything was written; the journal of a killed command stays."""
        if self._is_new:
            self.close()
        else:
            os.close(self._file)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close; after an error the journal stays, and the folder counts as half made."""
        if kind is None:
            self.close()
        else:
            os.close(self._file)


class NewFolder:
    """Writes a folder that must be absent, empty, or left half made by the same command.

    A context manager. After an error the files written so far are removed again, and after SIGKILL by the
    next command.

    Args:
        folder: the folder to write.
        made_by: the command, such as "echat-eval import".
        occupied: what to add to the message about a folder with other files.
        beside: names of files beside the folder that the command writes too.

    Raises:
        UsageError: the folder, or a file beside it, was not left by the same command.
    """

    def __init__(
        self,
        folder: Path,
        made_by: str,
        *,
        occupied: str = "not empty; choose another --out",
        beside: Iterable[str] = (),
    ) -> None:
        self.folder = folder
        self._made_by = made_by
        self._occupied = occupied
        self._beside = tuple(beside)
        self._written: dict[str, set[str]] = {}

    def __enter__(self) -> NewFolder:
        half_made = is_half_made(self.folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError(f"{self.folder}: a file, expected a folder; choose another --out")
        if self.folder.exists() and not (half_made or self._is_empty()):
            raise UsageError(f"{self.folder}: {self._occupied}")
        for name in self._beside:
            if not half_made and os.path.lexists(path := self.folder.parent / name):
                raise UsageError(f"{path}: {self._occupied}")
        self._existed = self.folder.exists()
        make_folder(self.folder)
        self._journal = Journal(self.folder, self._made_by, self._beside)
        try:
            self._journal.remove_temporary()
            self._check_own(self._journal.earlier)
            _remove(self.folder, self._journal.earlier)
        except BaseException:
            self._journal.give_up()
            raise
        return self

    def _is_empty(self) -> bool:
        return self.folder.is_dir() and not any(self.folder.iterdir())

    def _check_own(self, earlier: Mapping[str, set[str]]) -> None:
        """Raise UsageError if the folder holds anything that the killed command did not write."""
        hashes = {path_of(self.folder, name): found for name, found in earlier.items()}
        folders = {parent for path in hashes for parent in path.parents}
        beside = (path for name in self._beside if os.path.lexists(path := self.folder.parent / name))
        for path in (*self.folder.rglob("*"), *beside):
            if path.name == JOURNAL and path.parent == self.folder:
                continue
            if path.is_symlink() or path not in (folders if path.is_dir() else hashes):
                raise UsageError(
                    f"{path}: not written by `{self._made_by}`, which was interrupted in {self.folder}; move "
                    "it away or choose another --out"
                )
            if path in hashes and file_sha256(path) not in hashes[path]:
                raise UsageError(
                    f"{path}: changed since `{self._made_by}` was interrupted; move it away or choose "
                    "another --out"
                )

    def write(self, name: str, content: str | bytes, *, durable: bool = True) -> Path:
        """Write one file; return its path."""
        data = content.encode() if isinstance(content, str) else content
        path = self._listed(name, sha256_of(data))
        write_atomically(path, data, durable=durable)
        return path

    def copy(self, name: str, source: Path, sha256: str) -> Path:
        """Copy a file with a known hash, once; return the copy's path."""
        if name not in self._written:
            copy_atomically(source, self._listed(name, sha256))
        return path_of(self.folder, name)

    def _listed(self, name: str, sha256: str) -> Path:
        path = self._journal.add(name, sha256)
        self._written.setdefault(name, set()).add(sha256)
        return path

    def __contains__(self, name: str) -> bool:
        """Return whether this command has written a file with this name."""
        return name in self._written

    @property
    def names(self) -> tuple[str, ...]:
        """The files that this command has written."""
        return tuple(self._written)

    def remove(self, name: str) -> None:
        """Remove a file that this command has written."""
        del self._written[name]
        (self.folder / name).unlink()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            _remove(self.folder, self._written)
        self._journal.close()
        if kind is not None and not self._existed and self._is_empty():
            self.folder.rmdir()


def _remove(folder: Path, names: Iterable[str]) -> None:
    """Remove files, and the folders inside `folder` that are empty then."""
    paths = [path_of(folder, name) for name in names]
    for path in paths:
        path.unlink(missing_ok=True)
    inside = {parent for path in paths for parent in _parents(path, folder)}
    for parent in sorted(inside, key=lambda p: len(p.parts), reverse=True):
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()


def _parents(path: Path, folder: Path) -> Iterator[Path]:
    """Yield the folders of a file that are inside `folder`."""
    for parent in path.parents:
        if parent != folder and parent.is_relative_to(folder):
            yield parent
