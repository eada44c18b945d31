"""A short form of the fuzz bench, and the faults that it counts."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.fuzz import case
from bench.fuzz.world import build

#: As many cases as take a few seconds.
CASES = 14


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("XDG_CACHE_HOME", str(tmp_path / "cache")), ("TMPDIR", str(tmp_path))):
        monkeypatch.setenv(name, value)


@pytest.mark.slow
@pytest.mark.usefixtures("environment")
def test_no_command_crashes_hangs_or_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The process of the tests holds the memory of others already.
    monkeypatch.setattr(case, "MAX_BYTES", case.memory_peak() + case.MAX_BYTES)
    build(tmp_path / "world")
    endings = [case.run_case(tmp_path / "world", tmp_path / "scratch", 0, number) for number in range(CASES)]
    assert [ending for ending in endings if ending.fault] == []
    assert len({ending.kind for ending in endings}) > CASES / 2
    assert {ending.code for ending in endings} >= {0, 2}


def crash() -> None:
    raise ZeroDivisionError


def report_a_bug() -> None:
    print("echat-eval: a bug of ours", file=sys.stderr)
    sys.exit(70)


def print_a_traceback() -> None:
    print("Traceback (most recent call last):\n  File ...", file=sys.stderr)


def hang() -> None:
    while True:
        time.sleep(0.01)


def resident() -> int:
    """Return the bytes of memory that this process has now; it may have given others back."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize()


def fill_memory() -> None:
    len(b"x" * (400_000_000 + max(0, case.memory_peak() - resident())))


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        (crash, "crash"),
        (report_a_bug, "crash"),
        (print_a_traceback, "crash"),
        (hang, "hang"),
        (fill_memory, "peak"),
        (sys.exit, None),
    ],
)
def test_faults_are_counted(
    command: Callable[[], None], fault: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(case, "main", command)
    monkeypatch.setattr(case, "MAX_SECONDS", 0.05 if fault == "hang" else 5.0)
    before = resident() if fault == "peak" else 10**12
    monkeypatch.setattr(case, "MAX_BYTES", before + 30_000_000)
    assert case.timed(["demo"])["fault"] == fault
