"""One measurement of EChat-eval, in a process of its own; prints one line of JSON. Run by speed.py."""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.support.made_task import write_task  # noqa: E402
from echat_eval.concurrency.retry import RetryPolicy  # noqa: E402
from echat_eval.leaderboard.build import build_leaderboard  # noqa: E402
from echat_eval.ports import (  # noqa: E402
    Case,
    Scorer,
    Silent,
)
from echat_eval.records import Metric, Reply, Request, Score  # noqa: E402
from echat_eval.runner.evaluate import evaluate  # noqa: E402
from echat_eval.store.manifest import RunSettings  # noqa: E402
from echat_eval.store.run_folder import RunFolder  # noqa: E402
from echat_eval.task import load_task  # noqa: E402

REPLY = "lol"


class Mock:
    """Answers one word at once, as the rivals' mock models do."""

    name = "mock"

    def __init__(self) -> None:
        self.calls = 0

    def respond(self, request: Request) -> Reply:
        self.calls += 1
        return Reply(text=REPLY)

    def fingerprint(self) -> str:
        return "mock-1"

    def settings(self) -> Mapping[str, Any]:
        return {}


class Waiting(Mock):
    """Answers after a wait, as a server would, many at once."""

    def __init__(self, seconds: float, connections: int) -> None:
        super().__init__()
        self.seconds = seconds
        self.calls_at_once = connections
        self.first = self.last = 0.0

    async def respond(self, request: Request) -> Reply:  # type: ignore[override]
        self.calls += 1
        self.first = self.first or time.perf_counter()
        await asyncio.sleep(self.seconds)
        self.last = time.perf_counter()
        return Reply(text=REPLY)


class ExactMatch:
    """One metric from the reply's words alone."""

    name = "exact-match"
    version = "1"
    metrics: tuple[Metric, ...] = (
        Metric(
            name="exact_match",
            title="Exact match",
            unit="%",
            low=0,
            high=100,
            higher_is_better=True,
            worst=0,
            headline=True,
        ),
    )
    needs: tuple[str, ...] = ()
    scope: Literal["sample", "contrast group"] = "sample"

    def score(self, cases: Sequence[Case]) -> Sequence[Score]:
        return [
            Score(
                key="",
                system=case.response.system,
                task=case.sample.task,
                sample_id=case.sample.id,
                metric="exact_match",
                state="value",
                value=100.0
                * (case.response.reply is not None and case.response.reply.text in case.sample.references),
            )
            for case in cases
        ]

    def fingerprint(self) -> str:
        return "exact-match-1"

    def settings(self) -> Mapping[str, Any]:
        return {}


def once(data: Path, out: Path, system: Mock, scorers: Sequence[Scorer]) -> Any:
    """Read the task, ask, score, summarise: all that stands between a user and a mean."""
    task = load_task("emotion", data=data)
    with RunFolder(out).writing() as run:
        states = evaluate(
            run,
            systems=[system],
            tasks=[task],
            annotators=[],
            scorers=scorers,
            settings=RunSettings(retry_policy=RetryPolicy(tries=1)),
            progress=Silent(),
        )
        board = build_leaderboard([run])
    assert states == {"value": len(task.samples) * len(board.metrics)} or "not applicable" in states, states
    return board


def made(given: argparse.Namespace) -> tuple[Mock, list[Scorer]]:
    """Return a fresh system and the scorers of a case."""
    system: Mock = Waiting(given.wait, given.connections) if given.case == "async" else Mock()
    if given.case != "judge":
        return system, [ExactMatch()]
    from echat_eval.scorers.judged import judged_scorers

    judged, _ = judged_scorers("judge-2026-01-01", given.url, calls_at_once=given.connections)
    return system, [judged]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=["mock", "async", "again", "judge"])
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--wait", type=float, default=0.05, help="seconds of a call")
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--url", help="base URL of the judge's server")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = write_task(Path(folder) / "data", given.samples)
        warm = write_task(Path(folder) / "warm", 4)
        once(warm, Path(folder) / "warm-run", *made(given))
        system, scorers = made(given)
        out = Path(folder) / "run"
        if given.case == "again":
            once(data, out, system, scorers)
            system, scorers = made(given)
        first_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if given.url:
            urllib.request.urlopen(given.url.removesuffix("/v1") + "/reset", timeout=10).close()
        before, begun = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        once(data, out, system, scorers)
        seconds, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF)
        requests = 0 if given.case == "again" else given.samples
        assert system.calls == requests, system.calls
        found = {
            "samples": given.samples,
            "seconds": seconds,
            "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
            "peak_mb": after.ru_maxrss / 1024,
            "first_peak_mb": first_peak / 1024,
        }
        if isinstance(system, Waiting):
            found["asking_seconds"] = system.last - system.first
    print(json.dumps(found))


if __name__ == "__main__":
    main()
