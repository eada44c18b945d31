"""OSUM-EChat at full size on a GPU, random weights: how near to what the card can do, and what comes next.

    python bench/gpu/run.py probe --out bench/results/osum_gpu_probe.json
    python bench/gpu/run.py bench --out bench/results/osum_gpu.json
    python bench/gpu/run.py all --out bench/results/osum_gpu.json --public OSUM-EChat
    python bench/gpu/run.py probe --size tiny --device cpu --out tiny.json

`probe`, for the first minutes on a card, takes at most 5 minutes: the kernels chosen, the parts of a step,
the claims that hold. `bench` takes at most 7: the figures of the goals. `all` takes 25, or `--limit` seconds.

Weights are random, made on the device from a seed; replies end at set lengths, so the work is fixed.
Sections run in the order of their importance in a process of their own; one that fails or hangs is noted,
and a fresh process goes on with the rest; one for which there is no time left is skipped, and the report
states this. The report is written after every section.

`--public`, the folder `OSUM-EChat` of ASLP-lab/OSUM at commit f2bcfac outside this repository, adds the
public code's decoding at batch 1 beside ours, in turns, if it can be imported: it needs transformers 4.44.0.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[2]))

from bench.osum.bounds import judge, stages  # noqa: E402

#: Section -> seconds that it may take on a GPU. In the order in which they are run.
SECTIONS = {
    "card": 15,
    "versions": 5,
    "steps plain": 30,
    "steps recorded": 45,
    "steps compiled": 120,
    "attention": 20,
    "step parts": 30,
    "invariance": 40,
    "kernels": 15,
    "full memory": 20,
    "decode 1 text": 40,
    "decode 1 speech": 40,
    "decode 64 speech": 40,
    "s2s fast voice": 150,
    "first audio": 60,
    "s2s": 90,
    "token2wav": 60,
    "hear": 15,
    "prompt": 15,
    "decode 64 text": 40,
    "token2wav compiled": 150,
    "streaming": 40,
    "public": 60,
    "public compiled": 120,
}
#: Part -> its seconds and its sections.
PARTS: dict[str, tuple[float, tuple[str, ...]]] = {
    "probe": (
        300.0,
        (
            *("card", "versions", "attention", "steps compiled", "step parts"),
            *("invariance", "kernels", "full memory", "steps recorded"),
        ),
    ),
    "bench": (
        420.0,
        (
            *("card", "steps compiled", "decode 1 text", "decode 1 speech", "decode 64 speech"),
            *("s2s fast voice", "first audio", "invariance"),
        ),
    ),
    "all": (1500.0, tuple(SECTIONS)),
}
#: A section may take this many times its seconds before its process is ended.
PATIENCE = 1.5


class Progress:
    """Results so far, kept in a file between two processes; one JSON line an event."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def tell(self, event: str, name: str, content: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"event": event, "name": name} | {"content": content}) + "\n")

    def read(self) -> tuple[dict[str, Any], str | None, float]:
        """Return the results by section, the section that began and has not ended, and when it began."""
        results: dict[str, Any] = {}
        open_section, since = None, 0.0
        for line in self.path.read_text(encoding="utf-8").splitlines():
            event = json.loads(line)
            if event["event"] == "begin":
                open_section, since = event["name"], event["content"]["at"]
            else:
                results[event["name"]], open_section = event["content"], None
        return results, open_section, since


