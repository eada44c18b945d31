"""A run that is killed, cut, stopped, or finds its disk full: nothing lost, nothing asked twice."""

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
from typing import Any

import numpy as np
import pytest

from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.ports import Silent
from echat_eval.records import Reply, Waveform
from echat_eval.runner.evaluate import evaluate
from echat_eval.scorers.outcome import OutcomeScorer
from echat_eval.store.run_folder import RunFolder
from echat_eval.task import load_task

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_killed_cut_or_out_of_disk_the_same_command_finishes_the_run(tmp_path: Path) -> None:
    """A short form of bench/kill.py, which kills a run of 1,000 samples a hundred times."""
    words = ["--samples", "16", "--kills", "4", "--tears", "2", "--fills", "1", "--contrast", "--seed", "7"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "kill.py"), *words, "--results", str(tmp_path / "kill.json")],
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    found = json.loads((tmp_path / "kill.json").read_text())
    unsound = [one for what in ("killed", "torn", "full") for one in found[what] if not one["sound"]]
    assert not unsound, done.stderr[-2000:]
    assert (done.returncode, found["summary"]["killed before they ended"]) == (0, 4)
    assert sum(sum(one["in_flight"].values()) for one in found["killed"]) > 0


@contextmanager
def files_of_at_most(most_bytes: int) -> Iterator[None]:
    """Let no file of this process grow further, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_voice_that_the_full_disk_refuses_is_no_failure_of_the_system(
    tmp_path: Path, tones: Path, scripted: Any
) -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, 60_000).astype(np.float32)
    system = scripted(lambda request: Reply(text="I see.", audio=Waveform(samples=sound, sample_rate=8000)))

    def go() -> set[str]:
        with RunFolder(tmp_path / "run").writing() as run:
            evaluate(
                run,
                systems=[system],
                tasks=[load_task("emotion", data=tones)],
                annotators=[],
                scorers=[OutcomeScorer()],
                retry_policy=RetryPolicy(tries=2, first_wait=0.0),
                progress=Silent(),
            )
            return {score.state for score in run.scores().values()}

    with files_of_at_most(60_000):
        assert go() == {"missing"}
    assert go() == {"value"}


SLOW = """
import asyncio, os, time
from echat_eval.records import Reply

def begun():
    with open(os.environ["CALLS"], "a") as file:
        file.write("x")
        return file.tell()

class Slow:
    name = "slow"
    def __init__(self, seconds=0.0, calls_at_once=3, until=None, first=0):
        # All calls but the first ones wait until a file is there.
        self.seconds, self.calls_at_once, self.until, self.first = seconds, calls_at_once, until, first
    def waits(self, number):
        return self.until is not None and number > self.first and not os.path.exists(self.until)
    def respond(self, request):
        number = begun()
        time.sleep(self.seconds)
        while self.waits(number):
            time.sleep(0.01)
        return Reply(text="hm")
    def fingerprint(self):
        return "slow-1"
    def settings(self):
        return {}

class SlowAsync(Slow):
    async def respond(self, request):
        number = begun()
        await asyncio.sleep(self.seconds)
        while self.waits(number):
            await asyncio.sleep(0.01)
        return Reply(text="hm")
"""
PROGRAM = (
    "import sys; from echat_eval.systems import SYSTEMS; "
    "SYSTEMS.update({'slow': 'slow_system:Slow', 'slow-async': 'slow_system:SlowAsync'}); "
    "from echat_eval.cli import main; sys.argv = ['echat-eval', *sys.argv[1:]]; main()"
)


class Command:
    """`echat-eval run` of a slow system in a process of its own, whose calls can be counted."""

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

    def begun(self) -> int:
        return self.calls.stat().st_size

    def wait_for(self, calls: int) -> None:
        deadline = time.monotonic() + 120
        while self.begun() < calls:
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def hear(self, words: str) -> None:
        assert self.process.stderr is not None
        said = iter(self.process.stderr.readline, "")
        assert any(words in line for line in said)

    def rows(self) -> int:
        return (self.out / "responses.jsonl").read_bytes().count(b"\n")

    def end(self) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=120)
        return self.process.returncode, errors


@pytest.mark.parametrize("system", ["slow", "slow-async"])
def test_one_ctrl_c_finishes_and_keeps_what_is_in_flight(tmp_path: Path, tones: Path, system: str) -> None:
    command = Command(tmp_path, tones, system, "first=3", f"until={tmp_path / 'told'}")
    command.wait_for(6)  # three were answered, and the next three are in flight
    command.process.send_signal(signal.SIGINT)
    command.hear("in flight are finished and kept")
    (tmp_path / "told").touch()
    code, errors = command.end()
    assert code == 130, errors
    assert "Traceback" not in errors
    assert command.begun() == command.rows() == 6


@pytest.mark.parametrize("system", ["slow", "slow-async"])
def test_a_second_ctrl_c_stops_now(tmp_path: Path, tones: Path, system: str) -> None:
    command = Command(tmp_path, tones, system, "seconds=600")
    command.wait_for(3)
    command.process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert command.process.poll() is None
    command.process.send_signal(signal.SIGINT)
    code, errors = command.end()  # long before the calls would have ended
    assert code == 130, errors
    assert "Traceback" not in errors
    assert command.rows() == 0


def test_a_second_process_is_told_and_the_first_goes_on(tmp_path: Path, tones: Path) -> None:
    command = Command(tmp_path, tones, "slow", "seconds=0", f"until={tmp_path / 'told'}")
    command.wait_for(1)
    second = subprocess.run(
        command.words, env=command.environment, capture_output=True, text=True, timeout=120
    )
    assert second.returncode == 3, second.stderr
    assert "another process is writing to this run" in second.stderr
    assert "Traceback" not in second.stderr
    (tmp_path / "told").touch()
    code, errors = command.end()
    assert code == 0, errors
    assert (command.begun(), command.rows()) == (8, 8)
