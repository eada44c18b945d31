"""The stages side by side: when what happens, what stops it, and that no order of events changes a row."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echat_eval.concurrency import event_loop
from echat_eval.concurrency.threads import Threads
from echat_eval.concurrency.work_queue import Workflow
from echat_eval.errors import NotInstalled, UsageError
from echat_eval.ports import Case
from echat_eval.records import AudioRef, Reply, Request, Score
from tests.support.scripted_parts import Length, Loudness, hum, lines
from tests.support.scripted_run import run


class Diary:
    """What happened, in order."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self._lock = threading.Lock()

    def write(self, event: str) -> None:
        with self._lock:
            self.events.append(event)


class SlowSystem:
    name = "slow"

    def __init__(self, diary: Diary, seconds: float = 0.05) -> None:
        self.diary, self.seconds = diary, seconds

    def respond(self, request: Request) -> Reply:
        time.sleep(self.seconds)
        self.diary.write("respond")
        return hum(request)

    def fingerprint(self) -> str:
        return "slow"

    def settings(self) -> Mapping[str, Any]:
        return {}


class DiaryEar(Loudness):
    def __init__(self, diary: Diary) -> None:
        super().__init__()
        self.diary = diary

    def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any]:
        self.diary.write("annotate")
        return super().annotate(audio, language=language)


class DiaryScorer(Length):
    def __init__(self, diary: Diary) -> None:
        super().__init__()
        self.diary = diary

    def score(self, cases: Sequence[Case]) -> Sequence[Score]:
        self.diary.write("score")
        return super().score(cases)


def test_a_reply_is_heard_and_scored_while_others_are_still_asked_for(tmp_path: Path, tones: Path) -> None:
    diary = Diary()
    run(tmp_path / "r", tones, SlowSystem(diary), annotators=[DiaryEar(diary)], scorers=[DiaryScorer(diary)])
    last = max(n for n, event in enumerate(diary.events) if event == "respond")
    assert diary.events.index("annotate") < last
    assert diary.events.index("score") < last


def test_without_overlap_nothing_runs_beside_a_system(tmp_path: Path, tones: Path) -> None:
    diary = Diary()
    folder = run(
        tmp_path / "r",
        tones,
        SlowSystem(diary, 0.0),
        annotators=[DiaryEar(diary)],
        scorers=[DiaryScorer(diary)],
        overlap=False,
    )
    assert diary.events[:8] == ["respond"] * 8
    assert folder.manifest()["settings"]["overlap"] is False


class Async:
    """A system on the event loop; says how many of its calls were in flight at most."""

    name = "async"

    def __init__(self, calls_at_once: int = 4) -> None:
        self.calls_at_once = calls_at_once
        self.busy = self.most = 0

    async def respond(self, request: Request) -> Reply:
        self.busy += 1
        self.most = max(self.most, self.busy)
        await asyncio.sleep(0.02)
        self.busy -= 1
        return hum(request)

    def fingerprint(self) -> str:
        return "async"

    def settings(self) -> Mapping[str, Any]:
        return {}


def test_an_asynchronous_system_is_asked_as_often_at_once_as_it_bears(tmp_path: Path, tones: Path) -> None:
    folder = run(tmp_path / "r", tones, system := Async(4))
    assert system.most == 4
    assert all(r.seconds is not None and 0.015 < r.seconds < 1 for r in folder.responses().values())


class AsyncLength(Length):
    """Ends its scopes in another order than they came."""

    calls_at_once = 8

    async def score(self, cases: Sequence[Case]) -> Sequence[Score]:  # type: ignore[override]
        await asyncio.sleep(int(cases[0].sample.id[1]) % 3 / 200)
        return super().score(cases)


class Batched(Loudness):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.batch_size = size

    def annotate_batch(self, audios: Sequence[AudioRef], *, language: str) -> list[Mapping[str, Any]]:
        return [self.annotate(audio, language=language) for audio in audios]


class Shuffling:
    """Answers after a time that its seed decides, so that replies come in another order each time."""

    name = "scripted"

    def __init__(self, seed: int, workers: int, asynchronous: bool) -> None:
        self.dice, self.calls_at_once = np.random.default_rng(seed), workers
        if asynchronous:
            self.respond = self._respond_async  # type: ignore[method-assign,assignment]

    def respond(self, request: Request) -> Reply:
        time.sleep(float(self.dice.uniform(0, 0.01)))
        return hum(request)

    async def _respond_async(self, request: Request) -> Reply:
        await asyncio.sleep(float(self.dice.uniform(0, 0.01)))
        return hum(request)

    def fingerprint(self) -> str:
        return "shuffling"

    def settings(self) -> Mapping[str, Any]:
        return {}


