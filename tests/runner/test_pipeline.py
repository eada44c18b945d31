"""Concurrent stages: the order of events, errors that stop them, and rows that do not depend on the order."""

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
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echat_eval.concurrency import event_loop
from echat_eval.concurrency.threads import Threads
from echat_eval.concurrency.work_queue import Workflow
from echat_eval.errors import NotInstalled, UsageError
from echat_eval.records import AudioRef
from echat_eval.testing import ScriptedScorer, ScriptedSystem
from tests.support.scripted_parts import hum, length, lines, loudness, rms
from tests.support.scripted_run import evaluated


def calls_in(events: list[str]) -> list[str]:
    """Return the stages of the calls of scripted parts, in order."""
    stages = [event.split()[0] for event in events]
    return [stage for stage in stages if stage not in ("load", "close")]


def test_replies_are_annotated_and_scored_while_others_are_requested(tmp_path: Path, tones: Path) -> None:
    events: list[str] = []
    evaluated(
        tmp_path / "r",
        tones,
        ScriptedSystem(hum, "slow", seconds=0.05, events=events),
        annotators=[loudness(events=events)],
        scorers=[length(events=events)],
    )
    calls = calls_in(events)
    last = max(n for n, stage in enumerate(calls) if stage == "respond")
    assert calls.index("annotate") < last
    assert calls.index("score") < last


def test_without_overlap_stages_start_after_the_last_reply(tmp_path: Path, tones: Path) -> None:
    events: list[str] = []
    folder = evaluated(
        tmp_path / "r",
        tones,
        ScriptedSystem(hum, "slow", events=events),
        annotators=[loudness(events=events)],
        scorers=[length(events=events)],
        overlap=False,
    )
    assert calls_in(events)[:8] == ["respond"] * 8
    settings = folder.manifest().settings
    assert settings is not None
    assert settings.overlap is False


def asynchronous_system(name: str = "async", calls_at_once: int = 4) -> ScriptedSystem:
    """Return a system on the event loop."""
    return ScriptedSystem(hum, name, asynchronous=True, calls_at_once=calls_at_once, seconds=0.02)


def test_an_async_system_gets_calls_at_once_concurrent_calls(tmp_path: Path, tones: Path) -> None:
    folder = evaluated(tmp_path / "r", tones, system := asynchronous_system(), scorers=[length()])
    assert system.max_busy == 4
    assert all(r.seconds is not None and 0.015 < r.seconds < 1 for r in folder.responses().values())


def out_of_order(**settings: Any) -> ScriptedScorer:
    """Return a scorer that finishes scopes in another order than they arrived."""
    return length(
        asynchronous=True,
        calls_at_once=8,
        seconds=lambda cases: int(cases[0].sample.id[1]) % 3 / 200,
        **settings,
    )


@pytest.mark.parametrize("asynchronous", [False, True])
def test_workers_batches_and_order_change_no_row(tmp_path: Path, tones: Path, asynchronous: bool) -> None:
    found = []
    for seed, (workers, size) in enumerate([(1, 1), (2, 3), (3, 8), (8, 2), (8, 5)]):
        grouped = length(scope="contrast group")
        for scorer in (length(), grouped) if seed == 0 else (out_of_order(), grouped):
            out = tmp_path / f"{seed}-{scorer.scope}"
            dice = np.random.default_rng(seed)
            shuffling = ScriptedSystem(
                hum,
                asynchronous=asynchronous,
                calls_at_once=workers,
                seconds=lambda _, dice=dice: float(dice.uniform(0, 0.01)),  # type: ignore[misc]
            )
            evaluated(out, tones, shuffling, annotators=[loudness(batch_size=size)], scorers=[scorer])
            rows = {name: lines(out / f"{name}.jsonl") for name in ("responses", "annotations", "scores")}
            for row in rows["responses"]:
                del row["seconds"]
            for row in rows["scores"]:
                del row["key"]  # holds the measured seconds
            found.append((scorer.scope, rows))
    for scope in ("sample", "contrast group"):
        same = [rows for row_scope, rows in found if row_scope == scope]
        assert len(same) == 5
        assert all(one == same[0] for one in same)


def test_an_error_of_every_row_stops_all_queues_and_keeps_finished_rows(tmp_path: Path, tones: Path) -> None:
    def fail_at_third(audio: AudioRef, language: str) -> dict[str, float]:
        if len(failing.audios) == 3:
            raise NotInstalled("no weights at /x; download them")
        return rms(audio, language)

    failing = loudness()
    failing.values = fail_at_third
    system = ScriptedSystem(hum, "slow", seconds=0.05)
    with pytest.raises(NotInstalled, match="no weights"):
        evaluated(tmp_path / "r", tones, system, annotators=[failing], scorers=[length()])
    answered = len(lines(tmp_path / "r" / "responses.jsonl"))
    assert answered == len(system.requests)
    assert answered < 8  # no further request was started
    assert len(lines(tmp_path / "r" / "annotations.jsonl")) == 2
    evaluated(tmp_path / "r", tones, system, annotators=[loudness()], scorers=[length()])
    assert len(system.requests) == 8


def test_a_system_is_loaded_and_closed_once_and_only_if_needed(tmp_path: Path, tones: Path) -> None:
    class LoadedOnTheLoop(ScriptedSystem):
        async def load(self) -> None:
            super().load()

    first, again = LoadedOnTheLoop(hum, "async"), LoadedOnTheLoop(hum, "async")
    evaluated(tmp_path / "r", tones, first, scorers=[length()])
    evaluated(tmp_path / "r", tones, again, scorers=[length()])
    assert [event for event in first.events if "respond" not in event] == ["load async", "close async"]
    assert again.events == []


