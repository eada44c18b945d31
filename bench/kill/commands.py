"""Kill every command that writes a folder at seeded times and repeat it: none is refused, no process stays.

    python bench/kill/commands.py

Each command runs in a process of its own, which is forked after the imports. KILL, TERM or HUP arrives once a
drawn number of its files is there, or at a drawn time. Then the same command runs again; it must exit as an
undisturbed one and leave the same files. After a run with a program, no process of the program may be left.
A judged run goes on with or without its judge. Writes bench/results/kill_commands.json; exits 1 if a case
was not sound.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Imported here, so that a forked command does not import them again.
import aiohttp  # noqa: F401
import matplotlib.figure  # noqa: F401
import pandas  # noqa: F401
import rich.table  # noqa: F401
import soundfile  # noqa: F401

BENCH = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(BENCH.parent))

from bench.kill.run import judge_server  # noqa: E402
from bench.runner.table import write_between  # noqa: E402
from bench.support.machine import machine  # noqa: E402
from bench.support.made_task import write_task  # noqa: E402
from echat_eval import api, report  # noqa: E402, F401
from echat_eval.cli import COMMANDS, command_line  # noqa: E402
from echat_eval.cli import demo as demo_command  # noqa: E402
from echat_eval.cli import main as cli_main  # noqa: E402
from echat_eval.io.unfinished import is_half_made  # noqa: E402

RESULTS = BENCH / "results" / "kill_commands.json"
MARKS = "<!-- kill commands: begin, written by bench/kill/commands.py -->", "<!-- kill commands: end -->"
#: Seconds after which a process of a killed command counts as left behind.
GRACE = 10.0
#: A program that starts another one; both have a mark among their words.
PROGRAM = """#!/bin/sh
# {marker}
sh -c 'sleep 600; : {marker}' &
while read -r line; do
  sleep {wait}
  id=${{line#*\\"id\\":\\"}}
  printf '{{"id": "%s", "text": "hm"}}\\n' "${{id%%\\"*}}"