@pytest.mark.parametrize("asynchronous", [False, True])
def test_workers_batches_and_order_change_no_row(tmp_path: Path, tones: Path, asynchronous: bool) -> None:
    class Grouped(Length):
        scope = "contrast group"

    found = []
    for seed, (workers, size) in enumerate([(1, 1), (2, 3), (3, 8), (8, 2), (8, 5)]):
        for scorer in (Length(), Grouped()) if seed == 0 else (AsyncLength(), Grouped()):
            out = tmp_path / f"{seed}-{scorer.scope}"
            run(
                out,
                tones,
                Shuffling(seed, workers, asynchronous),
                annotators=[Batched(size)],
                scorers=[scorer],
            )
            rows = {name: lines(out / f"{name}.jsonl") for name in ("responses", "annotations", "scores")}
            for row in rows["responses"]:
                del row["seconds"]
            for row in rows["scores"]:
                del row["key"]  # holds the measured seconds
            found.append((scorer.scope, rows))
    for scope in ("sample", "contrast group"):
        rows = [rows for its, rows in found if its == scope]
        assert len(rows) == 5
        assert all(one == rows[0] for one in rows)


def test_what_is_wrong_for_every_row_stops_all_lanes_and_keeps_what_is_done(
    tmp_path: Path, tones: Path
) -> None:
    class Broken(Loudness):
        def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any]:
            if len(self.heard) == 2:
                raise NotInstalled("no weights at /x; download them")
            return super().annotate(audio, language=language)

    diary = Diary()
    with pytest.raises(NotInstalled, match="no weights"):
        run(tmp_path / "r", tones, SlowSystem(diary), annotators=[Broken()])
    answered = len(lines(tmp_path / "r" / "responses.jsonl"))
    assert answered == diary.events.count("respond")
    assert answered < 8  # nothing new was begun
    assert len(lines(tmp_path / "r" / "annotations.jsonl")) == 2
    run(tmp_path / "r", tones, SlowSystem(diary), annotators=[Loudness()])
    assert diary.events.count("respond") == 8


def test_an_owner_is_loaded_once_and_closed_once_and_only_if_there_was_work(
    tmp_path: Path, tones: Path
) -> None:
    class Counting(Async):
        def __init__(self) -> None:
            super().__init__()
            self.events: list[str] = []

        async def load(self) -> None:
            self.events.append("load")

        def close(self) -> None:
            self.events.append("close")

    run(tmp_path / "r", tones, first := Counting())
    run(tmp_path / "r", tones, again := Counting())
    assert (first.events, again.events) == (["load", "close"], [])


def test_systems_are_closed_before_the_next_one_is_asked(tmp_path: Path, tones: Path) -> None:
    diary = Diary()

    class Named(SlowSystem):
        def __init__(self, name: str) -> None:
            super().__init__(diary, 0.0)
            self.name = name

        def load(self) -> None:
            diary.write(f"load {self.name}")

        def close(self) -> None:
            diary.write(f"close {self.name}")

    run(tmp_path / "r", tones, [Named("a"), Named("b")])
    assert [e for e in diary.events if e != "respond"] == ["load a", "close a", "load b", "close b"]


def test_the_loop_cannot_wait_for_itself() -> None:
    async def inner() -> None:
        pass

    async def outer() -> None:
        event_loop.run(inner())

    with pytest.raises(RuntimeError, match="cannot wait for itself"):
        event_loop.run(outer())


def test_threads_do_as_many_things_at_once_as_they_are_and_no_more() -> None:
    pool, busy, most, lock = Threads(3, "test"), 0, 0, threading.Lock()

    def work() -> None:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.01)
        with lock:
            busy -= 1

    futures = [pool.submit(work) for _ in range(12)]
    for future in futures:
        future.result()
    pool.shutdown()
    assert most == 3


def test_a_full_batch_is_begun_at_once_and_the_rest_when_nothing_more_comes() -> None:
    class Owner:
        name = "owner"

    sizes: list[int] = []

    async def go() -> list[list[int]]:
        async def work(batch: list[int]) -> None:
            sizes.append(len(batch))
            await asyncio.sleep(0)

        flow = Workflow()
        lane = flow.lane(Owner(), work, size=4)
        for n in range(6):
            lane.put(n)
        await asyncio.sleep(0.01)
        early = list(sizes)
        await flow.drain(lane)
        await flow.settle()
        return [early, list(sizes)]

    assert event_loop.run(go()) == [[4], [4, 2]]


