"""The output folder of a report; files of the user are never overwritten."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.errors import UsageError
from echat_eval.io.files import copy_atomically, make_folder, write_atomically
from echat_eval.io.hashing import file_sha256, sha256_of
from echat_eval.io.jsonl import loads
from echat_eval.io.unfinished import Journal, is_half_made

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["CONTENTS", "Outlet"]

#: Lists every file of a report with its hash, so that the next report replaces only those.
CONTENTS = "contents.json"
MADE_BY = "echat-eval report"


class Outlet:
    """Writes files into one folder and lists them with their hashes.

    The list is complete only at the end. Until then a journal lists each file before it is written, so that a
    report that was killed can be made again; see `echat_eval.io.unfinished`.

    Args:
        folder: absent, empty, or written by an earlier report.
        parts: first path components that this report replaces; files of other parts stay.

    Raises:
        UsageError: the folder holds files that no report wrote, or that changed since.
        Busy: another process is writing a report there.
    """

    def __init__(self, folder: Path, parts: Iterable[str]) -> None:
        self.folder = folder
        self._parts = set(parts)
        self._written: dict[str, str] = {}
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder}: a file, expected a folder; choose another --out")
        listed = (folder / CONTENTS).is_file()
        if not listed and not is_half_made(folder) and folder.exists() and any(folder.iterdir()):
            raise UsageError(f"{folder}: not empty and not made by `echat-eval`; choose another --out")
        self._existed = folder.exists()
        make_folder(folder)
        self._journal = Journal(folder, MADE_BY)
        try:
            self._journal.remove_temporary()
            self._listed = self._read() if listed else {}
            for name in self._journal.earlier:
                if Path(name).parts[0] in self._parts:
                    self._replaceable(name)
        except BaseException:
            self._journal.give_up()
            raise

    def _read(self) -> dict[str, str]:
        path = self.folder / CONTENTS
        try:
            files: Any = loads(path.read_bytes())["files"]
            return {self._journal.inside(str(name)): str(sha256) for name, sha256 in files.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{path}: cannot be read as a list of files; choose another --out") from error

    def _replaceable(self, name: str) -> Path:
        """Return the path of a file, if an existing file there may be replaced."""
        path = self.folder / self._journal.inside(name)
        if path.is_symlink():
            raise UsageError(f"{path}: a symbolic link; expected a file or no file; choose another --out")
        own = {self._listed.get(name), *self._journal.earlier.get(name, ())}
        if path.exists() and (not path.is_file() or file_sha256(path) not in own):
            raise UsageError(
                f"{path}: not written by an earlier report, or changed since; "
                "move it away or choose another --out"
            )
        return path

    def check(self) -> None:
        """Raise UsageError if a file of an earlier report changed; call before any work."""
        for name in self._listed:
            if Path(name).parts[0] in self._parts:
                self._replaceable(name)

    def give_up(self) -> None:
        """Release the folder before anything was written."""
        self._journal.give_up()
        self._remove_if_empty()

    def write(self, name: str, content: str | bytes) -> None:
        """Write one file atomically."""
        data = content.encode() if isinstance(content, str) else content
        if name not in self._written:
            self._replaceable(name)
        sha256 = sha256_of(data)
        write_atomically(self._journal.add(name, sha256), data)
        self._written[name] = sha256

    def copy(self, name: str, source: Path, sha256: str) -> None:
        """Copy a file with a known hash, unless the same bytes are already there."""
        if name in self._written:
            return
        path = self.folder / self._journal.inside(name)
        if not (self._listed.get(name) == sha256 and path.is_file()):
            self._replaceable(name)
            copy_atomically(source, self._journal.add(name, sha256))
        self._written[name] = sha256

    def close(self) -> None:
        """Remove files of these parts that only an earlier report wrote; write the list."""
        for name in {*self._listed, *self._journal.earlier} - set(self._written):
            if Path(name).parts[0] in self._parts:
                (self.folder / name).unlink(missing_ok=True)
                self._listed.pop(name, None)
        self._finish()

    def __enter__(self) -> Outlet:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close; after an error or Ctrl-C only list the written files, so that a rerun can replace them."""
        if kind is None:
            self.close()
        else:
            self._finish()
            self._remove_if_empty()

    def _remove_if_empty(self) -> None:
        """Remove a folder that this report made and wrote nothing into."""
        if not self._existed and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _finish(self) -> None:
        """Write the list of all files, and remove the journal."""
        files = self._known()
        text = json.dumps({"made_by": MADE_BY, "files": files}, ensure_ascii=False, indent=1)
        if files or (self.folder / CONTENTS).exists():
            write_atomically(self.folder / CONTENTS, text + "\n")
        self._journal.close()

    def _known(self) -> dict[str, str]:
        """Return name -> hash of every file of this report and of earlier ones that is still there."""
        half_made = {
            name: sha256
            for name, hashes in self._journal.earlier.items()
            if (path := self.folder / name).is_file() and (sha256 := file_sha256(path)) in hashes
        }
        return dict(sorted({**self._listed, **half_made, **self._written}.items()))