done
"""


@dataclass(frozen=True, kw_only=True)
class World:
    """The data of a series.

    Attributes:
        seconds: command -> duration when it is not disturbed.
        files: command -> the files that it then leaves.
    """

    folder: Path
    url: str
    seconds: dict[str, float]
    files: dict[str, set[str]]

    def words(self, command: str, out: Path) -> list[str]:
        """Return the words of a command that writes `out`."""
        run, data = str(self.folder / "run"), ["--data", str(self.folder / "data")]
        parts = [*data, "--annotator", "acoustics", "--no-cache"]
        judge = ["--judge", "judge-2026-01-01", "--judge-url", self.url]
        words = {
            "report": ["report", run, "--only", "tables,page", "--out"],
            "report with figures": ["report", run, "--out"],
            "demo": ["demo", "--out"],
            "rate export": ["rate", "export", run, "--samples", "10", "--out"],
            "export requests": ["export", "requests", *data, "--out"],
            "gate accept": ["gate", "accept", f"{run}:canned", "--to"],
            "import": ["import", "echat", str(self.folder / "source"), *IMPORT, "--out"],
            "run": ["run", "--system", "canned", *parts, "--out"],
            "judged run": ["run", "--system", "canned", *parts, *judge, "--out"],
            "run of a program": [
                "run",
                "--system",
                f"m=command:{self.folder / 'program.sh'}",
                *parts,
                "--out",
            ],
        }
        return [*words[command], str(out)]


IMPORT = ["--language", "en", "--source", "real", "--cue", "gender", "--name", "mine"]
KINDS = (
    "report",
    "rate export",
    "export requests",
    "import",
    "gate accept",
    "judged run",
    "run of a program",
    "demo",
    "run",
    "report with figures",
)
#: Commands that refuse a finished folder, also if they were killed after its last file.
ONCE = ("rate export", "export requests", "import")
#: A run is continued by one of these in turn.
WITHOUT_JUDGE = {"judged run": "run"}


class Started:
    """One command in a process of its own."""

    def __init__(self, words: list[str], errors: Path) -> None:
        self.errors = errors
        self.begun = time.perf_counter()
        self.pid = os.fork()
        if self.pid == 0:
            code = 70
            try:
                for number, path in ((1, os.devnull), (2, str(errors))):
                    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
                sys.argv = ["echat-eval", *words]
                cli_main()
            except SystemExit as ended:
                code = int(ended.code or 0)
            finally:
                sys.stderr.flush()
                os._exit(code)

    def ended(self) -> bool:
        """Return whether the process has ended, without waiting."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def wait(self) -> int:
        """Return the exit code, or minus the signal's number."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def message(self) -> str:
        """Return the last line of stderr."""
        return (self.errors.read_text(errors="replace").strip().splitlines() or [""])[-1]


def files_of(out: Path) -> set[str]:
    """Return the names of the files that a command wrote, also beside its folder."""
    return {
        os.path.relpath(os.path.join(folder, name), out.parent)
        for folder, _, names in os.walk(out.parent)
        for name in names
        if name != ".lock"
    }


def left_over(marker: str) -> list[int]:
    """Return the processes that carry a mark in their words, and wait until they are gone or time is up."""
    deadline = time.monotonic() + GRACE
    while True:
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and marker.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def prepared(world: World, command: str, name: str) -> Path:
    """Return the path of an output folder that is absent; of a demo, a run that is finished."""
    out = world.folder / name / "out"
    shutil.rmtree(out.parent, ignore_errors=True)
    out.parent.mkdir()
    if command == "demo":
        shutil.copytree(world.folder / "demo", out)
    return out


def undisturbed(world: World, command: str) -> None:
    """Run a command from start to end; note its duration and files."""
    out = prepared(world, command, "whole")
    started = Started(world.words(command, out), world.folder / "errors")
    if code := started.wait():
        raise SystemExit(f"{command} ended in {code}: {started.errors.read_text()[-2000:]}")
    world.seconds[command] = time.perf_counter() - started.begun
    world.files[command] = files_of(out)


def killed(world: World, command: str, dice: random.Random) -> dict[str, Any]:
    """Kill a command, repeat it, and return what came of it."""
    out = prepared(world, command, "killed")
    by_time = dice.random() < 0.3  # so that reading and the end are met as well
    at = (
        dice.uniform(0.02, 0.7 * world.seconds[command])
        if by_time
        else dice.randrange(len(world.files[command]))
    )
    number = dice.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP))
    started = Started(world.words(command, out), world.folder / "errors")
    while (
        not started.ended() and (time.perf_counter() - started.begun if by_time else len(files_of(out))) <= at
    ):
        time.sleep(0.0005)
    os.kill(started.pid, number)
    code = started.wait()
    finished = files_of(out) == world.files[command]
    disturbed = code in (-number, 130) and not finished
    orphans = left_over(f"{world.folder}/program") + left_over(MARKER.format(world.folder.name))
    half_made = any(map(is_half_made, (out, out.with_name("out-report"))))
    goes_on = command
    if command in WITHOUT_JUDGE and dice.random() < 0.5:
        goes_on = WITHOUT_JUDGE[command]
    again = Started(world.words(goes_on, out), world.folder / "errors")
    code_again = again.wait()
    files = files_of(out)
    # Files of the judge may be there or not where the run goes on without it.
    expected = world.files[goes_on]
    same = expected <= files <= expected | world.files[command]
    return {
        "command": command,
        "at": f"{at:.3f} s" if by_time else f"file {at}",
        "signal": number.name,
        "exit": code,
        "disturbed": disturbed,
        "half_made": half_made,
        "finished": finished,
        "goes_on_with": goes_on,
        "exit_again": code_again,
        "message": again.message() if code_again else "",
        "orphans": len(orphans),
        "files_differ": [] if same else sorted(files ^ expected)[:5],
        "refused": bool(code_again) and not (finished and command in ONCE),
        "sound": code_again in ((0, 2) if finished and command in ONCE else (0,))
        and not orphans
        and same
        and code in (0, -number, 130),
    }


MARKER = "echat-kill-{}"


def make_world(folder: Path, url: str, samples: int) -> World:
    """Write the data of all commands, and run what they read."""
    world = World(folder=folder, url=url, seconds={}, files={})
    write_task(folder / "data", samples)
    source = folder / "source"
    source.mkdir()
    rows = []
    for number in range(samples):
        shutil.copy(folder / "data" / "emotion" / "audio" / f"{number}.wav", source / f"{number}.wav")
        gender = "<MALE>" if number % 2 else "<FEMALE>"
        extra = {"gender": gender, "question": f"q {number // 2}"}
        rows.append({"key": f"k{number}", "txt": "a", "wav": f"{number}.wav", "extra": extra})
    (source / "data.list").write_text("\n".join(map(json.dumps, rows)))
    program = folder / "program.sh"
    program.write_text(PROGRAM.format(marker=MARKER.format(folder.name), wait=0.02))
    program.chmod(0o755)
    print("world", flush=True)
    for words in (world.words("run", folder / "run"), ["demo", "--out", str(folder / "demo")]):
        started = Started(words, folder / "errors")
        if code := started.wait():
            raise SystemExit(f"{words} ended in {code}: {started.errors.read_text()[-2000:]}")
    shutil.rmtree(folder / "demo-report")
    return world


def summary_of(cases: list[dict[str, Any]]) -> dict[str, Any]:
    """Return totals, and by command: kills, half made folders, sound cases."""
    return {
        "signals": len(cases),
        "kills before the end": sum(case["disturbed"] for case in cases),
        "half made": sum(case["half_made"] for case in cases),
        "refused": sum(case["refused"] for case in cases),
        "orphaned": sum(case["orphans"] for case in cases),
        "sound": sum(case["sound"] for case in cases),
        "by command": {
            kind: {
                "kills": sum(case["command"] == kind and case["disturbed"] for case in cases),
                "sound": sum(
                    case["command"] == kind and case["disturbed"] and case["sound"] for case in cases
                ),
            }
            for kind in KINDS
        },
    }


def lines_of(found: dict[str, Any]) -> str:
    """Return a result as lines for docs/performance.md."""
    at, totals = found["machine"], found["summary"]
    kills = totals["kills before the end"]
    rows = [
        f"| `{kind}` | {counts['kills']} | {counts['sound']} |"
        for kind, counts in totals["by command"].items()
        if counts["kills"]
    ]
    return "\n".join(
        [
            f"{at['date']}, {at['cores']} cores of an {at['cpu']}, commit {at['commit'][:12]}, "
            f"`{found['command']}`: {totals['signals']} signals, {kills} of them before the command's end, "
            f"{totals['half made']} of these left a half made folder. Refused when repeated: "
            f"{totals['refused']}. Processes left behind: {totals['orphaned']}.",
            "",
            "| command | kills before the end | sound |",
            "| --- | --: | --: |",
            *rows,
        ]
    )


def kinds() -> Iterator[str]:
    """Yield the commands in turn; the slow ones in every third round."""
    rounds = 0
    while True:
        yield from KINDS if rounds % 3 == 0 else KINDS[:7]
        rounds += 1


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=48)
    parser.add_argument("--kills", type=int, default=100, help="those that arrive before the end count")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    for name in COMMANDS:
        command_line.get_command(None, name)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory(prefix="echat-kill-") as name:
        folder = Path(name)
        # The other systems of the demo take minutes, before anything is reported.
        demo_command.EXPERIMENT = folder / "demo.yaml"
        demo_command.EXPERIMENT.write_text("systems: [canned, reference]\nrunner: {overlap: false}\n")
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        with judge_server(folder / "judge-calls") as url:
            world = make_world(folder, url, given.samples)
            for kind in KINDS:
                undisturbed(world, kind)
            found: dict[str, Any] = {
                "machine": machine(),
                "command": f"python bench/kill/commands.py --samples {given.samples} --kills {given.kills} "
                f"--seed {given.seed}",
                "seconds_undisturbed": {kind: round(s, 2) for kind, s in world.seconds.items()},
            }
            cases: list[dict[str, Any]] = []
            for number, kind in zip(range(2 * given.kills), kinds(), strict=False):
                if sum(case["disturbed"] for case in cases) == given.kills:
                    break
                cases.append(killed(world, kind, random.Random(f"{given.seed} {number}")))
                print(number + 1, json.dumps(cases[-1], ensure_ascii=False), flush=True)
                found |= {"summary": summary_of(cases), "killed": cases}
                given.results.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    if given.results == RESULTS:
        write_between(*MARKS, lines_of(found))
    print(json.dumps(found["summary"], indent=1))
    return 0 if all(case["sound"] for case in cases) else 1


if __name__ == "__main__":
    sys.exit(main())
