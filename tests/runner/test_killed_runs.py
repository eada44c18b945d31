"""Runs that are killed, truncated, interrupted or out of disk space lose no row and repeat no finished call."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from echat_eval.cli import main
from echat_eval.records import Reply, Waveform
from echat_eval.scorers.outcome import OutcomeScorer
from echat_eval.systems import SYSTEMS
from echat_eval.testing import ScriptedSystem
from tests.support.scripted_run import evaluated

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_same_command_finishes_a_run_that_was_killed_truncated_or_out_of_disk_space(tmp_path: Path) -> None:
    """Run a short form of bench/kill/run.py, which kills a run of 1,000 samples a hundred times."""
    words = ["--samples", "16", "--kills", "4", "--tears", "2", "--fills", "1", "--contrast", "--seed", "7"]
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "bench" / "kill" / "run.py"),
            *words,
            "--results",
            str(tmp_path / "kill.json"),
        ],
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    results = json.loads((tmp_path / "kill.json").read_text())
    unsound = [case for kind in ("killed", "torn", "full") for case in results[kind] if not case["sound"]]
    assert not unsound, done.stderr[-2000:]
    assert (done.returncode, results["summary"]["killed before they ended"]) == (0, 4)
    assert sum(sum(case["in_flight"].values()) for case in results["killed"]) > 0


@contextmanager
def file_size_limit(max_bytes: int) -> Iterator[None]:
    """Limit the size of files that this process writes, to simulate a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk_makes_a_reply_missing_and_not_failed(tmp_path: Path, tones: Path) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 60_000).astype(np.float32)
    system = ScriptedSystem(
        lambda request: Reply(text="I see.", audio=Waveform(samples=samples, sample_rate=8000))
    )

    def run_states() -> set[str]:
        run = evaluated(tmp_path / "run", tones, system, scorers=[OutcomeScorer()])
        return {score.state for score in run.scores().values()}

    with file_size_limit(60_000):
        assert run_states() == {"missing"}
    assert run_states() == {"value"}


SLOW = """
import asyncio, os, time
from echat_eval.testing import ScriptedSystem

def begin(until, first):
    # Counts the call; all calls but the first ones wait until a file exists.
    with open(os.environ["CALLS"], "a") as file:
        file.write("x")
        number = file.tell()
    return lambda: until is not None and number > first and not os.path.exists(until)

def slow(seconds=0.0, calls_at_once=3, until=None, first=0):
    def respond(request):
        waits = begin(until, first)
        time.sleep(seconds)
        while waits():
            time.sleep(0.01)
        return "hm"
    return ScriptedSystem(respond, "slow", calls_at_once=calls_at_once)

def slow_async(seconds=0.0, calls_at_once=3, until=None, first=0):
    async def respond(request):
        waits = begin(until, first)
        await asyncio.sleep(seconds)
        while waits():
            await asyncio.sleep(0.01)
        return "hm"
    return ScriptedSystem(respond, "slow", calls_at_once=calls_at_once)
"""
PROGRAM = (
    "import sys; from echat_eval.systems import SYSTEMS; "
    "SYSTEMS.update({'slow': 'slow_system:slow', 'slow-async': 'slow_system:slow_async'}); "
    "from echat_eval.cli import main; sys.argv = ['echat-eval', *sys.argv[1:]]; main()"
)


class Command:
    """`echat-eval run` with a slow system in a separate process; its calls are counted."""

    def __init__(self, tmp_path: Path, tones: Path, system: str, *settings: str) -> None:
        (tmp_path / "slow_system.py").write_text(SLOW)
        self.calls, self.out = tmp_path / "calls", tmp_path / "run"
        self.calls.touch()
        self.words = [
            sys.executable,
            "-c",
            PROGRAM,
            "run",
            "--system",
            system,
            "--data",
            str(tones),
            "--task",
            "emotion",
            "--annotator",
            "acoustics",
            "--out",
            str(self.out),
        ]
        for setting in settings:
            self.words += ["--set", setting]
        self.environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}", "CALLS": str(self.calls)}
        self.process = self.start()

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.words,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell that runs us in the background has its children ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def started_calls(self) -> int:
        return self.calls.stat().st_size

    def wait_for(self, calls: int) -> None:
        deadline = time.monotonic() + 120
        while self.started_calls() < calls:
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def wait_for_message(self, words: str) -> None:
        assert self.process.stderr is not None
        assert any(words in line for line in iter(self.process.stderr.readline, ""))

    def interrupt(self) -> None:
        """Press Ctrl-C and wait until the command reports it."""
        self.process.send_signal(signal.SIGINT)
        self.wait_for_message("in flight finish and are kept")

    def rows(self) -> int:
        return (self.out / "responses.jsonl").read_bytes().count(b"\n")

    def end(self) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=120)
        return self.process.returncode, errors


@pytest.mark.parametrize("system", ["slow", "slow-async"])
def test_first_ctrl_c_finishes_and_keeps_calls_in_flight(tmp_path: Path, tones: Path, system: str) -> None:
    command = Command(tmp_path, tones, system, "first=3", f"until={tmp_path / 'continue'}")
    command.wait_for(6)  # three are finished, and the next three are in flight
    command.interrupt()
    (tmp_path / "continue").touch()
    code, errors = command.end()
    assert code == 130, errors
    assert "Traceback" not in errors
    assert command.started_calls() == command.rows() == 6


@pytest.mark.parametrize("system", ["slow", "slow-async"])
def test_second_ctrl_c_stops_at_once(tmp_path: Path, tones: Path, system: str) -> None:
    command = Command(tmp_path, tones, system, "seconds=600")
    command.wait_for(3)
    command.interrupt()
    time.sleep(0.1)
    assert command.process.poll() is None
    command.process.send_signal(signal.SIGINT)
    code, errors = command.end()  # long before the calls would have finished
    assert code == 130, errors
    assert "Traceback" not in errors
    assert command.rows() == 0


def test_second_process_is_refused_and_the_first_continues(
    tmp_path: Path, tones: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = Command(tmp_path, tones, "slow", "seconds=0", f"until={tmp_path / 'continue'}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(SYSTEMS, "slow", "slow_system:slow")
    monkeypatch.setattr(sys, "argv", ["echat-eval", *command.words[command.words.index("run") :]])
    command.wait_for(1)
    with pytest.raises(SystemExit) as exit_of_second:  # this process is the second one
        main()
    monkeypatch.delitem(sys.modules, "slow_system")
    errors = capsys.readouterr().err
    assert exit_of_second.value.code == 3, errors
    assert "another process is writing to this run" in errors
    assert "Traceback" not in errors
    (tmp_path / "continue").touch()
    code, errors = command.end()
    assert code == 0, errors
    assert (command.started_calls(), command.rows()) == (8, 8)
