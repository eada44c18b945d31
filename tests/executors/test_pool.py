"""Workers, the pool and the proxy, without a cluster: all workers run in this process."""

from __future__ import annotations

import asyncio
import builtins
import inspect
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from echat_eval.annotators import ANNOTATORS
from echat_eval.cli import run as cli_run
from echat_eval.concurrency import event_loop
from echat_eval.concurrency.retry import timed
from echat_eval.concurrency.threads import Threads
from echat_eval.errors import (
    BadData,
    EChatError,
    JudgeFailure,
    NotApplicable,
    NotInstalled,
    RunError,
    SystemFailure,
    Unavailable,
    UnknownName,
    UsageError,
)
from echat_eval.executors import pool, ray_executor
from echat_eval.executors.cluster import Cluster, connection
from echat_eval.executors.pickling import RemoteError, RemoteResult, fresh_folder, pack, unpack
from echat_eval.executors.pool import MAX_WORKER_RESTARTS, Pool
from echat_eval.executors.remote import RemoteProxy
from echat_eval.executors.worker import Blueprint, Worker
from echat_eval.plugins import load_named
from echat_eval.ports import Annotator, Oracle, System
from echat_eval.records import AudioRef, Reply
from echat_eval.systems import SYSTEMS
from echat_eval.systems.command import Command
from echat_eval.systems.echo import Echo
from echat_eval.systems.gold_labels import GoldLabels
from echat_eval.systems.http import Http
from echat_eval.systems.replay import Replay
from echat_eval.testing import tone_requests
from tests.support import remote_parts


@pytest.fixture(autouse=True)
def scratch(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("scratch")))


def blueprint(owner: Any, **changed: Any) -> Blueprint:
    return Blueprint(
        **{
            "label": f"system '{owner.name}'",
            "packed": pack(owner),
            "fingerprint": owner.fingerprint(),
            "folder": str(Path.cwd()),
            **changed,
        }
    )


def respond(worker: Worker, folder: Path, *args: Any) -> Any:
    return unpack(worker.call("respond", pack((args, {}))), folder).result()


# -- messages ----------------------------------------------------------------------


class AdapterFailure(SystemFailure):
    """An error class of an adapter, which other processes may not have."""


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("busy", retry_after=7.0, overloaded=True),
        JudgeFailure("no verdict", retry_after=None),
        SystemFailure("out of memory"),
        NotApplicable("no voice"),
        BadData("torn file"),
        UnknownName("voice", "alto", ["alt"]),
        ConnectionResetError(104, "Connection reset by peer"),
        TimeoutError("late"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        KeyError("voice"),
        ValueError(),
        SystemExit(3),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_is_rebuilt_with_its_class(error: BaseException, tmp_path: Path) -> None:
    rebuilt = unpack(pack(RemoteError.of(error)), tmp_path).rebuild()
    assert type(rebuilt).__name__ == type(error).__name__
    assert isinstance(rebuilt, type(error))
    assert str(rebuilt) == str(error)
    if isinstance(error, EChatError):
        assert vars(rebuilt) == vars(error)


def test_an_error_of_an_adapter_is_rebuilt_with_its_nearest_base(tmp_path: Path) -> None:
    rebuilt = unpack(pack(RemoteError.of(AdapterFailure("burnt"))), tmp_path).rebuild()
    assert type(rebuilt) is not AdapterFailure
    assert (type(rebuilt).__name__, str(rebuilt), isinstance(rebuilt, SystemFailure)) == (
        "AdapterFailure",
        "burnt",
        True,
    )


def test_a_message_contains_audio_bytes_and_file_names(tmp_path: Path) -> None:
    (request,) = tone_requests(tmp_path, count=1)
    (tmp_path / "worker").mkdir()
    message = pack(request)
    content = request.audio.path.read_bytes()
    request.audio.path.unlink()
    unpacked = unpack(message, tmp_path / "worker")
    assert unpacked.audio.path.read_bytes() == content
    assert unpacked.audio.path.name == request.audio.path.name
    assert (unpacked.audio.sha256, unpacked.id) == (request.audio.sha256, request.id)


def test_an_audio_hash_cannot_move_a_file_out_of_the_folder(tmp_path: Path) -> None:
    (request,) = tone_requests(tmp_path, count=1)
    message = pack(Reply(audio=AudioRef(path=request.audio.path, sha256="../../up", seconds=1.0)))
    (tmp_path / "worker").mkdir()
    assert unpack(message, tmp_path / "worker").audio.path.is_relative_to(tmp_path / "worker")


# -- workers ----------------------------------------------------------------------


def test_a_copy_with_other_weights_is_rejected() -> None:
    loaded = Worker(blueprint(Echo(), fingerprint="other weights")).load()
    with pytest.raises(UsageError, match=r"system 'echo' has fingerprint .* and other weights in the driver"):
        loaded.result()


def test_a_machine_with_another_version_is_rejected() -> None:
    with pytest.raises(UsageError, match=r"the driver 9\.9; install the same version everywhere"):
        Worker(blueprint(Echo(), version="9.9")).load().result()


class NeedsPackage(Echo):
    """A system that needs a package which is not installed."""

    def load(self) -> None:
        import no_such_package_at_all  # type: ignore[import-not-found]  # noqa: F401


def test_a_machine_without_a_package_is_named() -> None:
    with pytest.raises(NotInstalled, match="needs the package 'no_such_package_at_all'"):
        Worker(blueprint(NeedsPackage())).load().result()


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (Unavailable("busy", retry_after=7.0), Unavailable, "busy"),
        (StopIteration(), RuntimeError, "StopIteration"),
        (None, TypeError, "system 'stubborn' returned a value that cannot be sent back"),
    ],
)
def test_a_call_that_fails_in_the_worker_raises_in_the_driver(
    error: BaseException | None, kind: type[BaseException], message: str, tmp_path: Path
) -> None:
    worker = Worker(blueprint(remote_parts.Stubborn(error)))
    worker.load().result()
    with pytest.raises(kind, match=message):
        respond(worker, tmp_path, tone_requests(tmp_path, count=1)[0])
    worker.close()


