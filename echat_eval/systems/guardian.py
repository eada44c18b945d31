"""Ends the programs of this process, and deletes their temporary folders, when it ends, also by SIGKILL.

A second, small process holds the reading end of a pipe. The kernel closes the writing end with this process;
the second one then kills the process groups, and deletes the folders, that are still listed. The kernel's own
signal at a parent's death (PR_SET_PDEATHSIG) does less: it follows the thread that started a program, not its
process, and does not reach what the program has started.

Run as a script, this file is the second process. It imports nothing of the package, so that it starts fast.
"""

from __future__ import annotations

import atexit
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Guardian", "guardian"]

#: Seconds between looks at the parent, whose forked processes may hold the pipe open.
PERIOD = 1.0


class Guardian:
    """The second process, and what must not outlive this one: process groups and temporary folders."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._parent = 0
        self._items: set[str] = set()
        self._lock = threading.Lock()

    def add(self, item: int | Path) -> None:
        """List a process group or a folder; the first one starts the second process."""
        with self._lock:
            if self._parent != os.getpid():
                self._process, self._items = None, set()
            self._items.add(str(item))
            if self._process is None or self._process.poll() is not None:
                self._start()
            else:
                self._send(f"+{item}\n")

    def remove(self, item: int | Path) -> None:
        """Forget a process group that has ended, or a folder that is deleted."""
        with self._lock:
            if self._parent == os.getpid():
                self._items.discard(str(item))
                self._send(f"-{item}\n")

    def _start(self) -> None:
        self._parent = os.getpid()
        with suppress(OSError):  # without it, programs end as far as this process ends them
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__, str(self._parent)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                cwd="/",
                start_new_session=True,
            )
            atexit.register(self._stop, self._process)
            self._send("".join(f"+{item}\n" for item in self._items))

    def _send(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.write(os.fsencode(line))

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        if self._parent == os.getpid() and process.stdin is not None:
            with suppress(OSError, subprocess.TimeoutExpired):
                process.stdin.close()
                process.wait(PERIOD)


#: The guardian of this process.
guardian = Guardian()


def main(parent: int) -> None:
    """Read process groups and folders until the parent ends; then kill and delete those that are left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    items: set[bytes] = set()
    begun = b""
    while True:
        if not select.select([0], [], [], PERIOD)[0]:
            if os.getppid() != parent:
                break
            continue
        content = os.read(0, 1 << 16)
        if not content:
            break
        *lines, begun = (begun + content).split(b"\n")
        for line in lines:
            (items.add if line[:1] == b"+" else items.discard)(line[1:])
    for group in filter(bytes.isdigit, items):
        with suppress(OSError):
            os.killpg(int(group), signal.SIGKILL)
    for folder in filter(os.path.isabs, items):
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
