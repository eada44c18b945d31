"""Paths that stay inside a folder: what a row names is a file of the row's folder, and no link leads out."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from echat_eval.errors import BadData

__all__ = ["Folder", "leads_out"]


def leads_out(name: str) -> bool:
    """Return whether a POSIX path is absolute or has "..".

    >>> [leads_out(name) for name in ("a/b.wav", "/a", "a/../b", "a..b")]
    [False, True, True, False]
    """
    return name.startswith("/") or (".." in name and ".." in name.split("/"))


class Folder:
    """A folder whose rows name files in it.

    Args:
        path: the folder; it may itself be a link or lie behind one.
        shown: what messages call it.
    """

    def __init__(self, path: Path, shown: str = "the folder") -> None:
        self.path, self._shown = path, shown
        self._root: str | None = None
        self._inside: dict[str, bool] = {}

    def file(self, name: str) -> Path:
        """Return the path of a file, which may be missing.

        Raises:
            BadData: the name is an absolute path, has "..", cannot be a path, or leads through a link out of
                the folder.
        """
        if leads_out(name):
            raise BadData(f"leaves {self._shown}; expected a relative path without '..'")
        path = self.path / name
        try:
            # The folder is enough unless the file is a link; each folder is resolved once.
            is_link = stat.S_ISLNK(os.lstat(path).st_mode)
        except FileNotFoundError:
            is_link = False
        except (OSError, ValueError) as error:  # too long, below a file, with NUL, not Unicode
            raise BadData(f"no such file in {self._shown}") from error
        if not self._is_inside(str(path if is_link else path.parent)):
            raise BadData(f"a link that leaves {self._shown}; copy the file into it")
        return path

    def _is_inside(self, path: str) -> bool:
        if self._root is None:
            self._root = os.path.realpath(self.path)
        if path not in self._inside:
            real = os.path.realpath(path)
            self._inside[path] = real == self._root or real.startswith(self._root.rstrip("/") + "/")
        return self._inside[path]
