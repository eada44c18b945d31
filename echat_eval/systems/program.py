"""Runs a program, exchanges lines with it, and limits its time and output."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import IO

from echat_eval.concurrency.own_faults import is_own_fault, names_own_fault
from echat_eval.concurrency.threads import DaemonThread
from echat_eval.errors import SystemFailure, Unavailable, UsageError
from echat_eval.systems.guardian import guardian
from echat_eval.systems.program_environment import ProgramEnvironment
from echat_eval.systems.wire import MAX_REPLY_BYTES

__all__ = ["Program"]

#: The part of stderr that is kept: its last lines and characters.
TAIL_LINES, TAIL_CHARACTERS = 40, 400
#: Seconds that a program may take to exit after its input ends, and again after SIGTERM.
GRACE = 5.0


class Program:
    """One running program.

    Args:
        words: the program and its arguments; no shell is used.
        folder: its working directory.
        environment: what it gets of ours.
        more: further variables.
    """

    def __init__(
        self,
        words: Sequence[str],
        folder: Path,
        environment: ProgramEnvironment,
        *,
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._environment = environment
        self._lines: queue.Queue[bytes | None] = queue.Queue(maxsize=1000)
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        try:
            self._process = subprocess.Popen(
                list(words),
                cwd=folder,
                env={**environment.variables, **more},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            if is_own_fault(error):
                raise
            raise UsageError(
                f"'{words[0]}' cannot be started: {error.strerror or error}; "
                "check that it exists, is executable (chmod +x) and names its interpreter in its first line"
            ) from error
        guardian.add(self._process.pid)
        self._writer: threading.Thread | None = None
        self._readers = [
            DaemonThread(self._read_replies),
            DaemonThread(self._read_errors),
        ]
        try:
            for reader in self._readers:
                reader.start()
        except RuntimeError:  # no further thread
            self._signal(signal.SIGKILL)
            self._process.wait()
            raise

    @property
    def alive(self) -> bool:
        """Return whether the program is running."""
        return self._process.poll() is None

    def feed(self, lines: Sequence[bytes]) -> None:
        """Send lines without waiting for the program to read them.

        A program that does not read would block the writer; `read` then ends with a time-out.
        """

        def write() -> None:
            with suppress(OSError, ValueError):
                stdin = self._stream(self._process.stdin)
                for line in lines:
                    stdin.write(line)
                stdin.flush()

        writer = DaemonThread(write)
        writer.start()
        self._writer = writer

    def read(self, end: float, timeout: float) -> bytes:
        """Return the next line of stdout.

        Args:
            end: deadline, on the monotonic clock.
            timeout: seconds for the error message.

        Raises:
            Unavailable: there was no line before the deadline, or the machine ended the program.
            SystemFailure: the program ended, or the line is too long.
        """
        try:
            line = self._lines.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            raise Unavailable(
                f"no reply in {timeout:g} s; does the program flush its output after every line?"
                f"{self._stderr_tail()}"
            ) from None
        if line is None:
            raise self._end()
        if len(line) > MAX_REPLY_BYTES:
            raise SystemFailure(f"a line longer than {MAX_REPLY_BYTES:,} bytes")
        return line

    def end_input(self) -> None:
        """Close the program's stdin."""
        with suppress(OSError):
            self._stream(self._process.stdin).close()

    def read_or_end(self, end: float, timeout: float) -> bytes | None:
        """Return the next line, or None once the program has exited with 0; raises as `read`."""
        try:
            return self.read(end, timeout)
        except SystemFailure:
            if self._process.poll() == 0:
                return None
            raise

    def stop(self) -> None:
        """Stop the program and all processes that it started."""
        self.end_input()
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None:
                self._signal(number)
            try:
                self._process.wait(GRACE)
                break
            except subprocess.TimeoutExpired:
                continue
        # Processes that it started may still hold the pipes.
        self._signal(signal.SIGKILL)
        guardian.remove(self._process.pid)
        self._drain()
        for reader in self._readers:
            reader.join(GRACE)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def kill(self) -> None:
        """Stop the program with SIGKILL."""
        self._signal(signal.SIGKILL)
        if self._writer is not None:
            self._writer.join(GRACE)
        self.stop()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _drain(self) -> None:
        """Empty the queue, so that a reader that waits for room in it can finish."""
        with suppress(queue.Empty):
            while True:
                self._lines.get_nowait()

    def _end(self) -> SystemFailure | Unavailable:
        """Return our error for a program that ended.

        The machine is at fault if it lacks memory or disk; we are if the program lacks a variable.
        """
        try:
            code = self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            return SystemFailure(f"the program closed its output and is still running{self._stderr_tail()}")
        self._readers[1].join(1.0)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        output = " ".join(self._tail)
        hint = self._environment.hint(output) if code != 0 else ""
        reason = f"the program {how} before it replied{hint}{self._stderr_tail()}"
        # Linux kills programs with SIGKILL when memory runs out.
        killed = code in (-signal.SIGKILL, 128 + signal.SIGKILL)
        own = killed or (code != 0 and (names_own_fault(output) or self._environment.missed(output) != []))
        return Unavailable(reason) if own else SystemFailure(reason)

    def _stderr_tail(self) -> str:
        text = " ".join(" ".join(self._tail).split())
        return f"; its stderr ends: {text[-TAIL_CHARACTERS:]}" if text else ""

    def _read_replies(self) -> None:
        stdout = self._stream(self._process.stdout)
        with suppress(ValueError, OSError):
            while line := stdout.readline(MAX_REPLY_BYTES + 1):
                self._lines.put(line)
        self._lines.put(None)

    def _read_errors(self) -> None:
        stderr = self._stream(self._process.stderr)
        with suppress(ValueError, OSError):
            while line := stderr.readline(4096):
                self._tail.append(line.decode("utf-8", "replace"))

    @staticmethod
    def _stream(stream: IO[bytes] | None) -> IO[bytes]:
        assert stream is not None  # all three are pipes
        return stream