def main() -> None:
    """Parse flags; be the parent, or the process that measures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=list(PARTS))
    parser.add_argument("--size", choices=("full", "tiny"), default="full")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--limit", type=float, help="seconds for everything, instead of the part's")
    parser.add_argument(
        "--sections", nargs="*", choices=list(SECTIONS), metavar="NAME", help="instead of the part's"
    )
    parser.add_argument("--public", default="", help="the public OSUM-EChat folder")
    parser.add_argument("--note", default="")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--until", type=float, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    seconds, names = PARTS[flags.part]
    flags.limit = seconds if flags.limit is None else flags.limit
    flags.sections = flags.sections or [name for name in SECTIONS if name in names]
    if flags.measure:
        measure(flags)
        return
    report = run(flags)
    print(json.dumps(report, indent=1))
    print(goals(report))
    missing = [name for name in flags.sections if "failed" in report["sections"][name]]
    if missing:
        sys.exit(f"failed: {', '.join(missing)}; see the report")


def run(flags: argparse.Namespace) -> dict[str, Any]:
    """Start measuring processes until every section has a result, a failure or no time; return the report."""
    until = time.time() + flags.limit
    with tempfile.TemporaryDirectory() as folder:
        progress = Progress(Path(folder) / "progress.jsonl")
        while left := [name for name in flags.sections if name not in progress.read()[0]]:
            if time.time() >= until:
                for name in left:
                    progress.tell("end", name, {"skipped": f"the {flags.limit:.0f} s were over"})
                break
            supervise(flags, left, progress, until)
            write(flags, progress)
        return write(flags, progress)


def supervise(flags: argparse.Namespace, left: list[str], progress: Progress, until: float) -> None:
    """Run one process for the sections left; if it dies or hangs, note that for the section it was in."""
    command = [sys.executable, str(HERE), flags.part, "--measure", str(progress.path), "--until", str(until)]
    command += ["--size", flags.size, "--device", flags.device, "--public", flags.public]
    begun = time.time()
    process = subprocess.Popen([*command, "--sections", *left], stdout=sys.stderr)
    why = ""
    while process.poll() is None:
        time.sleep(0.1)
        _, name, since = progress.read()
        waited = time.time() - since if name is not None and flags.size == "full" else 0.0
        late = name is not None and waited > PATIENCE * SECTIONS[name]
        if late or time.time() > until:
            process.kill()
            why = "took too long and was ended" if late else "the time was over and it was ended"
        write(flags, progress)
    _, name, since = progress.read()
    if name is None and process.returncode:
        name, since = left[0], begun  # it died before its first section
    if name is not None:
        why = why or f"the process ended with {process.returncode}"
        progress.tell("end", name, {"failed": why, "after_seconds": round(time.time() - since, 1)})


def write(flags: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """Return the report as it stands, and write it where it should go."""
    found, _, _ = progress.read()
    card = str(found.get("card", {}).get("name", flags.device))
    sections = {name: found[name] for name in SECTIONS if name in found}
    report = {
        "size": flags.size,
        "device": card,
        "note": flags.note,
        "targets": judge(sections, card=card, full=flags.size == "full"),
        "stages": stages(sections),
        "sections": sections,
    }
    if flags.out:
        flags.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return report


def goals(report: dict[str, Any]) -> str:
    """Return the goals as a table."""
    lines = [
        f"{report['device']}, {report['size']} size",
        "",
        "| goal | limit | measured | |",
        "|---|--:|--:|---|",
    ]
    for row in report["targets"]:
        got = "-" if row["got"] is None else f"{row['got']:.3g}"
        lines.append(f"| {row['target']} | {row['limit']:g} | {got} | {row['verdict']} |")
    return "\n".join(lines)


class Warned(logging.Handler):
    """Keeps what the package warned of: a step that could not be compiled or recorded runs on, slower."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []
        logging.getLogger("echat_eval").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage()[:300])

    def found(self) -> dict[str, Any]:
        return {"warnings": list(dict.fromkeys(self.said))} if self.said else {}


def measure(flags: argparse.Namespace) -> None:
    """Measure the sections in order, telling the progress file about each."""
    from bench.gpu.measure import SCALES, Bench
    from bench.gpu.table import TABLE

    progress, warned = Progress(flags.measure), Warned()
    bench = Bench(SCALES[flags.size], flags.device, progress.read()[0], public=flags.public)
    for name in flags.sections:
        left = flags.until - time.time()
        if left < SECTIONS[name] and flags.size == "full":
            progress.tell("end", name, {"skipped": f"{left:.0f} s were left; it may take {SECTIONS[name]}"})
            bench.results = progress.read()[0]
            continue
        warned.said.clear()
        begun = time.time()
        progress.tell("begin", name, {"at": begun})
        try:
            result = TABLE[name](bench)
        except Exception as error:  # noqa: BLE001 - the one call on a lent card must not be lost to one section
            result = {"failed": f"{type(error).__name__}: {str(error)[:500]}"}
            if "CUDA error" in str(error):  # nothing works in this process any more
                progress.tell("end", name, result)
                sys.exit(0)
        result |= {"took_seconds": round(time.time() - begun, 1)} | warned.found()
        progress.tell("end", name, result)
        bench.results = progress.read()[0]


if __name__ == "__main__":
    main()
