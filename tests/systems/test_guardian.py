"""Programs end with the process that started them, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from echat_eval.systems.guardian import Guardian

ROOT = Path(__file__).resolve().parents[2]
#: Starts a shell that starts a second program, and prints both pids.
STARTS = """
import sys, time
from pathlib import Path
from echat_eval.systems.guardian import guardian
from echat_eval.systems.program import Program
Path("scratch").mkdir()
Path("scratch", "reply.wav").write_text("")
guardian.add(Path("scratch").resolve())
program = Program(["sh", "-c", "sleep 600 & echo $$ $!; wait"], Path("."), {"PATH": "/usr/bin:/bin"})
print(program.read(time.monotonic() + 30, 30).decode(), end="", flush=True)
time.sleep(600)
"""


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_programs_do_not_outlive_a_killed_process(number: signal.Signals, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTS],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as harness:
        assert harness.stdout is not None
        pids = [int(word) for word in harness.stdout.readline().split()]
        try:
            assert all(map(is_running, pids))
            harness.send_signal(number)
            harness.wait()
            wait_until(lambda: not any(map(is_running, pids)))
            wait_until(lambda: not (tmp_path / "scratch").exists())
        finally:
            for pid in pids:
                if is_running(pid):
                    os.kill(pid, signal.SIGKILL)


def test_a_program_that_has_ended_is_forgotten() -> None:
    guardian = Guardian()
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as kept:
        guardian.add(kept.pid)
        guardian.remove(kept.pid)
        assert guardian._process is not None
        guardian._stop(guardian._process)
        assert guardian._process.wait(20) == 0
        assert is_running(kept.pid)
        kept.kill()


def test_a_killed_guardian_is_replaced() -> None:
    guardian = Guardian()
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as program:
        guardian.add(program.pid)
        first = guardian._process
        assert first is not None
        first.kill()
        first.wait()
        guardian.add(os.getpid() + 2**22)  # no process has this number
        assert guardian._process is not None
        guardian._stop(guardian._process)
        assert program.wait(20) == -signal.SIGKILL
