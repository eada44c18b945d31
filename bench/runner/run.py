"""Speed of the harness itself, beside lm-eval and inspect_ai, interleaved in one run.

    python bench/runner/run.py --environments /tmp/speed-environments

The first time, an environment is made per rival from requirements/bench-*.txt; nothing is installed into
the one that runs this. Every measurement is a process of its own; the rivals and ours take turns, so that
what else the machine does meets all of them. Writes bench/results/speed.json and the table in
docs/performance.md, which explains each figure.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BENCH = HERE.parent
ROOT = BENCH.parent
sys.path.insert(0, str(BENCH.parent))

from bench.runner.table import RESULTS, summarise, write_table  # noqa: E402
from bench.support.machine import machine  # noqa: E402
from bench.support.made_task import write_task  # noqa: E402

ENVIRONMENT = {
    "PYTHONSAFEPATH": "1",  # no module of the folder that the commands run in
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "PYTHONPATH": str(ROOT),
    "PYTHONDONTWRITEBYTECODE": "",  # as installed: modules are compiled once
    "COLUMNS": "100",
    "ECHAT_EVAL_CACHE": str(Path(tempfile.gettempdir()) / "echat-eval-bench-cache"),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Options of the command line."""

    lm_eval: Path
    inspect: Path
    repeats: int
    samples: int
    many: int
    most: int


