"""What a terminal cannot show, or nobody reads, changes no exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ENCODINGS = ["ascii", "latin-1", "latin-1:strict", "cp437", "utf-8"]


def command(
    *arguments: str, encoding: str, folder: Path, pipe: int | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run the command line with an encoding; with `pipe`, stdout goes there."""
    return subprocess.run(
        [sys.executable, "-m", "echat_eval", *arguments],
        stdout=subprocess.PIPE if pipe is None else pipe,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        cwd=folder,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_unencodable_characters_are_replaced(encoding: str, tmp_path: Path) -> None:
    done = command("leaderboard", "runs/说话…", encoding=encoding, folder=tmp_path)
    assert done.returncode == 2
    assert b"a bug of ours" not in done.stderr
    shown = "runs/说话…".encode(encoding.partition(":")[0], "backslashreplace")
    assert shown in done.stderr


@pytest.mark.parametrize("arguments", [["list"], ["--help"], ["doctor"]])
def test_a_closed_pipe_changes_no_exit_code(arguments: list[str], tmp_path: Path) -> None:
    usual = command(*arguments, encoding="utf-8", folder=tmp_path).returncode
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = command(*arguments, encoding="utf-8", folder=tmp_path, pipe=writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr.count(b"BrokenPipe")) == (usual, 0)


def test_a_crash_of_the_report_on_a_crash_is_no_crash(tmp_path: Path) -> None:
    program = (
        "import sys, click, echat_eval.cli as c\n"
        "def broken(): raise PermissionError(13, 'Permission denied')\n"
        "c._report_file = broken\n"
        "c.command_line.main = lambda **_: 1 / 0\n"
        "c.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, cwd=tmp_path, check=False, timeout=60
    )
    assert done.returncode == 70
    assert b"not written: Permission denied" in done.stderr
