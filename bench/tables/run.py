"""Time and memory of reading tables of a million rows: a table of samples without audio, and a long table.

Samples are checked by `echat-eval import table --check`; a long table of scores is read and checked as
`compare` does it. Every case has a process of its own; its time holds all imports, its peak is the largest
resident size.

    python bench/tables/run.py --rows 1000000 --out bench/results/tables.json
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.support.machine import machine

MAX_SECONDS, MAX_BYTES = 60, 2**30
MAPPING = """\
columns: {id: utt, transcript: text, emotion: label, age: years, speaker: spk, language: lang}
cues: [emotion]
labels: {emotion: {raging: anger, bored: other}}
cut_offs: {age: {child: 0, adult: 18, old: 60}}
constants: {source: real}
"""
CHECK = "from echat_eval.cli import main; main()"
READ = "import sys; from pathlib import Path; from echat_eval.analysis.frames import read_table; "
READ += "print(len(read_table(Path(sys.argv[1]))))"


def sample_rows(count: int) -> Iterator[dict[str, str]]:
    """Yield rows as a team has them: odd spellings, ages in years, words that a few rows share."""
    choice = random.Random(0).choice
    labels = ("anger", "raging", "Angry", "happy", "JOY", "sad", "bored")
    for number in range(count):
        yield {
            "utt": f"utt-{number:07}",
            "text": f"She answered message number {number // 12} this morning, and I read it twice.",
            "label": choice(labels),
            "years": str(choice(range(5, 90))),
            "spk": f"p{number % 997:03}",
            "lang": "English",
        }


def long_rows(count: int) -> Iterator[dict[str, str]]:
    """Yield scores of two systems on two metrics, with the columns that a run's table has."""
    value = random.Random(0).random
    for number in range(count):
        sample = number // 4
        yield {
            "task": "calls",
            "sample_id": f"utt-{sample:07}",
            "system": "ab"[number % 2],
            "metric": ("judge", "wer")[number // 2 % 2],
            "value": f"{value():.4f}",
            "state": "value",
            "speaker": f"p{sample % 997:03}",
            "transcript": f"sentence {sample // 3}",
            "language": "en",
        }


def write(path: Path, rows: Iterator[dict[str, str]]) -> Path:
    """Write rows in the form of the file's suffix."""
    first = next(rows)
    every = (row for part in ([first], rows) for row in part)
    if path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        with pyarrow.parquet.ParquetWriter(
            path, pyarrow.schema([(k, pyarrow.string()) for k in first])
        ) as out:
            for batch in batches(every, 50_000):
                out.write_table(pyarrow.Table.from_pylist(batch))
        return path
    with path.open("w", encoding="utf-8") as file:
        if path.suffix == ".csv":
            file.write(",".join(first) + "\n")
            file.writelines(
                ",".join(f'"{c}"' if "," in c else c for c in row.values()) + "\n" for row in every
            )
        else:
            file.writelines(json.dumps(row) + "\n" for row in every)
    return path


def batches(rows: Iterator[dict[str, str]], size: int) -> Iterator[list[dict[str, str]]]:
    """Yield lists of rows."""
    batch: list[dict[str, str]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def measured(code: str, *arguments: str) -> dict[str, Any]:
    """Run Python code in a process of its own; return what it printed first, its seconds and its peak."""
    start = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    lines = child.stdout.read().splitlines()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    return {
        "exit": os.waitstatus_to_exitcode(status),
        "printed": lines[0] if lines else "",
        "seconds": round(seconds, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mib": round(usage.ru_maxrss / 1024),
    }


def cases(folder: Path, rows: int) -> Iterator[dict[str, Any]]:
    """Yield the result of each case."""
    mapping = folder / "m.yaml"
    mapping.write_text(MAPPING)
    for suffix in (".csv", ".jsonl", ".parquet"):
        path = write(folder / f"samples{suffix}", sample_rows(rows))
        result = measured(CHECK, "import", "table", str(path), "--map", str(mapping), "--check")
        yield {"case": f"samples{suffix}", "rows": rows, "mb": round(path.stat().st_size / 1e6), **result}
        path.unlink()
    for suffix in (".csv", ".jsonl"):
        path = write(folder / f"long{suffix}", long_rows(rows))
        yield {
            "case": f"long{suffix}",
            "rows": rows,
            "mb": round(path.stat().st_size / 1e6),
            **measured(READ, str(path)),
        }
        path.unlink()


def lines_of(found: dict[str, Any]) -> str:
    """Return the table of docs/performance.md."""
    facts = found["machine"]
    cores = f"{facts['cores']} shared cores of an {' '.join(facts['cpu'].split()[:2])}"
    head = f"{facts['date']}, {cores}, Python {facts['python']}, load {facts['load_before']:.1f} before it."
    rows = [
        f"| {case['case']} | {case['mb']} | {case['seconds']:.0f} | {case['cpu_seconds']:.0f} "
        f"| {case['peak_mib']} |"
        for case in found["cases"]
    ]
    table = ["| case | MB | s | CPU s | peak MiB |", "|---|--:|--:|--:|--:|", *rows]
    return "\n".join([head, "", *table])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path)
    flags = parser.parse_args()
    found: dict[str, Any] = {"machine": machine(), "cases": []}
    with tempfile.TemporaryDirectory() as folder:
        for case in cases(Path(folder), flags.rows):
            case["reached"] = case["seconds"] < MAX_SECONDS and case["peak_mib"] * 2**20 < MAX_BYTES
            print(json.dumps(case))
            found["cases"].append(case)
    if flags.out:
        flags.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
