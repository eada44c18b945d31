"""Kill a run at seeded points and finish it: nothing is lost, and only calls in flight are repeated.

    python bench/kill/run.py

A run over all stages (system, annotator, a judge over loopback) is killed with SIGKILL, meets a full disk, or
finds its files cut as after a power loss; then the same command finishes it. The final rows are compared with
those of an undisturbed run, and the calls, counted by the called side, with those that were in flight. Writes
bench/results/kill.json; exits 1 if a row was lost or a written row was asked again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Imported here, so that a forked run does not import them again.
import aiohttp  # noqa: F401
import numpy.random  # noqa: F401
import soundfile  # noqa: F401
import yaml  # noqa: F401

BENCH = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(BENCH.parent))

from bench.kill import world as kill_world  # noqa: E402
from bench.kill.rows import lines_of, lost_rows, rows_of, tear, written  # noqa: E402
from bench.runner.table import write_between  # noqa: E402
from bench.support.machine import machine  # noqa: E402
from bench.support.made_task import write_task  # noqa: E402

RESULTS = BENCH / "results" / "kill.json"
SERVER = BENCH / "support" / "scripted_chat.py"
#: Whose calls are counted -> how many of them are made at once.
WIDTHS = {
    "system": kill_world.SYSTEM_CALLS,
    "annotator": kill_world.ANNOTATOR_CALLS,
    "judge": kill_world.JUDGE_CALLS,
}
MARKS = "<!-- kill: begin, written by bench/kill/run.py -->", "<!-- kill: end -->"
STEP = 0.001  # seconds between looks at the calls


@dataclass(frozen=True, kw_only=True)
class World:
    """Where a series of runs happens, and what an undisturbed one came to.

    Attributes:
        calls: stage -> calls of the undisturbed run.
    """

    folder: Path
    url: str
    contrast: bool
    rows: dict[str, Any]
    calls: dict[str, Counter[str]]
    seconds: float


class Started:
    """One run in a process of its own, and the calls made since it was started."""

    def __init__(self, folder: Path, out: Path, url: str, *, contrast: bool, most_bytes: int | None = None):
        self._logs = folder / "calls"
        for name in WIDTHS:  # each run counts from nothing, so that a limit on files does not meet the logs
            (self._logs / name).write_bytes(b"")
        words = ["--data", str(folder / "data"), "--out", str(out), "--calls", str(self._logs), "--url", url]
        words += ["--contrast"] if contrast else []
        words += ["--most-bytes", str(most_bytes)] if most_bytes is not None else []
        self.errors = folder / "errors.txt"
        self.pid = os.fork()  # what has to be imported is imported: a hundred starts cost little
        if self.pid == 0:
            os.dup2(os.open(self.errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            code = 70
            try:
                code = kill_world.main(words)
            finally:
                sys.stderr.flush()
                os._exit(code)

    def begun(self) -> int:
        """Return how many calls have begun; every line has the length of a hash."""
        return sum((self._logs / name).stat().st_size for name in WIDTHS) // 65

    def calls(self) -> dict[str, Counter[str]]:
        """Return what was asked, stage by stage."""
        return {name: Counter((self._logs / name).read_text().split()) for name in WIDTHS}

    def ended(self) -> bool:
        """Return whether the process has ended, without waiting."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def wait(self) -> int:
        """Wait for the end; return the exit code, or minus the signal's number if one ended it."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@contextmanager
def judge_server(log: Path) -> Iterator[str]:
    """Start the scripted judge; yield its base URL."""
    server = subprocess.Popen(
        [
            sys.executable,
            str(BENCH / "support" / "scripted_chat.py"),
            "--varied",
            "--wait",
            "0.002",
            "--log",
            str(log),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
    finally:
        server.kill()
        server.wait()


def undisturbed(folder: Path, url: str, *, contrast: bool) -> World:
    """Do one run from start to end."""
    begun = time.perf_counter()
    run = Started(folder, folder / "whole", url, contrast=contrast)
    if code := run.wait():
        raise SystemExit(f"the undisturbed run ended in {code}: {run.errors.read_text()[-2000:]}")
    seconds = time.perf_counter() - begun
    return World(
        folder=folder,
        url=url,
        contrast=contrast,
        rows=rows_of(folder / "whole"),
        calls=run.calls(),
        seconds=seconds,
    )


def killed(world: World, dice: random.Random) -> dict[str, Any]:
    """Kill one run at a drawn point, finish it, and say what came of it."""
    out = world.folder / "killed"
    shutil.rmtree(out, ignore_errors=True)
    by_time = dice.random() < 0.2  # so that reading, opening and putting in order are met as well
    at = dice.uniform(0, world.seconds) if by_time else dice.randrange(1, _total(world.calls))
    run = Started(world.folder, out, world.url, contrast=world.contrast)
    begun = time.perf_counter()
    while not run.ended() and (time.perf_counter() - begun if by_time else run.begun()) < at:
        time.sleep(STEP)
    os.kill(run.pid, signal.SIGKILL)
    code = run.wait()
    time.sleep(0.05)  # what was sent before the kill still arrives at the judge
    before, kept = run.calls(), written(out, world.rows)
    flying = {name: sum((before[name] - kept[name]).values()) for name in ("system", "annotator")}
    flying["judge"] = _total({"": before["judge"]}) - _total({"": kept["judge"]})
    ended_by_itself = code != -signal.SIGKILL
    again = _finish(world, out)
    repeated = {
        name: _total({"": before[name] + again["calls"][name]}) - _total({"": world.calls[name]})
        for name in WIDTHS
    }
    strangers = sum(
        sum((before[name] & again["calls"][name] & kept[name]).values()) for name in ("system", "annotator")
    )
    return {
        "at": f"{at:.3f} s" if by_time else f"call {at}",
        "killed": not ended_by_itself,
        "in_flight": flying,
        "repeated": repeated,
        "written_yet_asked_again": strangers,
        "unequal": again["unequal"],
        "left_over": again["left_over"],
        "sound": not again["unequal"]
        and not strangers
        and all(0 <= repeated[n] <= flying[n] <= WIDTHS[n] for n in WIDTHS),
    }


def torn(world: World, dice: random.Random) -> dict[str, Any]:
    """Cut the files of a finished run as a power loss may, finish it, and say what came of it."""
    out = world.folder / "torn"
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(world.folder / "whole", out)
    cuts = tear(out, dice)
    lost = lost_rows(out, world.rows)
    again = _finish(world, out)
    # A verdict whose scores are there is not asked for again: it may stay away, but not be another one.
    if set(rows_of(out)["verdicts.jsonl"]) <= set(world.rows["verdicts.jsonl"]):
        again["unequal"] = [name for name in again["unequal"] if name != "verdicts.jsonl"]
    requests = {name: _total({"": again["calls"][name]}) for name in WIDTHS}
    return {
        "cuts": cuts,
        "lost": lost,
        "asked_again": requests,
        "unequal": again["unequal"],
        "left_over": again["left_over"],
        "sound": not again["unequal"] and all(requests[name] <= lost[name] for name in WIDTHS),
    }


def full(world: World, dice: random.Random) -> dict[str, Any]:
    """Let no file grow beyond a drawn size, then lift the limit, finish, and say what came of it."""
    out = world.folder / "full"
    shutil.rmtree(out, ignore_errors=True)
    largest = max(path.stat().st_size for path in (world.folder / "whole").glob("*.jsonl"))
    smallest = (world.folder / "whole" / "samples.jsonl").stat().st_size
    most = dice.randrange(smallest + 1, max(largest, smallest + 2))
    run = Started(world.folder, out, world.url, contrast=world.contrast, most_bytes=most)
    code, said = run.wait(), run.errors.read_text()
    before, kept = run.calls(), written(out, world.rows)
    again = _finish(world, out)
    # A call whose row was not written may be repeated; a written row may not.
    strangers = sum(
        sum((before[name] & again["calls"][name] & kept[name]).values()) for name in ("system", "annotator")
    )
    return {
        "most_bytes": most,
        "exit": code,
        "said": said.strip().splitlines()[-1:],
        "strangers": strangers,
        "unequal": again["unequal"],
        "left_over": again["left_over"],
        "sound": code == 3 and not again["unequal"] and not strangers and "Traceback" not in said,
    }


def _finish(world: World, out: Path) -> dict[str, Any]:
    run = Started(world.folder, out, world.url, contrast=world.contrast)
    if code := run.wait():
        print(f"the same command ended in {code}: {run.errors.read_text()[-2000:]}", file=sys.stderr)
    rows = rows_of(out)
    litter = [str(p.relative_to(out)) for p in out.rglob("*.tmp")]
    unequal = [name for name, counts in world.rows.items() if rows[name] != counts]
    return {"calls": run.calls(), "unequal": unequal + [f"exit {code}"] * bool(code), "left_over": litter}


def _total(calls: dict[str, Counter[str]]) -> int:
    return sum(sum(counts.values()) for counts in calls.values())


def summary_of(found: dict[str, Any]) -> dict[str, Any]:
    """Return how many were sound, and the most calls in flight and repeated."""
    kills = found["killed"]
    return {
        what: f"{sum(one['sound'] for one in found[what])} of {len(found[what])} sound" for what in ACTS
    } | {
        "most in flight": {n: max((one["in_flight"][n] for one in kills), default=0) for n in WIDTHS},
        "most repeated": {n: max((one["repeated"][n] for one in kills), default=0) for n in WIDTHS},
        "killed before they ended": sum(one["killed"] for one in kills),
    }


def command_of(given: argparse.Namespace) -> str:
    """Return what to type for the same measurement."""
    counts = ("samples", "kills", "tears", "fills", "seed")
    words = [f"--{name} {getattr(given, name)}" for name in counts]
    return " ".join(["python bench/kill/run.py", *words, *(["--contrast"] if given.contrast else [])])


ACTS = {"full": full, "torn": torn, "killed": killed}


def series(given: argparse.Namespace) -> bool:
    """Disturb runs of one world; write down every one as soon as it is done. Return whether all are sound."""
    counts = {"full": given.fills, "torn": given.tears, "killed": given.kills}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "calls").mkdir()
        write_task(folder / "data", given.samples)
        with judge_server(folder / "calls" / "judge") as url:
            world = undisturbed(folder, url, contrast=given.contrast)
            found: dict[str, Any] = {
                "machine": machine(),
                "command": command_of(given),
                "samples": given.samples,
                "seconds_undisturbed": round(world.seconds, 2),
                "calls": {n: _total({"": counts}) for n, counts in world.calls.items()},
                "at_once": WIDTHS,
                **{what: [] for what in ACTS},
            }
            for what, act in ACTS.items():
                for number in range(counts[what]):
                    found[what].append(act(world, random.Random(f"{given.seed} {what} {number}")))
                    print(what, number + 1, json.dumps(found[what][-1], ensure_ascii=False), flush=True)
                    found["summary"] = summary_of(found)
                    given.results.write_text(
                        json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
                    )
    if given.results == RESULTS:
        write_between(*MARKS, lines_of(found))
    print(json.dumps(found["summary"], indent=1))
    return all(one["sound"] for what in ACTS for one in found[what])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--tears", type=int, default=20)
    parser.add_argument("--fills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--contrast", action="store_true", help="let the judge compare within groups as well")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return 0 if series(parser.parse_args()) else 1


if __name__ == "__main__":
    sys.exit(main())
