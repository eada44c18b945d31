"""Two programs timed in turns: each in a process of its own, one round here, one round there.

A worker process loads its side, reports this, and then does one round of work a line that it reads. While one
side works the other waits, so whatever else disturbs the machine disturbs both alike; the order changes
every round.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: One round of work: its number in, what was done and how long its stages took out.
Round = Callable[[int], dict[str, Any]]


class Worker:
    """One side of one case, in its own process."""

    def __init__(self, script: str, case: dict[str, Any]) -> None:
        self.case = case
        self.process = subprocess.Popen(
            [sys.executable, script, "--worker", json.dumps(case)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.loaded = self.read()

    def read(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.case['side']} stopped with exit code {self.process.wait()}; see above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, word: str) -> dict[str, Any]:
        assert self.process.stdin
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self.read()

    def close(self) -> dict[str, Any]:
        memory = self.ask("end")
        self.process.wait()
        return memory


def serve(load: Callable[[], Round]) -> None:
    """Be a worker: load, warm up with round -1, then a round a line until "end"."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the public code prints; the pipe is for answers alone
    done = load()
    resident = memory_mb("VmRSS")
    forget_peak()
    begin = time.monotonic()
    done(-1)
    say = {"loaded_mb": resident, "warm_up_seconds": round(time.monotonic() - begin, 1)}
    while True:
        answers.write(json.dumps(say) + "\n")
        answers.flush()
        word = sys.stdin.readline().strip()
        if not word:  # who asked is gone
            return
        if word == "end":
            break
        wall, cpu = time.monotonic(), time.process_time()
        say = done(int(word))
        say |= {"cpu_seconds": time.process_time() - cpu, "wall_seconds": time.monotonic() - wall}
    answers.write(json.dumps({"peak_mb": memory_mb("VmHWM")}) + "\n")
    answers.close()


def compare(script: str, sides: list[dict[str, Any]], *, rounds: int) -> list[dict[str, Any]]:
    """Run every side `rounds` times in turns; return one record a side with medians over the rounds."""
    load = os.getloadavg()
    workers = [Worker(script, side) for side in sides]
    runs: list[list[dict[str, Any]]] = [[] for _ in workers]
    for number in range(rounds):
        places = list(range(len(workers)))
        for place in places[::-1] if number % 2 else places:
            runs[place].append(workers[place].ask(str(number)))
    made = []
    for worker, done in zip(workers, runs, strict=True):
        sums = {
            name: round(statistics.median(run[name] / run["requests"] for run in done), 4)
            for name in done[0]
            if name != "requests"
        }
        record = worker.case | {
            "rounds": rounds,
            "requests_a_round": done[0]["requests"],
            "per_request": sums,
            "cpu_seconds_by_round": [round(run["cpu_seconds"] / run["requests"], 4) for run in done],
            "requests_per_second": round(1 / sums["cpu_seconds"], 4),
            "load_average": {"before": load, "after": os.getloadavg()},
        }
        made.append(record | worker.loaded | worker.close())
        print({name: made[-1][name] for name in ("side", "batch", "per_request", "peak_mb")}, flush=True)
    return made


def memory_mb(entry: str) -> int:
    """Return VmRSS (now) or VmHWM (peak) of this process; its whole life's peak where /proc is missing."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    line = next(line for line in status.read_text().splitlines() if line.startswith(entry))
    return int(line.split()[1]) // 1024


def forget_peak() -> None:
    """Let the peak start from here, so that reading the weights does not count."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        print("the peak includes loading: this system cannot reset it", file=sys.stderr)


def machine(threads: int) -> str:
    """Return the processor's name as the system reports it, and how much of it was used."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor()
    return f"{name}, {threads} of {os.cpu_count()} cores, no GPU"
