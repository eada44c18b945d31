"""The exit code, whatever libraries do at the end of the process."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from echat_eval import cli
from echat_eval.errors import Exit

PROGRAM = """
import atexit, ctypes, resource, sys
from echat_eval.cli.exit_code import guard_exit_code, leave

if sys.argv[1] == "limited":
    resource.setrlimit(resource.RLIMIT_AS, (2**32, resource.RLIM_INFINITY))
guard_exit_code()
atexit.register(print, "tidied up")
if sys.argv[2] == "library":
    ctypes.CDLL(None).exit(1)
leave(int(sys.argv[2]))
"""


@pytest.mark.parametrize(
    ("limit", "end", "code"),
    [
        ("limited", "library", 3),
        ("limited", "0", 0),
        ("limited", "1", 1),
        ("unlimited", "library", 1),
        ("unlimited", "2", 2),
    ],
)
def test_a_library_that_ends_the_process_for_lack_of_memory_gives_3(limit: str, end: str, code: int) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, limit, end], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert done.stderr == ""
    assert (done.stdout == "tidied up\n") == (end != "library")


ABANDONED = """
import sys, threading, time
from echat_eval.cli.exit_code import leave

threading.Thread(target=time.sleep, args=(60,)).start()
leave(int(sys.argv[1]))
"""


def test_an_interrupted_program_does_not_wait_for_an_abandoned_call() -> None:
    done = subprocess.run([sys.executable, "-c", ABANDONED, "130"], timeout=20)
    assert done.returncode == 130


def test_an_error_of_any_kind_without_memory_is_no_bug_of_ours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_result(**_: object) -> None:
        raise SystemError("error return without exception set")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (2**20, 2**20))
    assert cli._exit_code(without_result) == Exit.CANNOT_TELL
    assert capsys.readouterr().err.startswith("echat-eval: out of memory: 0 MiB are left")