def measured(*words: object, last_line: bool = True) -> dict[str, Any]:
    """Run a process and return its last line as JSON, with the time and memory of the whole process."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        list(map(str, words)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tempfile.gettempdir(),
        env={**os.environ, **ENVIRONMENT},
    )
    out, errors = process.communicate(timeout=900)
    seconds = time.perf_counter() - begun
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, words))} ended in {process.returncode}:\n{errors[-2000:]}")
    found: dict[str, Any] = json.loads(out.splitlines()[-1]) if last_line else {}
    return {**found, "process_seconds": seconds}


@contextmanager
def chat_server(wait: float = 0.05) -> Iterator[str]:
    """Start the scripted chat server in a process of its own; yield its base URL."""
    server = subprocess.Popen(
        [sys.executable, str(BENCH / "support" / "scripted_chat.py"), "--wait", str(wait)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
    finally:
        server.kill()
        server.wait()


def usage(url: str) -> dict[str, Any]:
    """Return what a scripted server was asked and took so far."""
    with urllib.request.urlopen(url.removesuffix("/v1") + "/usage", timeout=10) as found:
        return dict(json.load(found))


def mock(given: Settings) -> dict[str, dict[str, Any]]:
    """A system in this process that answers at once, one metric, rows on the disk as they come."""
    count = ("--samples", given.samples)
    return {
        "ours": measured(sys.executable, HERE / "our_side.py", "mock", *count),
        "lm-eval": measured(given.lm_eval, HERE / "lm_eval_side.py", *count),
        "lm-eval, crash-safe": measured(given.lm_eval, HERE / "lm_eval_side.py", "--crash-safe", *count),
        "lm-eval, plain columns": measured(given.lm_eval, HERE / "lm_eval_side.py", "--plain", *count),
        "lm-eval, plain columns, crash-safe": measured(
            given.lm_eval, HERE / "lm_eval_side.py", "--plain", "--crash-safe", *count
        ),
        "inspect_ai": measured(given.inspect, HERE / "inspect_side.py", "mock", *count),
    }


def waiting(given: Settings) -> dict[str, dict[str, Any]]:
    """An async system in this process: 50 ms a call, 50 calls at once."""
    return {"ours": measured(sys.executable, HERE / "our_side.py", "async", "--samples", given.samples)}


def again(given: Settings) -> dict[str, dict[str, Any]]:
    """The same run a second time: within a process, and as the command itself."""
    found = {"ours": measured(sys.executable, HERE / "our_side.py", "again", "--samples", given.samples)}
    with tempfile.TemporaryDirectory() as folder:
        data, out = write_task(Path(folder) / "data", given.samples), Path(folder) / "run"
        words = (
            "-m",
            "echat_eval",
            "run",
            "--system",
            "canned",
            "--data",
            data,
            "--task",
            "emotion",
            "--annotator",
            "acoustics",
            "--out",
            out,
        )
        measured(sys.executable, *words, last_line=False)
        found["ours, command"] = measured(sys.executable, *words, last_line=False)
    return found


def help_text(given: Settings) -> dict[str, dict[str, Any]]:
    """The first thing that a user types."""
    rival = given.lm_eval.parent / "lm-eval", given.inspect.parent / "inspect"
    return {
        "ours": measured(sys.executable, "-m", "echat_eval", "--help", last_line=False),
        "lm-eval": measured(rival[0], "--help", last_line=False),
        "inspect_ai": measured(rival[1], "--help", last_line=False),
        "python alone": measured(sys.executable, "-c", "pass", last_line=False),
    }


def judged(given: Settings) -> dict[str, dict[str, Any]]:
    """A verdict per reply over HTTP: 50 ms a call, 50 connections."""
    found = {}
    for name, words in {
        "ours": (sys.executable, HERE / "our_side.py", "judge"),
        "inspect_ai": (given.inspect, HERE / "inspect_side.py", "judge"),
    }.items():
        with chat_server() as url:
            found[name] = measured(*words, "--samples", given.samples, "--url", url)
            found[name]["server"] = usage(url)
    return found


def sizes(given: Settings) -> dict[str, dict[str, Any]]:
    """The mock case at growing size, once each."""
    worker = (sys.executable, HERE / "our_side.py", "mock", "--samples")
    return {str(count): measured(*worker, count) for count in (given.samples, given.many, given.most)}


CASES = {"mock": mock, "async": waiting, "again": again, "help": help_text, "judge": judged}


def keep(found: dict[str, Any], results: Path) -> None:
    """Write down what was found so far."""
    found["summary"] = summarise(found["cases"])
    results.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def rival(environments: Path, name: str) -> Path:
    """Return the Python of a rival's environment, made if it is not there yet."""
    python = environments / name / "bin" / "python"
    if not python.exists():
        print(f"making {environments / name}", flush=True)
        venv.create(environments / name, with_pip=True)
        pins = ROOT / "requirements" / f"bench-{name}.txt"
        subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "-r", str(pins)], check=True
        )
    return python


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--environments",
        type=Path,
        default=Path(tempfile.gettempdir()) / "echat-eval-bench",
        help="where the rivals' environments are or are made",
    )
    parser.add_argument("--lm-eval", type=Path, help="Python of an environment with lm-eval")
    parser.add_argument("--inspect", type=Path, help="Python of an environment with inspect_ai")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--most", type=int, default=100_000)
    parser.add_argument("--only", choices=[*CASES, "sizes"], action="append", help="case; repeatable")
    parser.add_argument("--preliminary", action="store_true", help="mark the figures: the machine was busy")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    settings = Settings(
        lm_eval=given.lm_eval or rival(given.environments, "lm-eval"),
        inspect=given.inspect or rival(given.environments, "inspect"),
        repeats=given.repeats,
        samples=given.samples,
        many=given.many,
        most=given.most,
    )
    found: dict[str, Any] = {
        "machine": machine(),
        "preliminary": given.preliminary,
        "repeats": given.repeats,
        "rivals": {"lm-eval": "0.4.13", "inspect_ai": "0.3.285"},
        "cases": {},
    }
    for repeat in range(given.repeats):
        for name, case in CASES.items():
            if given.only and name not in given.only:
                continue
            for what, figures in case(settings).items():
                found["cases"].setdefault(name, {}).setdefault(what, []).append(figures)
                print(repeat + 1, name, what, json.dumps(figures), flush=True)
        keep(found, given.results)
    if not given.only or "sizes" in given.only:
        for what, figures in sizes(settings).items():
            found["cases"].setdefault("sizes", {})[what] = [figures]
            print("sizes", what, json.dumps(figures), flush=True)
    keep(found, given.results)
    if given.results == RESULTS and not given.only:
        write_table(found)
    print(json.dumps(found["summary"], indent=1))


if __name__ == "__main__":
    main()
