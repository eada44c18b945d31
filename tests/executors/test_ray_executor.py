"""A run on a ray cluster of two workers writes the files of a local run, even if a worker dies."""

from __future__ import annotations

import asyncio
import gc
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
from echat_eval.executors import ExecutorFacts
from echat_eval.executors.ray_executor import ray_workers
from echat_eval.ports import Silent
from echat_eval.records import Request
from echat_eval.runner.evaluate import evaluate
from echat_eval.store.manifest import RunSettings
from echat_eval.store.run_folder import RunFolder
from echat_eval.task import load_task
from tests.support import remote_parts
from tests.support.tones import write_task

pytestmark = [
    # ray leaves these open when it starts and ends its own processes.
    pytest.mark.filterwarnings("ignore:unclosed file <_io.* name='/dev/null':ResourceWarning"),
    pytest.mark.filterwarnings("ignore:subprocess \\d+ is still running:ResourceWarning"),
]


@pytest.fixture(autouse=True)
def files_of_ray() -> Iterator[None]:
    """Collect what ray left open while the warning is ignored, not in a later test."""
    yield
    gc.collect()


QUICK_RETRY = RetryPolicy(tries=2, first_wait=0.0)
OBJECT_STORE_BYTES = 100 * 2**20


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Start a cluster of two cores, and two GPUs in name only."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(remote_parts)
    ray.init(
        address="local",
        num_cpus=2,
        num_gpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=OBJECT_STORE_BYTES,
    )
    yield ray
    ray.shutdown()
    cloudpickle.unregister_pickle_by_value(remote_parts)


def run_systems(
    out: Path,
    data: Path,
    systems: Sequence[Any],
    annotators: Sequence[Any] = (),
    progress: Any = None,
    executor: ExecutorFacts | None = None,
) -> RunFolder:
    with RunFolder(out).writing() as run:
        evaluate(
            run,
            systems=systems,
            tasks=[load_task("emotion", data=data)],
            annotators=annotators,
            scorers=[],
            settings=RunSettings(retry_policy=QUICK_RETRY, executor=executor or ExecutorFacts()),
            progress=progress or Silent(),
        )
    return run


def rows(out: Path, name: str) -> list[dict[str, Any]]:
    """Return the rows of a file without times, and without folders in reasons."""
    rows = [json.loads(line) for line in (out / name).read_text().splitlines()]
    for row in rows:
        row.pop("seconds", None)
        if row.get("reason"):
            row["reason"] = re.sub(r"/\S+/", "/", row["reason"])
    return rows


def audio_files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / "audio").iterdir()}


def test_a_run_on_workers_writes_the_files_of_a_local_run(cluster: Any, tmp_path: Path) -> None:
    many_tones = write_task(tmp_path / "data", groups=12).parent
    systems = [remote_parts.Motley(str(tmp_path)), remote_parts.Batched(str(tmp_path))]
    local, remote = tmp_path / "local", tmp_path / "remote"
    run_systems(local, many_tones, systems, [remote_parts.Loudness()])
    with ray_workers(
        [remote_parts.Motley(str(tmp_path)), remote_parts.Batched(str(tmp_path))],
        [remote_parts.Loudness()],
        workers=2,
    ) as placement:
        run_systems(remote, many_tones, placement.systems, placement.annotators, executor=placement.facts)
    for name in ("responses.jsonl", "annotations.jsonl", "scores.jsonl", "samples.jsonl"):
        assert rows(remote, name) == rows(local, name), name
    assert audio_files(remote) == audio_files(local)
    states = {row["state"] for row in rows(remote, "responses.jsonl")}
    assert states == {"value", "failed", "not applicable"}
    assert {Path(name).suffix for name in audio_files(remote)} == {".wav", ".flac"}
    settings = RunFolder(remote).manifest().settings
    assert settings is not None
    assert (settings.executor.name, settings.executor.workers) == ("ray", 2)


