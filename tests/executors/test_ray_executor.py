"""A run on a ray cluster of two workers gives the files of a local run, also when a worker dies."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from echat_eval.concurrency import event_loop
from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.errors import RunError, UsageError
from echat_eval.executors.ray_executor import ray_workers
from echat_eval.ports import Silent
from echat_eval.records import Request
from echat_eval.runner.evaluate import evaluate
from echat_eval.store.run_folder import RunFolder
from echat_eval.task import load_task
from tests.conftest import write_task
from tests.support import remote_parts as far

pytestmark = [
    pytest.mark.slow,
    # One cluster for all of them, whoever else tests beside.
    pytest.mark.xdist_group("ray"),
    # ray leaves these to the collector when it starts and ends its own processes.
    pytest.mark.filterwarnings("ignore:unclosed file <_io.* name='/dev/null':ResourceWarning"),
    pytest.mark.filterwarnings("ignore:subprocess \\d+ is still running:ResourceWarning"),
]

IMPATIENT = RetryPolicy(tries=2, first_wait=0.0)
STORE = 100 * 2**20


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two cores, and two GPUs that exist on paper only."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(far)
    ray.init(
        address="local",
        num_cpus=2,
        num_gpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=STORE,
    )
    yield ray
    ray.shutdown()
    cloudpickle.unregister_pickle_by_value(far)


def go(
    out: Path,
    data: Path,
    systems: Sequence[Any],
    annotators: Sequence[Any] = (),
    progress: Any = None,
    **how: Any,
) -> RunFolder:
    with RunFolder(out).writing() as run:
        evaluate(
            run,
            systems=systems,
            tasks=[load_task("emotion", data=data)],
            annotators=annotators,
            scorers=[],
            retry_policy=IMPATIENT,
            progress=progress or Silent(),
            **how,
        )
    return run


def rows(out: Path, name: str) -> list[dict[str, Any]]:
    """Return a file's rows without what was measured, and without folders in reasons."""
    found = [json.loads(line) for line in (out / name).read_text().splitlines()]
    for row in found:
        row.pop("seconds", None)
        if row.get("reason"):
            row["reason"] = re.sub(r"/\S+/", "/", row["reason"])
    return found


def sounds(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / "audio").iterdir()}


def test_the_same_files_as_locally(cluster: Any, tmp_path: Path) -> None:
    many_tones = write_task(tmp_path / "data", groups=12).parent
    systems = [far.Motley(str(tmp_path)), far.Batched(str(tmp_path))]
    here, there = tmp_path / "here", tmp_path / "there"
    go(here, many_tones, systems, [far.Loudness()])
    with ray_workers(
        [far.Motley(str(tmp_path)), far.Batched(str(tmp_path))], [far.Loudness()], workers=2
    ) as moved:
        go(there, many_tones, moved.systems, moved.annotators, executor=moved.facts)
    for name in ("responses.jsonl", "annotations.jsonl", "scores.jsonl", "samples.jsonl"):
        assert rows(there, name) == rows(here, name), name
    assert sounds(there) == sounds(here)
    states = {row["state"] for row in rows(there, "responses.jsonl")}
    assert states == {"value", "failed", "not applicable"}
    assert {Path(name).suffix for name in sounds(there)} == {".wav", ".flac"}
    settings = RunFolder(there).manifest()["settings"]["executor"]
    assert (settings["name"], settings["workers"]) == ("ray", 2)


