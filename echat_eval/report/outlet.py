"""The output folder of a report; files of the user are never overwritten."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.errors import UsageError
from echat_eval.io.files import copy_atomically, make_folder, write_atomically
from echat_eval.io.hashing import file_sha256, sha256_of
from echat_eval.io.jsonl import loads

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["CONTENTS", "Outlet"]

#: Lists every file of a report with its hash, so that the next report replaces only those.
CONTENTS = "contents.json"


def _inside(name: str) -> str:
    """Return a name that is inside the folder, or raise ValueError."""
    if not name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError(f"path {name!r} leaves the folder")
    return name


class Outlet:
    """Writes files into one folder and lists them with their hashes.

    Args:
        folder: absent, empty, or written by an earlier report.
        parts: first path components that this report replaces; files of other parts stay.

    Raises:
        UsageError: the folder holds files that no report wrote, or that changed since.
    """

    def __init__(self, folder: Path, parts: Iterable[str]) -> None:
        self.folder = folder
        self._parts = set(parts)
        self._known = self._read()
        self._written: dict[str, str] = {}

    def _read(self) -> dict[str, str]:
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError(f"{self.folder}: a file, expected a folder; choose another --out")
        path = self.folder / CONTENTS
        if not path.is_file():
            if self.folder.exists() and any(self.folder.iterdir()):
                raise UsageError(
                    f"{self.folder}: not empty and not made by `echat-eval`; choose another --out"
                )
            return {}
        try:
            files: Any = loads(path.read_bytes())["files"]
            for name in files:
                _inside(name)
            return {str(name): str(sha256) for name, sha256 in files.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{path}: cannot be read as a list of files; choose another --out") from error

    def _replaceable(self, name: str) -> Path:
        """Return the path of a file, if an existing file there may be replaced."""
        path = self.folder / _inside(name)
        if path.is_symlink():
            raise UsageError(f"{path}: a symbolic link; expected a file or no file; choose another --out")
        if path.exists() and (name not in self._known or file_sha256(path) != self._known[name]):
            raise UsageError(
                f"{path}: not written by an earlier report, or changed since; "
                "move it away or choose another --out"
            )
        return path

    def check(self) -> None:
        """Raise UsageError if the folder cannot be written or a file changed; call before any work."""
        make_folder(self.folder)
        for name in self._known:
            if Path(name).parts[0] in self._parts:
                self._replaceable(name)

    def write(self, name: str, content: str | bytes) -> None:
        """Write one file atomically."""
        data = content.encode() if isinstance(content, str) else content
        path = self.folder / _inside(name) if name in self._written else self._replaceable(name)
        write_atomically(path, data)
        self._written[name] = sha256_of(data)

    def copy(self, name: str, source: Path, sha256: str) -> None:
        """Copy a file with a known hash, unless the same bytes are already there."""
        if name in self._written:
            return
        path = self.folder / _inside(name)
        if not (self._known.get(name) == sha256 and path.is_file()):
            self._replaceable(name)
            copy_atomically(source, path)
        self._written[name] = sha256

    def close(self) -> None:
        """Remove files of these parts that only an earlier report wrote; write the list."""
        for name in set(self._known) - set(self._written):
            if Path(name).parts[0] in self._parts:
                (self.folder / name).unlink(missing_ok=True)
                del self._known[name]
        self._list()

    def __enter__(self) -> Outlet:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close; after an error or Ctrl-C only list the written files, so that a rerun can replace them."""
        if kind is None:
            self.close()
        elif self._written:
            self._list()

    def _list(self) -> None:
        files = dict(sorted({**self._known, **self._written}.items()))
        text = json.dumps({"made_by": "echat-eval report", "files": files}, ensure_ascii=False, indent=1)
        write_atomically(self.folder / CONTENTS, text + "\n")
