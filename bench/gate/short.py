"""The short form of every bench of the gate, one after another, to a folder of its own.

    python bench/gate/short.py                       all but the rivals
    python bench/gate/short.py --rivals rivals/bin/python        also the rivals, in their environment

Takes minutes on one core. It shows that each command runs and how large its rates are, with fewer runs than
the committed results and so a larger Monte Carlo error. Each command's own help gives its long form.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCHES: dict[str, list[str]] = {
    "simulate": ["--runs", "1000"],
    "crossed": ["--runs", "10000"],
    "sparse": ["--runs", "8000"],
    "levels": ["--runs", "2000"],
    "daily": ["--runs", "1000"],
    "tries": ["--runs", "1000"],
    "equal": ["--runs", "50"],
    "plan": ["--runs", "2000"],
    "drift": ["--runs", "200"],
    "sequential": ["--runs", "50", "--every", "12"],
    "rows": ["--rows", "1000000"],
    "rivals": ["--runs", "100"],
}
#: The option that prints a result; None: the bench prints it anyway.
SHOWN = {"simulate": "--summary", "rows": None, "equal": None}


def measure(
    folder: str, name: str, options: list[str], show: str | None, *, python: str, out: Path
) -> dict[str, object]:
    """Run one bench of a folder; return the seconds that passed and those of its process."""
    command = [
        python,
        str(ROOT / "bench" / folder / f"{name}.py"),
        "--out",
        str(out / f"{folder}_{name}.json"),
    ]
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    found = subprocess.run([*command, *options], env=_one_thread(), capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if found.returncode:
        print(found.stderr)
    if show and not found.returncode:
        print(subprocess.run([*command, show], env=_one_thread(), capture_output=True, text=True).stdout)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "bench": name,
        "exit": found.returncode,
        "seconds": round(time.perf_counter() - began, 1),
        "processor seconds": round(processor, 1),
    }


def _one_thread() -> dict[str, str]:
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(threads, "1")}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="folder of the results; by default one that is removed")
    parser.add_argument("--rivals", metavar="PYTHON", help="interpreter with the packages of rivals.py")
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        out = given.out or Path(folder)
        out.mkdir(parents=True, exist_ok=True)
        for name in BENCHES:
            if name != "rivals" or given.rivals:
                python = given.rivals if name == "rivals" else sys.executable
                shown = SHOWN.get(name, "--table")
                rows.append(measure("gate", name, BENCHES[name], shown, python=python, out=out))
                print(json.dumps(rows[-1]), flush=True)
    total = sum(float(str(row["processor seconds"])) for row in rows)
    print(
        f"{total:.0f} processor seconds, {sum(float(str(row['seconds'])) for row in rows):.0f} seconds in all"
    )
    return max(int(str(row["exit"])) for row in rows)


if __name__ == "__main__":
    raise SystemExit(main())