def test_a_system_is_closed_before_the_next_is_loaded(tmp_path: Path, tones: Path) -> None:
    events: list[str] = []
    systems = [ScriptedSystem(hum, name, events=events) for name in ("a", "b")]
    evaluated(tmp_path / "r", tones, systems, scorers=[length()])
    assert [e for e in events if "respond" not in e] == ["load a", "close a", "load b", "close b"]


def test_the_event_loop_cannot_wait_for_itself() -> None:
    async def inner() -> None:
        pass

    async def outer() -> None:
        event_loop.run(inner())

    with pytest.raises(RuntimeError, match="cannot wait for itself"):
        event_loop.run(outer())


def test_threads_run_at_most_their_number_of_calls_at_once() -> None:
    pool, busy, max_busy, lock = Threads(3, "test"), 0, 0, threading.Lock()

    def work() -> None:
        nonlocal busy, max_busy
        with lock:
            busy += 1
            max_busy = max(max_busy, busy)
        time.sleep(0.01)
        with lock:
            busy -= 1

    futures = [pool.submit(work) for _ in range(12)]
    for future in futures:
        future.result()
    pool.shutdown()
    assert max_busy == 3


def test_a_full_batch_starts_at_once_and_the_rest_at_the_end() -> None:
    sizes: list[int] = []

    async def go() -> list[list[int]]:
        async def work(batch: list[int]) -> None:
            sizes.append(len(batch))
            await asyncio.sleep(0)

        workflow = Workflow()
        queue = workflow.queue("owner", work, size=4)
        for n in range(6):
            queue.put(n)
        await asyncio.sleep(0.01)
        early = list(sizes)
        await workflow.drain(queue)
        await workflow.settle()
        return [early, list(sizes)]

    assert event_loop.run(go()) == [[4], [4, 2]]


def test_a_batch_holds_one_kind_and_similar_ranks() -> None:
    batches: list[list[Any]] = []

    async def go() -> None:
        async def work(batch: list[Any]) -> None:
            batches.append(batch)

        workflow = Workflow()
        queue = workflow.queue("owner", work, size=3, held=True)
        for n, (kind, rank) in enumerate([("en", 5), ("zh", 1), ("en", 1), ("en", 4), ("zh", 2), ("en", 2)]):
            queue.put_ranked((kind, rank, n), kind=kind, rank=rank)
        await workflow.drain(queue)
        await workflow.settle()

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
from echat_eval.testing import ScriptedSystem
from tests.support.scripted_run import evaluated
from tests.support.scripted_parts import hum, length

def slow(request):
    Path({out!r}, "started").open("a").write("x")
    time.sleep({seconds})
    return hum(request)

Path({out!r}).mkdir(exist_ok=True)
try:
    evaluated(
        Path({out!r}) / "r", Path({data!r}), ScriptedSystem(slow, "slow", calls_at_once=2), scorers=[length()]
    )
except KeyboardInterrupt:
    sys.exit(130)
"""


def interrupt(tmp_path: Path, data: Path, *, seconds: float, presses: int) -> tuple[int, float, Path]:
    """Return the exit code, the seconds from the first press to the end, and the run folder."""
    root = Path(__file__).resolve().parents[2]
    out = tmp_path / "out"
    script = textwrap.dedent(CHILD).format(root=str(root), out=str(out), data=str(data), seconds=seconds)
    child = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, start_new_session=True)
    started = out / "started"
    while not started.exists() or len(started.read_text()) < 2:
        assert child.poll() is None, child.stderr.read() if child.stderr else ""
        time.sleep(0.01)
    first_press = time.monotonic()
    for press in range(presses):
        if press:
            time.sleep(0.5)
        os.kill(child.pid, signal.SIGINT)
    child.communicate(timeout=60)
    return child.returncode, time.monotonic() - first_press, out


def test_ctrl_c_once_finishes_and_keeps_what_is_in_flight(tmp_path: Path, tones: Path) -> None:
    code, _, out = interrupt(tmp_path, tones, seconds=1.0, presses=1)
    assert code == 130
    assert len((out / "started").read_text()) == 2
    assert [row["state"] for row in lines(out / "r" / "responses.jsonl")] == ["value", "value"]


def test_ctrl_c_twice_stops_now(tmp_path: Path, tones: Path) -> None:
    code, took, out = interrupt(tmp_path, tones, seconds=50.0, presses=2)
    assert code == 130
    assert took < 20
    assert lines(out / "r" / "responses.jsonl") == []


def test_an_interrupt_inside_a_system_interrupts_the_run(tmp_path: Path, tones: Path) -> None:
    interrupted = ScriptedSystem(KeyboardInterrupt(), "async", asynchronous=True, calls_at_once=4)
    with pytest.raises(KeyboardInterrupt):
        evaluated(tmp_path / "r", tones, interrupted, scorers=[length()])


def test_an_error_of_a_scorer_stops_the_run(tmp_path: Path, tones: Path) -> None:
    refused = length(asynchronous=True, failures=[UsageError("the server refused the key")] * 8)
    with pytest.raises(UsageError, match="refused the key"):
        evaluated(tmp_path / "r", tones, asynchronous_system(), scorers=[refused])
    assert json.loads((tmp_path / "r" / "manifest.json").read_text())["layout"] == 1


def test_rows_of_an_unconfigured_scorer_are_not_applicable(tmp_path: Path, tones: Path) -> None:
    evaluated(tmp_path / "r", tones, asynchronous_system(), scorers=[length(), length("other")])
    folder = evaluated(tmp_path / "r", tones, asynchronous_system("second"), scorers=[length()])
    states = {(i[0], i[3]): s.state for i, s in folder.scores().items()}
    assert states == {
        ("async", "length"): "value",
        ("async", "other"): "value",
        ("second", "length"): "value",
        ("second", "other"): "not applicable",
    }