def test_a_batch_holds_one_kind_and_neighbours_in_rank() -> None:
    class Owner:
        name = "owner"

    batches: list[list[Any]] = []

    async def go() -> None:
        async def work(batch: list[Any]) -> None:
            batches.append(batch)

        flow = Workflow()
        lane = flow.lane(Owner(), work, size=3, held=True)
        for n, (kind, rank) in enumerate([("en", 5), ("zh", 1), ("en", 1), ("en", 4), ("zh", 2), ("en", 2)]):
            lane.put_ranked((kind, rank, n), kind=kind, rank=rank)
        await flow.drain(lane)
        await flow.settle()

    event_loop.run(go())
    assert [[(kind, rank) for kind, rank, _ in batch] for batch in batches] == [
        [("en", 2), ("en", 4), ("en", 5)],
        [("zh", 1), ("zh", 2)],
        [("en", 1)],
    ]


# -- Ctrl-C -------------------------------------------------------------------------

CHILD = """
import sys, time
from pathlib import Path
sys.path[:0] = [{root!r}]
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from tests.support.scripted_run import run
from tests.support.scripted_parts import hum, Length

class Slow:
    name = "slow"
    calls_at_once = 2
    def respond(self, request):
        Path({out!r}, "begun").open("a").write("x")
        time.sleep({seconds})
        return hum(request)
    def fingerprint(self): return "slow"
    def settings(self): return {{}}

Path({out!r}).mkdir(exist_ok=True)
try:
    run(Path({out!r}) / "r", Path({data!r}), Slow())
except KeyboardInterrupt:
    sys.exit(130)
"""


def interrupted(tmp_path: Path, data: Path, *, seconds: float, presses: int) -> tuple[int, float, Path]:
    """Return the exit code, the seconds from the first press to the end, and the run folder."""
    root = Path(__file__).resolve().parents[2]
    out = tmp_path / "out"
    script = textwrap.dedent(CHILD).format(root=str(root), out=str(out), data=str(data), seconds=seconds)
    child = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, start_new_session=True)
    begun = out / "begun"
    while not begun.exists() or len(begun.read_text()) < 2:
        assert child.poll() is None, child.stderr.read() if child.stderr else ""
        time.sleep(0.01)
    pressed = time.monotonic()
    for press in range(presses):
        if press:
            time.sleep(0.5)
        os.kill(child.pid, signal.SIGINT)
    child.communicate(timeout=60)
    return child.returncode, time.monotonic() - pressed, out


def test_ctrl_c_once_finishes_and_keeps_what_is_in_flight(tmp_path: Path, tones: Path) -> None:
    code, _, out = interrupted(tmp_path, tones, seconds=1.0, presses=1)
    assert code == 130
    assert len((out / "begun").read_text()) == 2
    assert [row["state"] for row in lines(out / "r" / "responses.jsonl")] == ["value", "value"]


def test_ctrl_c_twice_stops_now(tmp_path: Path, tones: Path) -> None:
    code, took, out = interrupted(tmp_path, tones, seconds=50.0, presses=2)
    assert code == 130
    assert took < 20
    assert lines(out / "r" / "responses.jsonl") == []


def test_a_system_that_is_interrupted_itself_interrupts_the_run(tmp_path: Path, tones: Path) -> None:
    class Impatient(Async):
        async def respond(self, request: Request) -> Reply:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "r", tones, Impatient())


def test_a_wrong_key_is_told_whichever_lane_learns_it_first(tmp_path: Path, tones: Path) -> None:
    class Refused(Length):
        async def score(self, cases: Sequence[Case]) -> Sequence[Score]:  # type: ignore[override]
            raise UsageError("the server refused the key")

    with pytest.raises(UsageError, match="refused the key"):
        run(tmp_path / "r", tones, Async(), scorers=[Refused()])
    assert json.loads((tmp_path / "r" / "manifest.json").read_text())["layout"] == 1


def test_an_unconfigured_scorers_rows_are_there_and_say_so(tmp_path: Path, tones: Path) -> None:
    class Other(Length):
        name = "other"
        metrics = (replace(Length.metrics[0], name="other", headline=False),)

        def score(self, cases: Sequence[Case]) -> Sequence[Score]:
            return [replace(s, metric="other") for s in super().score(cases)]

    run(tmp_path / "r", tones, Async(), scorers=[Length(), Other()])
    second = Async()
    second.name = "second"
    folder = run(tmp_path / "r", tones, second, scorers=[Length()])
    states = {(i[0], i[3]): s.state for i, s in folder.scores().items()}
    assert states == {
        ("async", "length"): "value",
        ("async", "other"): "value",
        ("second", "length"): "value",
        ("second", "other"): "not applicable",
    }
