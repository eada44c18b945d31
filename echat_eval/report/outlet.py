"""Where a report is written: a folder of ours, in which nothing of the user's is ever overwritten."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.errors import UsageError
from echat_eval.io.files import made_folder, write_atomically
from echat_eval.io.hashing import sha256_of_file
from echat_eval.io.jsonl import loads

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["CONTENTS", "Outlet"]

#: Lists every file we wrote with its hash, so that the next report knows what is ours.
CONTENTS = "contents.json"


def _inside(name: str) -> str:
    """Return a name that stays in the folder, or raise ValueError."""
    if not name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError(f"path {name!r} leaves the folder")
    return name


class Outlet:
    """Writes files under one folder, and remembers which.

    Args:
        folder: absent, empty, or made by an earlier report.
        parts: first components of the paths this report makes anew; files of other parts stay.

    Raises:
        UsageError: the folder holds files that no report made, or one that was changed since.
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

    def _ours(self, name: str) -> Path:
        """Return where a file goes, if what lies there is ours to replace."""
        path = self.folder / _inside(name)
        if path.is_symlink():
            raise UsageError(f"{path}: a link, and no report makes links; choose another --out")
        if path.exists() and (name not in self._known or sha256_of_file(path) != self._known[name]):
            raise UsageError(
                f"{path}: not written by an earlier report, or changed since; "
                "move it away or choose another --out"
            )
        return path

    def check(self) -> None:
        """Raise UsageError if it cannot be written, or a file we made was changed; call before any work."""
        made_folder(self.folder)
        for name in self._known:
            if Path(name).parts[0] in self._parts:
                self._ours(name)

    def write(self, name: str, content: str | bytes) -> None:
        """Write one file; its bytes are replaced whole."""
        data = content.encode() if isinstance(content, str) else content
        path = self.folder / _inside(name) if name in self._written else self._ours(name)
        write_atomically(path, data)
        self._written[name] = hashlib.sha256(data).hexdigest()

    def copy(self, name: str, source: Path, sha256: str) -> None:
        """Copy a file whose hash is known; one of these bytes already there is left as it is."""
        if name in self._written:
            return
        path = self.folder / _inside(name)
        if not (self._known.get(name) == sha256 and path.is_file()):
            self._ours(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.tmp")
            shutil.copyfile(source, temporary)
            temporary.replace(path)
        self._written[name] = sha256

    def close(self) -> None:
        """Remove what an earlier report made of these parts and this one did not; write the list."""
        for name in set(self._known) - set(self._written):
            if Path(name).parts[0] in self._parts:
                (self.folder / name).unlink(missing_ok=True)
                del self._known[name]
        self._list()

    def __enter__(self) -> Outlet:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close; after an error or Ctrl-C only list what was written, so that it can be made again."""
        if kind is None:
            self.close()
        elif self._written:
            self._list()

    def _list(self) -> None:
        files = dict(sorted({**self._known, **self._written}.items()))
        text = json.dumps({"made_by": "echat-eval report", "files": files}, ensure_ascii=False, indent=1)
        write_atomically(self.folder / CONTENTS, text + "\n")