def test_temporary_folders_differ_only_in_digits(tmp_path: Path) -> None:
    import re

    names = {re.sub(r"\d+", "#", str(fresh_folder())) for _ in range(3)}
    assert len(names) == 1


def test_a_worker_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "requests").mkdir()
    worker = Worker(blueprint(Echo()))
    worker.load().result()
    request = tone_requests(tmp_path / "requests", count=1)[0]
    (tmp_path / "replies").mkdir()
    reply = respond(worker, tmp_path / "replies", request)
    assert reply.audio.path.read_bytes() == request.audio.path.read_bytes()
    (folder,) = tmp_path.glob("echat-eval-*")
    assert not [path for path in folder.rglob("*") if path.is_file()]
    worker.close()
    assert not list(tmp_path.glob("echat-eval-*"))


# -- placement ----------------------------------------------------------------------


def test_replays_network_clients_and_oracles_stay_in_the_driver(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    local: list[System | Oracle] = [
        Replay(str(tmp_path)),
        Http(url="http://127.0.0.1:9/"),
        GoldLabels(model="m", url="http://127.0.0.1:9/v1"),
    ]
    assert not [owner.name for owner in local if ray_executor._is_movable(owner)]
    movable: list[System | Annotator] = [Echo(), Command("cat"), remote_parts.Loudness()]
    assert all(ray_executor._is_movable(owner) for owner in movable)


def test_a_system_that_cannot_be_pickled_is_named_before_ray_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_executor, "connection", lambda *_: pytest.fail("ray was started"))
    system: Any = remote_parts.Stubborn()
    system.thread = (number for number in (1, 2))
    with (
        pytest.raises(UsageError, match=r"system 'stubborn' cannot be sent to another process: .*generator"),
        ray_executor.ray_workers([system], []),
    ):
        pass


REQUIRED_SETTINGS = {
    "model": "gpt-x",
    "checkpoint": "x.pt",
    "labels": "a=happy",
    "program": "cat",
    "url": "http://127.0.0.1:9/",
}


@pytest.mark.uninstrumented
def test_every_shipped_part_can_be_pickled(tmp_path: Path) -> None:
    for kind, table in (("annotator", ANNOTATORS), ("system", SYSTEMS)):
        for name in set(table) - {"replay"}:
            cls = load_named(kind, name, table)
            required = [p.name for p in inspect.signature(cls).parameters.values() if p.default is p.empty]
            part = cls(**{key: REQUIRED_SETTINGS[key] for key in required})
            assert type(unpack(pack(part), tmp_path / name)) is cls


class UnreachableRay:
    """A ray module that finds no cluster and records the options of `init`."""

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}

    def is_initialized(self) -> bool:
        return False

    def init(self, **options: Any) -> None:
        self.options = options
        raise ConnectionError("connection refused")

    def shutdown(self) -> None: ...


def test_an_address_without_a_cluster_is_reported() -> None:
    ray: Any = UnreachableRay()
    with (
        pytest.raises(
            UsageError, match=r"no ray cluster at 'head:6379': connection refused; start one with `ray"
        ),
        connection(ray, "head:6379", 2),
    ):
        pass
    # The size of a remote cluster is not set by the run.
    assert not {"num_cpus", "object_store_memory", "include_dashboard"} & set(ray.options)


