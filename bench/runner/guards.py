"""Times that a user feels, each with its goal: what `run`, `show`, `report` and `--help` take as commands.

    python bench/runner/guards.py                        all but the rivals
    python bench/runner/guards.py --rivals               also beside lm-eval, in the environments of run.py
    python bench/runner/guards.py --only no-op --only help

Every measurement is a process of its own with all its imports. Writes bench/results/guards.json, in which a
part that is not measured again keeps its figures, and the table in docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from bench.runner.run import Settings, chat_server, measured, mock, rival, usage  # noqa: E402
from bench.support.machine import machine  # noqa: E402
from bench.support.made_task import write_task  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "guards.json"
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- guards: begin, written by bench/runner/guards.py -->", "<!-- guards: end -->"
PROGRAM = (sys.executable, "-m", "echat_eval")
LARGE = """
systems: {{canned: {{}}}}
data: {data}
tasks: [emotion]
annotators: []
scorers: [outcome]
out: {out}
"""
#: Runs a command and prints the largest memory that it had.
PEAK = """
import json, resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(json.dumps({"peak_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """One figure and its goal.

    Attributes:
        values: of every repeat; their median counts.
        most: whether the goal is an upper limit.
    """

    what: str
    unit: str
    goal: float
    values: list[float]
    most: bool = True

    @property
    def value(self) -> float:
        return median(self.values)

    @property
    def met(self) -> bool:
        return self.value <= self.goal if self.most else self.value >= self.goal


def seconds(*words: object) -> float:
    """Return the time of a command."""
    return float(measured(*words, last_line=False)["process_seconds"])


def made_run(folder: Path, samples: int, *options: str) -> tuple[object, ...]:
    """Write a task and return the command that runs it."""
    data = write_task(folder / f"data-{samples}", samples)
    run = (*PROGRAM, "run", "--system", "canned", "--data", data, "--task", "emotion")
    return (*run, "--annotator", "acoustics", *options, "--out", folder / f"run-{samples}")


def commands(folder: Path, repeats: int) -> Iterator[Guard]:
    """Yield what the commands of an evening take on a run of 1,400 samples that is finished."""
    command = made_run(folder, 1400)
    seconds(*command)
    run, out = command[-1], folder / "report"
    times: dict[str, list[float]] = {"run": [], "show": [], "report": []}
    for _ in range(repeats):
        times["run"].append(seconds(*command))
        times["show"].append(seconds(*PROGRAM, "show", run))
        times["report"].append(seconds(*PROGRAM, "report", run, "--out", out))
    yield Guard(what="`run` of 1,400 samples again, nothing to do", unit="s", goal=1.0, values=times["run"])
    yield Guard(what="`show` of it", unit="s", goal=1.0, values=times["show"])
    yield Guard(what="`report` of it", unit="s", goal=15.0, values=times["report"])


def helps(folder: Path, repeats: int) -> Iterator[Guard]:
    """Yield the time of the help."""
    times = [seconds(*PROGRAM, "--help") for _ in range(repeats)]
    yield Guard(what="`--help`", unit="s", goal=0.2, values=times)


def large(folder: Path, repeats: int) -> Iterator[Guard]:
    """Yield memory and time of 100,000 samples with one scorer, once."""
    data = write_task(folder / "data-100000", 100_000)
    experiment = folder / "large.yaml"
    experiment.write_text(LARGE.format(data=data, out=folder / "run-100000"), encoding="utf-8")
    found = measured(sys.executable, "-c", PEAK, *PROGRAM, "run", experiment)
    peak = [found["peak_mb"]]
    yield Guard(what="`run` of 100,000 samples, one scorer, peak", unit="MB", goal=600.0, values=peak)
    again = [seconds(*PROGRAM, "run", experiment)]
    yield Guard(what="the same again, nothing to do", unit="s", goal=20.0, values=again)


def judge(folder: Path, repeats: int) -> Iterator[Guard]:
    """Yield the rate of a judge over HTTP: 50 ms a call, 50 connections, 1,000 verdicts/s are ideal."""
    shares = []
    for _ in range(repeats):
        with chat_server() as url:
            measured(sys.executable, HERE / "our_side.py", "judge", "--samples", 1000, "--url", url)
            server = usage(url)
        shares.append(100 * server["calls"] / server["seconds"] / 1000)
    yield Guard(what="judge over HTTP, of the ideal rate", unit="%", goal=40.0, values=shares, most=False)


def ray(folder: Path, repeats: int) -> Iterator[Guard]:
    """Yield the time of 10,000 samples on two ray workers over that in this process, in turns."""
    ratios = []
    for number in range(repeats):
        place = folder / f"ray-{number}"
        local = made_run(place / "local", 10_000, "--scorer", "outcome", "--no-cache")
        workers = ("--executor", "ray", "--workers", "2")
        remote = made_run(place / "ray", 10_000, "--scorer", "outcome", "--no-cache", *workers)
        ratios.append(seconds(*remote) / seconds(*local))
    yield Guard(what="10,000 samples on two ray workers, over local", unit="x", goal=1.1, values=ratios)


def rivals(environments: Path, repeats: int) -> Iterator[Guard]:
    """Yield the rate of the mock system over lm-eval's, in turns."""
    python = rival(environments, "lm-eval"), rival(environments, "inspect")
    given = Settings(lm_eval=python[0], inspect=python[1], repeats=1, samples=1000, many=0, most=0)
    over: dict[str, list[float]] = {"lm-eval": [], "lm-eval, plain columns, crash-safe": []}
    for _ in range(repeats):
        found = mock(given)
        for name, values in over.items():
            values.append(found[name]["seconds"] / found["ours"]["seconds"])
    for (name, values), goal in zip(over.items(), (1.5, 1.2), strict=True):
        yield Guard(
            what=f"mock system, samples/s over {name}", unit="x", goal=goal, values=values, most=False
        )


PARTS: dict[str, Callable[[Path, int], Iterator[Guard]]] = {
    "no-op": commands,
    "help": helps,
    "judge": judge,
    "ray": ray,
    "large": large,
}


def row(guard: Guard) -> str:
    """Return a guard as a row of the table."""
    sign, spread = "≤" if guard.most else "≥", ""
    if len(guard.values) > 1:
        spread = f" ({min(guard.values):,.2f} to {max(guard.values):,.2f})"
    goal, value = f"{sign} {guard.goal:g} {guard.unit}", f"{guard.value:,.2f} {guard.unit}{spread}"
    return f"| {guard.what} | {goal} | {value} | {'met' if guard.met else 'missed'} |"


def lines_of(found: dict[str, Any]) -> str:
    """Return the figures as Markdown, with the date and load of each part."""
    lines = ["| what | goal | measured | |", "|---|--:|--:|---|"]
    lines += [row(Guard(**guard)) for part in found.values() for guard in part["guards"]]
    lines.append("")
    for name, part in found.items():
        facts = part["machine"]
        lines.append(
            f"- `{name}`: {facts['date']}, {facts['cores']} cores of an {facts['cpu']}, Python "
            f"{facts['python']}, load {facts['load_before']:.1f} before, commit {facts['commit'][:12]}"
        )
    return "\n".join(lines)


def keep(found: dict[str, Any], part: str, guards: Iterable[Guard], before: dict[str, Any]) -> None:
    """Print the guards of a part and write them down."""
    rows = []
    for guard in guards:
        print(row(guard), flush=True)
        rows.append(asdict(guard))
    found[part] = {"machine": before, "guards": rows}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=PARTS, action="append", help="part; repeatable")
    parser.add_argument("--rivals", action="store_true", help="also measure beside lm-eval")
    parser.add_argument("--environments", type=Path, default=Path(tempfile.gettempdir()) / "echat-eval-bench")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for part in given.only or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            keep(found, part, PARTS[part](Path(folder), given.repeats), machine())
    if given.rivals:
        keep(found, "rivals", rivals(given.environments, given.repeats), machine())
    page = PAGE.read_text(encoding="utf-8")
    head, rest = page.split(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n{lines_of(found)}\n{END}{rest.split(END)[1]}", encoding="utf-8")
    missed = [guard["what"] for part in found.values() for guard in part["guards"] if not Guard(**guard).met]
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
