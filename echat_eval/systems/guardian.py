"""Ends the programs that this process has started when it ends in any way, also by SIGKILL.

A second, small process holds the reading end of a pipe. The kernel closes the writing end with this process;
the second one then kills the process group of every program that is still listed. The kernel's own signal at
a parent's death (PR_SET_PDEATHSIG) does less: it follows the thread that started a program, not its process,
and does not reach what the program has started.

Run as a script, this file is the second process. It imports nothing of the package, so that it starts fast.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import subprocess
import sys
import threading
from contextlib import suppress

__all__ = ["Guardian", "guardian"]

#: Seconds between looks at the parent, whose forked processes may hold the pipe open.
PERIOD = 1.0


class Guardian:
    """The second process and the process groups that it ends; it starts with the first program."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._parent = 0
        self._groups: set[int] = set()
        self._lock = threading.Lock()

    def add(self, group: int) -> None:
        """List a process group that must not outlive this process."""
        with self._lock:
            if self._parent != os.getpid():
                self._process, self._groups = None, set()
            self._groups.add(group)
            if self._process is None or self._process.poll() is not None:
                self._start()
            else:
                self._send(f"+{group}\n")

    def remove(self, group: int) -> None:
        """Forget a process group that has ended."""
        with self._lock:
            if self._parent == os.getpid():
                self._groups.discard(group)
                self._send(f"-{group}\n")

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
            self._send("".join(f"+{group}\n" for group in self._groups))

    def _send(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.write(line.encode())

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        if self._parent == os.getpid() and process.stdin is not None:
            with suppress(OSError, subprocess.TimeoutExpired):
                process.stdin.close()
                process.wait(PERIOD)


#: The guardian of this process.
guardian = Guardian()


def main(parent: int) -> None:
    """Read process groups until the parent ends, then kill those that are left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
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
            (groups.add if line[:1] == b"+" else groups.discard)(int(line[1:]))
    for group in groups:
        with suppress(OSError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]))