def test_a_local_cluster_that_does_not_start_is_reported() -> None:
    ray: Any = UnreachableRay()
    with (
        pytest.raises(RunError, match="ray could not start on this machine: connection refused"),
        connection(ray, None, 2),
    ):
        pass
    assert (ray.options["address"], ray.options["num_cpus"], ray.options["include_dashboard"]) == (
        "local",
        2,
        False,
    )


class SizedRay:
    """A ray module that reports given resources."""

    def __init__(self, **resources: float) -> None:
        self.resources = resources

    def cluster_resources(self) -> Mapping[str, float]:
        return self.resources


def sized_ray(**resources: float) -> Any:
    """Return what stands in for the module."""
    return SizedRay(**resources)


class Device(Echo):
    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device


@pytest.mark.parametrize(
    ("device", "resources", "workers", "places"),
    [
        ("cpu", {"CPU": 4}, None, 4),
        ("cpu", {"CPU": 64, "GPU": 4}, None, 8),
        ("cpu", {"CPU": 64, "GPU": 4}, 20, 20),
        ("cuda", {"CPU": 64, "GPU": 4}, None, 4),
        ("cuda:0", {"CPU": 64, "GPU": 4}, 2, 2),
        ("auto", {"CPU": 64, "GPU": 16}, None, 16),
        ("auto", {"CPU": 3}, None, 3),
    ],
)
def test_there_is_one_place_per_gpu_or_core(
    device: str, resources: dict[str, float], workers: int | None, places: int
) -> None:
    assert Cluster(sized_ray(**resources), [Device(device)], [], workers=workers).places == places


@pytest.mark.parametrize(
    ("device", "resources", "message"),
    [
        ("cuda", {"CPU": 4}, "'echo' needs a GPU, and no machine of the ray cluster has one"),
        (
            "cuda:1",
            {"CPU": 4, "GPU": 2},
            "requests device cuda:1; every worker has one GPU of its own, so write cuda",
        ),
    ],
)
def test_an_unavailable_device_is_reported(device: str, resources: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Cluster(sized_ray(**resources), [Device(device)], [], workers=None)


def test_a_program_gets_a_gpu_if_its_settings_request_one() -> None:
    ray = sized_ray(CPU=8, GPU=2)
    assert Cluster(ray, [Command("cat", gpu=True)], [], workers=None).places == 2
    assert Cluster(ray, [Command("cat")], [], workers=None).places == 8


# -- the pool ---------------------------------------------------------------------


class WorkerHandle:
    """A handle like ray's: `handle.method.remote(...).future()` is the future of a call."""

    def __init__(
        self, number: int, load: Callable[[], RemoteResult], call: Callable[[WorkerHandle], bytes]
    ) -> None:
        self.number, self._load, self._call = number, load, call
        self.closed: Future[None] = Future()

    def __getattr__(self, name: str) -> Any:
        return RemoteMethod(self, name)


class RemoteMethod:
    def __init__(self, worker: WorkerHandle, name: str) -> None:
        self.worker, self.name = worker, name

    def remote(self, *_: Any) -> RemoteMethod:
        return self

    def future(self) -> Future[Any]:
        from ray.exceptions import RayActorError

        done: Future[Any] = Future()
        worker = self.worker
        if self.name == "watch":
            return worker.closed
        try:
            if self.name == "close":
                worker.closed.set_result(None)
            methods: dict[str, Callable[[], Any]] = {
                "load": worker._load,
                "call": lambda: worker._call(worker),
            }
            done.set_result(methods.get(self.name, str)())
        except RayActorError as error:
            worker.closed.set_exception(error)
            done.set_exception(error)
        return done


def die(_: WorkerHandle) -> bytes:
    from ray.exceptions import RayActorError

    raise RayActorError(error_msg="The actor died.\nIts process was killed.")


def pool_of(
    places: int,
    call: Callable[[WorkerHandle], bytes],
    load: Callable[[], RemoteResult] = RemoteResult,
    calls: int = 1,
) -> tuple[Pool, list[WorkerHandle]]:
    """Return a pool, and the list of all workers that it starts."""
    started: list[WorkerHandle] = []

    def start(place: int) -> WorkerHandle:
        started.append(WorkerHandle(place, load, call))
        return started[-1]

    return Pool("system 'x'", start=start, stop=lambda _: None, places=places, calls=calls), started


async def call_many(pool: Pool, calls: int) -> list[Any]:
    await pool.load()
    try:
        return await asyncio.gather(
            *(pool.call("respond", b"") for _ in range(calls)), return_exceptions=True
        )
    finally:
        await pool.close()


def test_calls_are_spread_over_all_places() -> None:
    pool, started = pool_of(3, lambda worker: b"%d" % worker.number)
    assert set(event_loop.run(call_many(pool, 30))) == {b"0", b"1", b"2"}
    assert len(started) == 3


def test_two_concurrent_calls_go_to_two_workers() -> None:
    pool, _ = pool_of(2, lambda worker: b"%d" % worker.number, calls=3)
    assert set(event_loop.run(call_many(pool, 2))) == {b"0", b"1"}


def test_a_dead_worker_is_replaced_and_its_call_repeated() -> None:
    killed: list[WorkerHandle] = []

    def call(worker: WorkerHandle) -> bytes:
        if not killed:
            killed.append(worker)
            die(worker)
        return b"fine"

    pool, started = pool_of(2, call)
    assert event_loop.run(call_many(pool, 6)) == [b"fine"] * 6
    assert sorted(worker.number for worker in started) == sorted([0, 1, killed[0].number])


def test_a_call_that_kills_several_workers_is_unavailable() -> None:
    pool, _ = pool_of(MAX_WORKER_RESTARTS, die)  # a single place would be given up first
    (error,) = event_loop.run(call_many(pool, 1))
    assert type(error) is Unavailable
    assert str(error) == (
        f"{MAX_WORKER_RESTARTS} workers died during this call; "
        "cause of the last death: Its process was killed."
    )


def test_places_that_lose_every_worker_are_given_up() -> None:
    pool, started = pool_of(2, die)
    errors = event_loop.run(call_many(pool, 20))
    assert {type(error) for error in errors} == {Unavailable}
    assert any("system 'x' has no worker left" in str(error) for error in errors)
    assert len(started) <= 2 * (MAX_WORKER_RESTARTS + 1)


@pytest.mark.parametrize(
    ("error", "starts"),
    [(NotInstalled("no weights"), 1), (RuntimeError("CUDA out of memory"), MAX_WORKER_RESTARTS)],
)
def test_an_error_of_loading_is_raised(error: Exception, starts: int) -> None:
    pool, started = pool_of(1, die, lambda: RemoteResult(error=RemoteError.of(error)))
    with pytest.raises(type(error), match=str(error)):
        event_loop.run(call_many(pool, 1))
    assert len(started) == starts


def test_a_cluster_that_starts_no_worker_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "START_TIMEOUT", 0.01)
    stuck, _ = pool_of(1, die)
    monkeypatch.setattr(RemoteMethod, "future", lambda self: Future())
    with pytest.raises(Unavailable, match=r"the cluster started no worker in 0\.01 s"):
        event_loop.run(call_many(stuck, 1))