class Killer(Silent):
    """Ends the process of one call in flight once three rows are there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.rows, self.killed = folder, 0, 0

    def advance(self, count: int = 1, *, stage: str | None = None) -> None:
        self.rows += count
        if self.rows == 3:
            # Not on the loop, which must go on.
            threading.Thread(target=self._kill, daemon=True).start()

    def _kill(self) -> None:
        while not (calls := list(self.folder.glob("call-*"))):
            time.sleep(0.01)
        self.killed = int(calls[-1].name.split("-")[1])
        os.kill(self.killed, signal.SIGKILL)


def test_a_killed_worker_costs_nothing(cluster: Any, tmp_path: Path, tones: Path) -> None:
    marks = [tmp_path / "marks-here", tmp_path / "marks-there"]
    for folder in marks:
        folder.mkdir()
    go(tmp_path / "here", tones, [far.Slow(str(marks[0]))])
    killer = Killer(marks[1])
    with ray_workers([far.Slow(str(marks[1]))], [], workers=2) as moved:
        go(tmp_path / "there", tones, moved.systems, progress=killer)
    assert rows(tmp_path / "there", "responses.jsonl") == rows(tmp_path / "here", "responses.jsonl")
    assert sounds(tmp_path / "there") == sounds(tmp_path / "here")
    # One call was cut off; it was made again, in another process, and no other one was.
    (cut,) = marks[1].glob("call-*")
    _, pid, request = cut.name.split("-")
    assert int(pid) == killer.killed
    done = [path.name.split("-")[1:] for path in marks[1].glob("done-*")]
    assert len(done) == 8
    assert [by for by, what in done if what == request] != [pid]


def test_a_request_that_kills_its_worker_is_missing_and_the_others_are_there(
    cluster: Any, tmp_path: Path, tones: Path
) -> None:
    system = far.Deadly(str(tmp_path))
    system.poison = asked(tones)[2].id
    with ray_workers([system], [], workers=2) as moved, RunFolder(tmp_path / "run").writing() as run:
        evaluate(
            run,
            systems=moved.systems,
            tasks=[load_task("emotion", data=tones)],
            annotators=[],
            scorers=[],
            retry_policy=RetryPolicy(tries=1),
            progress=Silent(),
        )
    found = {response.sample_id: response for response in run.responses().values()}
    (lost,) = [response for response in found.values() if response.state != "value"]
    assert (lost.state, lost.tries) == ("missing", 1)
    assert "3 workers were lost while they answered this" in (lost.reason or "")


def asked(data: Path) -> list[Request]:
    from echat_eval.store.keys import request_for

    return [request_for(sample) for sample in load_task("emotion", data=data).samples]


def test_every_place_has_one_gpu_which_its_copies_share(cluster: Any, tones: Path) -> None:
    owners = [far.OnGpu("first"), far.OnGpu("ear")]
    ear = owners.pop()
    ear.annotate = ear.respond  # heard by asking: only where it runs matters
    with ray_workers(owners, [ear]) as moved:  # as many places as GPUs
        assert moved.facts["workers"] == 2
        for each in (*moved.systems, *moved.annotators):
            seen = event_loop.run(both(each, asked(tones)[:2]))
            assert sorted(gpu for gpu, _ in seen) == ["0", "1"]


async def both(owner: Any, requests: list[Request]) -> set[tuple[str, int]]:
    """Ask two things at once until two copies have answered, for the second may take longer to begin."""
    seen: set[tuple[str, int]] = set()
    await owner.load()
    try:
        for _ in range(1000):
            replies = await asyncio.gather(*(owner.respond(request) for request in requests))
            seen |= {(reply.text, reply.usage["pid"]) for reply in replies}
            if len(seen) > 1:
                break
    finally:
        await owner.close()
    return seen


def test_more_workers_than_the_cluster_has_are_refused(cluster: Any) -> None:
    with pytest.raises(
        UsageError, match="--workers 9: one worker per GPU or core, and the cluster has 2 cores"
    ):
        ray_workers([far.Stubborn()], [], workers=9).__enter__()


def test_a_full_cluster_is_said(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("echat_eval.executors.cluster.ROOM", 1.0)
    with (
        ray_workers([far.Stubborn()], [], workers=2),
        pytest.raises(RunError, match="no room for 1 workers in 1 s"),
        ray_workers([far.Stubborn()], [], workers=1),
    ):
        pass


def test_from_the_command_line_and_nothing_stays_behind(tmp_path: Path, tones: Path) -> None:
    environment = {**os.environ, "TMPDIR": "/tmp", "ECHAT_EVAL_CACHE": str(tmp_path / "cache")}
    environment.pop("RAY_ADDRESS", None)
    words = [
        sys.executable,
        "-m",
        "echat_eval",
        "run",
        "--system",
        "echo",
        "--task",
        "emotion",
        "--limit",
        "2",
        "--data",
        str(tones),
        "--annotator",
        "acoustics",
        "--executor",
        "ray",
        "--workers",
        "1",
        "--out",
        str(tmp_path / "run"),
    ]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "ray" not in done.stderr.lower()
    assert RunFolder(tmp_path / "run").manifest()["settings"]["executor"]["workers"] == 1
    assert {row["state"] for row in rows(tmp_path / "run", "annotations.jsonl")} == {"value"}
    deadline = time.monotonic() + 20
    while (left := processes_of(str(tmp_path / "cache"))) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left


def processes_of(mark: str) -> list[str]:
    """Return the processes whose environment holds a mark; another test may have a cluster of its own."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark.encode() in path.read_bytes():
                found.append((path.parent / "cmdline").read_text().replace("\0", " "))
    return found
