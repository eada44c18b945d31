"""One case: copy, mutate, run the command in this process, and judge how it ended."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import resource
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.fuzz.kinds import KINDS
from bench.fuzz.mutate import clean, mutate
from echat_eval.cli import main
from echat_eval.testing.scripted_judge import judge_verdict
from echat_eval.testing.servers import Exchange, ScriptedServer, chat_completion

__all__ = ["MAX_BYTES", "MAX_SECONDS", "Ending", "memory_peak", "run_case", "serve_cases", "timed"]

MAX_SECONDS = 5.0
MAX_BYTES = 10**9
_REPORT = re.compile(r"Report: (\S+)")
_FRAME = re.compile(r'File "[^"]*/(echat_eval/[^"]+)", line (\d+), in (\S+)')


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a case ended.

    Attributes:
        fault: "crash", "hang" or "peak"; None if the command ended as documented.
        place: innermost line of the package in the traceback, by which finds are grouped.
        error: the exception, and the last line that the command printed.
    """

    kind: str
    number: int
    what: str
    words: str
    code: int | None
    seconds: float
    peak_bytes: int
    fault: str | None = None
    place: str = ""
    error: str = ""


class _Hang(BaseException):
    """Raised by the alarm; no handler of the package catches it."""


def run_case(world: Path, scratch: Path, seed: int, number: int) -> Ending:
    """Run one case; the seed and the number determine it."""
    dice = random.Random(f"{seed} {number}")
    name = dice.choice(list(KINDS))
    kind = KINDS[name]
    case = scratch / "case"
    clean(case)
    case.mkdir(parents=True)
    kind.prepare(world, case)
    _write_answers(case, name)
    what = []
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        path = kind.target(case, dice)
        if path is not None:
            what.append(f"{path.relative_to(case)}: {mutate(path, dice)}")
    words = dice.choice(list(kind.commands))(case)
    with _server(case, name, words) as filled:
        ending = timed(filled)
    shown = " ".join(filled).replace(f"{case}/", "")
    return Ending(kind=name, number=number, what="; ".join(what), words=shown, **ending)


def warm_up(world: Path, scratch: Path) -> None:
    """Run commands on unchanged files, so that no case takes the time of imports."""
    for kind in (KINDS["run folders"], KINDS["replies"]):
        for command in kind.commands:
            clean(scratch / "case")
            kind.prepare(world, scratch / "case")
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                main_of(command(scratch / "case"))


def main_of(words: list[str]) -> int:
    """Run a command as its entry point does; return its exit code."""
    argv, sys.argv = sys.argv, ["echat-eval", *words]
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    finally:
        sys.argv = argv
    return 0


def _write_answers(case: Path, name: str) -> None:
    """Write the answers of the scripted server, to be mutated."""
    if name in ("chat replies", "verdicts", "prices", "verdict files"):
        verdict = judge_verdict(4, 3, 5) if name != "chat replies" else "<think>sad</think>I am sorry."
        (case / "data" / "answer.json").write_text(json.dumps(chat_completion("@", model="judge")))
        (case / "data" / "verdict.json").write_text(verdict)


@contextlib.contextmanager
def _server(case: Path, name: str, words: list[str]) -> Iterator[list[str]]:
    """Serve the mutated answers on loopback, if the command asks for a server."""
    if not any("{url}" in word for word in words):
        yield words
        return
    if name == "http replies":
        lines: list[bytes] = []
        with contextlib.suppress(OSError):
            lines = (case / "lines" / "lines.jsonl").read_bytes().splitlines()
        rows = iter(lines or [b""])

        def answer(exchange: Exchange) -> None:
            exchange.reply(next(rows, lines[-1] if lines else b""), "application/json")

    else:
        body = _read(case / "data" / "answer.json")
        verdict = json.dumps(_read(case / "data" / "verdict.json").decode("utf-8", "replace"))
        body = body.replace(b'"@"', verdict.encode())

        def answer(exchange: Exchange) -> None:
            exchange.reply(body, "application/json")

    with ScriptedServer(answer) as server:
        yield [word.replace("{url}", server.url) for word in words]


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() and not path.is_symlink() else b""


def timed(words: list[str]) -> dict[str, Any]:
    """Run a command as its entry point does; return its code, time, peak and fault."""
    out, err = io.StringIO(), io.StringIO()
    _reset_peak()
    begun, code, error = time.perf_counter(), None, ""
    for name in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(name, _raise_hang)
    stretch = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)) * (1 + os.nice(0) / 10)
    signal.setitimer(signal.ITIMER_REAL, MAX_SECONDS * stretch)
    signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)
    fault, trace = None, ""
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main_of(words)
    except _Hang:
        fault, trace = "hang", traceback.format_exc()
    except BaseException:  # noqa: BLE001  every ending is counted
        fault, trace = "crash", traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)
    seconds, peak, said = time.perf_counter() - begun, memory_peak(), err.getvalue()
    if code == 70 or (fault is None and "Traceback (most recent call last)" in said):
        fault = "crash"
        report = _REPORT.search(said)
        trace = _taken(Path(report[1])) if report else said
    elif fault is None and peak > MAX_BYTES:
        fault = "peak"
    if trace:
        error = trace.strip().splitlines()[-1][:300]
    last = said.strip().splitlines()[-1:] or [""]
    return {
        "code": code,
        "seconds": round(seconds, 2),
        "peak_bytes": peak,
        "fault": fault,
        "place": _place(trace),
        "error": error or last[0][:300],
    }


def _raise_hang(*_: object) -> None:
    raise _Hang


def _place(trace: str) -> str:
    frames = _FRAME.findall(trace)
    return "{}:{} in {}".format(*frames[-1]) if frames else ""


def _taken(path: Path) -> str:
    """Return the text of a crash report, and remove it."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    finally:
        path.unlink(missing_ok=True)


def _reset_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def memory_peak() -> int:
    """Return the most memory since the last reset."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _draw_no_figures() -> None:
    """Skip the drawing of figures, which takes half of the time; their labels are still made."""
    from matplotlib.figure import Figure

    def save(_: Figure, path: Any, **__: object) -> None:
        if isinstance(path, str | Path):
            Path(path).write_bytes(b"")
        else:
            path.write(b"")

    Figure.savefig = save  # type: ignore[method-assign, assignment]


def serve_cases(world: Path, scratch: Path, seed: int, first: int, step: int) -> None:
    """Run cases for ever, and write a line before and after each."""
    # A wrong size of many gigabytes is an error here, and no threat to the machine.
    resource.setrlimit(resource.RLIMIT_DATA, (8 * 10**9, 8 * 10**9))
    lines = os.fdopen(os.dup(1), "w")
    os.environ["TMPDIR"] = str(scratch)
    _draw_no_figures()
    warm_up(world, scratch)
    number = first
    while True:
        print(json.dumps({"begun": number}), file=lines, flush=True)
        ending = run_case(world, scratch, seed, number)
        print(json.dumps(asdict(ending)), file=lines, flush=True)
        number += step