# -- the proxy --------------------------------------------------------------------


class FiveSecondPool:
    """A pool whose worker reports five seconds for every call."""

    async def load(self) -> None: ...

    async def close(self) -> None: ...

    async def call(self, method: str, message: bytes) -> bytes:
        return pack(RemoteResult(value=Reply(text=method), seconds=5.0))


def test_latency_is_measured_by_the_worker(tmp_path: Path) -> None:
    proxy = RemoteProxy(remote_parts.Motley(str(tmp_path)), pool=FiveSecondPool(), calls_at_once=2)  # type: ignore[arg-type]
    request = tone_requests(tmp_path, count=1)[0]

    async def call_once() -> Any:
        await proxy.load()
        result = await timed(partial(proxy.respond, request), threads=Threads(1, "none"))
        await proxy.close()
        return result

    result = event_loop.run(call_once())
    assert result.value == Reply(text="respond")
    assert result.seconds == pytest.approx(5.0, abs=1.0)


def test_a_proxy_has_the_methods_and_attributes_of_its_owner(tmp_path: Path) -> None:
    plain = RemoteProxy(remote_parts.Motley(str(tmp_path)), pool=FiveSecondPool(), calls_at_once=2)  # type: ignore[arg-type]
    batched = RemoteProxy(remote_parts.Batched(str(tmp_path)), pool=FiveSecondPool(), calls_at_once=2)  # type: ignore[arg-type]
    assert (hasattr(plain, "respond_batch"), hasattr(batched, "respond_batch")) == (False, True)
    assert (batched.batch_size, batched.name, batched.fingerprint()) == (2, "batched", "motley-1")
    assert not hasattr(plain, "annotate")
    assert not hasattr(plain, "respond_to")


# -- the command line ------------------------------------------------------------------


def test_workers_without_the_ray_executor_are_rejected(tmp_path: Path, tones: Path) -> None:
    options = ["--system", "echo", "--task", "emotion", "--data", str(tones), "--annotator", "acoustics"]
    result = CliRunner().invoke(cli_run.run, [*options, "--workers", "2", "--out", str(tmp_path / "run")])
    assert "--workers needs --executor ray" in str(result.exception)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without_ray(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "ray":
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    with (
        pytest.raises(NotInstalled, match=r"pip install 'echat-eval\[ray\]'"),
        ray_executor.ray_workers([Echo()], []),
    ):
        pass
