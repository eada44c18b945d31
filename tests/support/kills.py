"""Kill a function at its n-th step on the disk, in a forked process, as SIGKILL does."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

__all__ = ["contents", "disk_steps", "killed_before_step"]

#: Calls that change a folder: listing a file, replacing it, removing it.
STEPS = ("write", "replace", "unlink")


def contents(folder: Path) -> dict[str, bytes]:
    """Return relative name -> bytes of every file in a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def disk_steps(action: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> int:
    """Return the number of steps of an action, which is done."""
    count = 0

    def counted(_: str) -> None:
        nonlocal count
        count += 1

    with monkeypatch.context() as patched:
        _before_each_step(counted, patched)
        action()
    return count


def killed_before_step(number: int, action: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Do an action in a forked process that SIGKILL ends before step `number`; return whether it did."""
    child = os.fork()
    if child == 0:
        left = number

        def kill_in_time(_: str) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            with monkeypatch.context() as patched:
                _before_each_step(kill_in_time, patched)
                action()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def _before_each_step(hook: Callable[[str], None], patched: pytest.MonkeyPatch) -> None:
    for name in STEPS:
        original: Callable[..., Any] = getattr(os, name)

        def step(*args: Any, _original: Callable[..., Any] = original, _name: str = name, **more: Any) -> Any:
            hook(_name)
            return _original(*args, **more)

        patched.setattr(os, name, step)