class WorkerKiller(Silent):
    """Kills the process of one call in flight once three rows are done."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.rows, self.killed = folder, 0, 0

    def advance(self, count: int = 1, *, stage: str | None = None) -> None:
        self.rows += count
        if self.rows == 3:
            # Not on the event loop, which must not block.
            threading.Thread(target=self._kill, daemon=True).start()

    def _kill(self) -> None:
        while not (calls := list(self.folder.glob("call-*"))):
            time.sleep(0.01)
        self.killed = int(calls[-1].name.split("-")[1])
        os.kill(self.killed, signal.SIGKILL)


def test_a_killed_worker_loses_no_row(cluster: Any, tmp_path: Path, tones: Path) -> None:
    marks = [tmp_path / "marks-local", tmp_path / "marks-remote"]
    for folder in marks:
        folder.mkdir()
    run_systems(tmp_path / "local", tones, [remote_parts.Slow(str(marks[0]))])
    killer = WorkerKiller(marks[1])
    with ray_workers([remote_parts.Slow(str(marks[1]))], [], workers=2) as placement:
        run_systems(tmp_path / "remote", tones, placement.systems, progress=killer)
    assert rows(tmp_path / "remote", "responses.jsonl") == rows(tmp_path / "local", "responses.jsonl")
    assert audio_files(tmp_path / "remote") == audio_files(tmp_path / "local")
    # One call was interrupted. Only that call was repeated, in another process.
    (interrupted,) = marks[1].glob("call-*")
    _, pid, request = interrupted.name.split("-")
    assert int(pid) == killer.killed
    finished = [path.name.split("-")[1:] for path in marks[1].glob("done-*")]
    assert len(finished) == 8
    assert [process for process, ident in finished if ident == request] != [pid]


def test_a_request_that_kills_its_workers_is_missing(cluster: Any, tmp_path: Path, tones: Path) -> None:
    system = remote_parts.Deadly(str(tmp_path))
    system.deadly_id = requests_of(tones)[2].id
    with ray_workers([system], [], workers=2) as placement, RunFolder(tmp_path / "run").writing() as run:
        evaluate(
            run,
            systems=placement.systems,
            tasks=[load_task("emotion", data=tones)],
            annotators=[],
            scorers=[],
            settings=RunSettings(retry_policy=RetryPolicy(tries=1)),
            progress=Silent(),
        )
    (missing,) = [response for response in run.responses().values() if response.state != "value"]
    assert (missing.state, missing.tries) == ("missing", 1)
    assert "3 workers died during this call" in (missing.reason or "")


def requests_of(data: Path) -> list[Request]:
    from echat_eval.store.keys import request_for

    return [request_for(sample) for sample in load_task("emotion", data=data).samples]


def test_the_copies_at_a_place_share_its_gpu(cluster: Any, tones: Path) -> None:
    system = remote_parts.OnGpu("system")
    annotator: Any = remote_parts.OnGpu("annotator")
    annotator.annotate = annotator.respond  # called as a system below: only its GPU matters
    with ray_workers([system], [annotator]) as placement:  # as many places as GPUs
        assert placement.facts.workers == 2
        for owner in (*placement.systems, *placement.annotators):
            seen = event_loop.run(gpus_of_both_copies(owner, requests_of(tones)[:2]))
            assert sorted(gpu for gpu, _ in seen) == ["0", "1"]


async def gpus_of_both_copies(owner: Any, requests: list[Request]) -> set[tuple[str, int]]:
    """Return the GPU and process of both copies; calls are repeated, as the second copy may start later."""
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


def test_more_workers_than_places_are_rejected(cluster: Any) -> None:
    with pytest.raises(
        UsageError, match="--workers 9: one worker per GPU or core, and the cluster has 2 cores"
    ):
        ray_workers([remote_parts.Stubborn()], [], workers=9).__enter__()


def test_a_full_cluster_is_reported(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("echat_eval.executors.cluster.PLACEMENT_TIMEOUT", 1.0)
    with (
        ray_workers([remote_parts.Stubborn()], [], workers=2),
        pytest.raises(RunError, match="no room for 1 workers in 1 s"),
        ray_workers([remote_parts.Stubborn()], [], workers=1),
    ):
        pass


def test_a_command_line_run_leaves_no_process(tmp_path: Path, tones: Path) -> None:
    environment = {**os.environ, "TMPDIR": "/tmp", "ECHAT_EVAL_CACHE": str(tmp_path / "cache")}
    environment.pop("RAY_ADDRESS", None)
    command = [
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
    completed = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert completed.returncode == 0, completed.stderr
    assert "ray" not in completed.stderr.lower()
    settings = RunFolder(tmp_path / "run").manifest().settings
    assert settings is not None
    assert settings.executor.workers == 1
    assert {row["state"] for row in rows(tmp_path / "run", "annotations.jsonl")} == {"value"}
    deadline = time.monotonic() + 20
    while (left := processes_of(str(tmp_path / "cache"))) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left


def processes_of(mark: str) -> list[str]:
    """Return the processes with a mark in their environment, which excludes the clusters of other tests."""
    processes = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark.encode() in path.read_bytes():
                processes.append((path.parent / "cmdline").read_text().replace("\0", " "))
    return processes
