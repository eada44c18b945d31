"""Mutate everything that the commands read, and count crashes, hangs and peaks.

    python bench/fuzz/run.py --minutes 30 --seed 0
    python bench/fuzz/run.py --seed 0 --case 4711

A crash is exit code 70 or a traceback, a peak is over 1 GB. A hang takes over 5 s of processor time, or of
wall time times the machine's load per core, also when it is repeated alone. The commands run in one process,
which is replaced after a hang. Writes bench/results/fuzz.json; exits 1 after any find. `--case` repeats one
case of a seed.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

BENCH = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(BENCH.parent))

#: Seconds without a line after which a process is ended: the alarm in it was not served.
SILENCE = 40.0
RESULTS = BENCH / "results" / "fuzz.json"


class Worker:
    """A process that runs cases one after the other."""

    def __init__(self, world: Path, scratch: Path, seed: int, first: int) -> None:
        words = ["--world", str(world), "--scratch", str(scratch), "--seed", str(seed), "--first", str(first)]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed by `end`
        self._process = subprocess.Popen(
            [sys.executable, __file__, *words],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            stdin=subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        self._pending = b""
        self._stdout = self._process.stdout

    def line(self, seconds: float) -> dict[str, Any] | None:
        """Return the next line; None if the process ended or is silent for too long."""
        end = time.monotonic() + seconds
        while b"\n" not in self._pending:
            ready, _, _ = select.select([self._stdout], [], [], max(0.0, end - time.monotonic()))
            piece = os.read(self._stdout.fileno(), 1 << 16) if ready else b""
            if not piece:
                return None
            self._pending += piece
        line, _, self._pending = self._pending.partition(b"\n")
        row: dict[str, Any] = json.loads(line)
        return row

    def end(self) -> str:
        """End the process; return its exit code, if it had ended, and its last words."""
        if self._stdout.closed:
            return ""
        code = self._process.poll()
        self._process.kill()
        self._process.wait()
        self._stdout.close()
        self._errors.seek(0)
        said = self._errors.read().decode("utf-8", "replace")
        self._errors.close()
        return f"exit {code}: {said[-300:]}"


def fuzz(world: Path, scratch: Path, *, seed: int, minutes: float, first: int = 0) -> dict[str, Any]:
    """Run cases until the time is over; return counts and finds."""
    end = time.monotonic() + 60 * minutes
    counts: Counter[str] = Counter()
    codes: Counter[str] = Counter()
    finds: list[dict[str, Any]] = []
    number, slowest, highest = first, 0.0, 0
    while time.monotonic() < end:
        worker, start = Worker(world, scratch, seed, number), number
        while time.monotonic() < end:
            row = worker.line(120 if number == start else SILENCE)
            if row is None:
                row = {"kind": "?", "number": number, "fault": "hang", "place": "", "error": worker.end()}
                finds.append(row)
                print(f"--seed {seed} --case {number}: {row['error']}", flush=True)
                break
            if "begun" in row:
                number = row["begun"]
                continue
            was_ended = row["fault"] == "hang"
            if was_ended and repeated(world, scratch, seed, number)["fault"] != "hang":
                row["fault"] = None
            counts[row["kind"]] += 1
            codes[f"{row['code']}"] += 1
            slowest, highest = max(slowest, row["seconds"]), max(highest, row["peak_bytes"])
            if row["fault"]:
                finds.append(row)
                print(f"--seed {seed} --case {row['number']}: {row['fault']} {row['place']}: {row['error']}")
                print(f"    {row['words']}\n    {row['what']}", flush=True)
            if was_ended:  # in the middle of anything, such as an import
                break
        worker.end()
        number += 1
    return {
        "cases": sum(counts.values()),
        "faults": dict(Counter(find["fault"] for find in finds)),
        "cases_by_kind": dict(sorted(counts.items())),
        "exit_codes": dict(sorted(codes.items())),
        "slowest_seconds": slowest,
        "highest_peak_mb": round(highest / 1e6),
        "finds": finds[:200],
    }


def repeated(world: Path, scratch: Path, seed: int, number: int) -> dict[str, Any]:
    """Return the ending of one case in a process of its own: a slow machine is no hang."""
    worker = Worker(world, scratch.with_name("again"), seed, number)
    worker.line(120)
    row = worker.line(SILENCE)
    worker.end()
    return row or {"fault": "hang"}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="repeat one case and keep its files")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--world", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ |= {"MPLBACKEND": "agg", "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    from bench.fuzz.case import run_case, serve_cases
    from bench.fuzz.world import build
    from bench.support.machine import machine

    if given.world:
        given.scratch.mkdir(parents=True, exist_ok=True)
        serve_cases(given.world, given.scratch, given.seed, given.first, 1)
    root = Path(tempfile.mkdtemp(prefix="echat-fuzz-"))
    os.environ["XDG_CACHE_HOME"] = str(root / "cache")
    with open(os.devnull, "w") as null:
        stdout, sys.stdout = sys.stdout, null
        build(root / "world")
        sys.stdout = stdout
    (root / "scratch").mkdir()
    if given.case is not None:
        ending = run_case(root / "world", root / "scratch", given.seed, given.case)
        print(json.dumps(asdict(ending), indent=1, ensure_ascii=False))
        print(f"files: {root / 'scratch' / 'case'}")
        return 1 if ending.fault else 0
    facts = {
        **machine(),
        "command": f"python bench/fuzz/run.py --minutes {given.minutes:g} --seed {given.seed}",
    }
    found = fuzz(root / "world", root / "scratch", seed=given.seed, minutes=given.minutes, first=given.first)
    shutil.rmtree(root, ignore_errors=True)
    given.results.write_text(json.dumps({"machine": facts, **found}, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({key: value for key, value in found.items() if key != "finds"}, indent=1))
    return 1 if found["finds"] else 0


if __name__ == "__main__":
    sys.exit(main())
