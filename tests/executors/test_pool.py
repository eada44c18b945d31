"""What a copy and the pool of copies do, without a cluster: the workers here are this process's."""

from __future__ import annotations

import asyncio
import builtins
import inspect
from collections.abc import Callable, Mapping
from concurrent.futures import Future
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
from echat_eval.executors.cluster import Cluster, connected
from echat_eval.executors.pickling import Caught, RemoteResult, fresh_folder, pack, unpack
from echat_eval.executors.pool import MAX_WORKER_RESTARTS, Pool
from echat_eval.executors.remote import RemoteProxy
from echat_eval.executors.worker import Blueprint, Worker
from echat_eval.plugins import load_named
from echat_eval.records import AudioRef, Reply
from echat_eval.systems import SYSTEMS
from echat_eval.systems.command import Command
from echat_eval.systems.echo import Echo
from echat_eval.systems.gold_labels import GoldLabels
from echat_eval.systems.http import Http
from echat_eval.systems.replay import Replay
from echat_eval.testing import made_requests
from tests.support import remote_parts as far


@pytest.fixture(autouse=True)
def scratch(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("scratch")))


def blueprint(owner: Any, **changed: Any) -> Blueprint:
    return Blueprint(
        **{
            "what": f"system '{owner.name}'",
            "packed": pack(owner),
            "fingerprint": owner.fingerprint(),
            "folder": str(Path.cwd()),
            **changed,
        }
    )


def answered(worker: Worker, folder: Path, *given: Any) -> Any:
    return unpack(worker.call("respond", pack((given, {}))), folder).result()


# -- parcels ---------------------------------------------------------------------


class OurFailure(SystemFailure):
    """A class that only an adapter knows."""


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
def test_an_error_comes_back_as_itself(error: BaseException, tmp_path: Path) -> None:
    again = unpack(pack(Caught.of(error)), tmp_path).again()
    assert type(again).__name__ == type(error).__name__
    assert isinstance(again, type(error))
    assert str(again) == str(error)
    if isinstance(error, EChatError):
        assert vars(again) == vars(error)


def test_an_error_nobody_else_knows_comes_back_as_its_nearest_kin(tmp_path: Path) -> None:
    again = unpack(pack(Caught.of(OurFailure("burnt"))), tmp_path).again()
    assert type(again) is not OurFailure
    assert (type(again).__name__, str(again), isinstance(again, SystemFailure)) == (
        "OurFailure",
        "burnt",
        True,
    )


def test_sound_travels_by_its_bytes_and_under_its_name(tmp_path: Path) -> None:
    (request,) = made_requests(tmp_path, count=1)
    (tmp_path / "there").mkdir()
    parcel = pack(request)
    content = request.audio.path.read_bytes()
    request.audio.path.unlink()
    found = unpack(parcel, tmp_path / "there")
    assert found.audio.path.read_bytes() == content
    assert found.audio.path.name == request.audio.path.name
    assert (found.audio.sha256, found.id) == (request.audio.sha256, request.id)


def test_a_reply_cannot_be_written_elsewhere_by_the_name_of_its_sound(tmp_path: Path) -> None:
    (request,) = made_requests(tmp_path, count=1)
    parcel = pack(Reply(audio=AudioRef(path=request.audio.path, sha256="../../up", seconds=1.0)))
    (tmp_path / "there").mkdir()
    assert unpack(parcel, tmp_path / "there").audio.path.is_relative_to(tmp_path / "there")


# -- a copy -----------------------------------------------------------------------


def test_a_copy_of_other_weights_does_not_answer() -> None:
    found = Worker(blueprint(Echo(), fingerprint="other weights")).load()
    with pytest.raises(UsageError, match=r"system 'echo' has another fingerprint on .* than for the driver"):
        found.result()


def test_a_machine_of_another_version_does_not_answer() -> None:
    with pytest.raises(UsageError, match=r"the driver 9\.9; install the same everywhere"):
        Worker(blueprint(Echo(), version="9.9")).load().result()


class Lacking(Echo):
    """Needs a package that is not there."""

    def load(self) -> None:
        import no_such_package_at_all  # noqa: F401


def test_a_machine_without_a_package_is_named() -> None:
    with pytest.raises(NotInstalled, match="needs the package 'no_such_package_at_all'"):
        Worker(blueprint(Lacking())).load().result()


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (Unavailable("busy", retry_after=7.0), Unavailable, "busy"),
        (StopIteration(), RuntimeError, "StopIteration"),
        (None, TypeError, "system 'stubborn' returned what cannot be sent back"),
    ],
)
def test_whatever_a_copy_does_its_call_ends_in_an_answer(
    error: BaseException | None, kind: type[BaseException], said: str, tmp_path: Path
) -> None:
    worker = Worker(blueprint(far.Stubborn(error)))
    worker.load().result()
    with pytest.raises(kind, match=said):
        answered(worker, tmp_path, made_requests(tmp_path, count=1)[0])
    worker.close()


def test_two_copies_that_name_a_file_of_theirs_say_the_same_error(tmp_path: Path) -> None:
    import re

    names = {re.sub(r"\d+", "#", str(fresh_folder())) for _ in range(3)}
    assert len(names) == 1


def test_a_copy_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "asked").mkdir()
    worker = Worker(blueprint(Echo()))
    worker.load().result()
    request = made_requests(tmp_path / "asked", count=1)[0]
    (tmp_path / "back").mkdir()
    reply = answered(worker, tmp_path / "back", request)
    assert reply.audio.path.read_bytes() == request.audio.path.read_bytes()
    (folder,) = tmp_path.glob("echat-eval-*")
    assert not [path for path in folder.rglob("*") if path.is_file()]
    worker.close()
    assert not list(tmp_path.glob("echat-eval-*"))


# -- who may go -------------------------------------------------------------------


def test_who_stays_here(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    stays = [
        Replay(str(tmp_path)),
        Http(url="http://127.0.0.1:9/"),
        GoldLabels(model="m", url="http://127.0.0.1:9/v1"),
    ]
    assert not [owner.name for owner in stays if ray_executor._movable(owner)]
    goes = [Echo(), Command("cat"), far.Loudness()]
    assert all(ray_executor._movable(owner) for owner in goes)


def test_who_cannot_be_pickled_is_named_before_anything_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_executor, "connected", lambda *_: pytest.fail("ray was begun"))
    system = far.Stubborn()
    system.thread = (number for number in ())
    with (
        pytest.raises(UsageError, match=r"system 'stubborn' cannot be sent to another process: .*generator"),
        ray_executor.ray_workers([system], []),
    ):
        pass


GIVEN = {
    "model": "/m",
    "checkpoint": "x.pt",
    "labels": "a=happy",
    "program": "cat",
    "url": "http://127.0.0.1:9/",
}


@pytest.mark.parametrize(
    ("kind", "table", "name"),
    [("annotator", ANNOTATORS, name) for name in ANNOTATORS]
    + [("system", SYSTEMS, name) for name in SYSTEMS if name != "replay"],
)
def test_all_of_ours_can_be_sent(kind: str, table: Mapping[str, str], name: str, tmp_path: Path) -> None:
    cls = load_named(kind, name, table)
    needed = [p.name for p in inspect.signature(cls).parameters.values() if p.default is p.empty]
    again = unpack(pack(cls(**{key: GIVEN[key] for key in needed})), tmp_path)
    assert type(again) is cls


class Unreachable:
    """A ray that finds no cluster, and remembers how it was asked."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def is_initialized(self) -> bool:
        return False

    def init(self, **asked: Any) -> None:
        self.asked = asked
        raise ConnectionError("nobody answers")

    def shutdown(self) -> None: ...


def test_an_address_where_no_cluster_is() -> None:
    ray = Unreachable()
    with (
        pytest.raises(
            UsageError, match=r"no ray cluster at 'there:6379': nobody answers; begin one with `ray"
        ),
        connected(ray, "there:6379", 2),
    ):
        pass
    # How big it is is not ours to say.
    assert not {"num_cpus", "object_store_memory", "include_dashboard"} & set(ray.asked)


def test_a_cluster_of_our_own_that_does_not_begin() -> None:
    ray = Unreachable()
    with (
        pytest.raises(RunError, match="ray could not begin on this machine: nobody answers"),
        connected(ray, None, 2),
    ):
        pass
    assert (ray.asked["address"], ray.asked["num_cpus"], ray.asked["include_dashboard"]) == (
        "local",
        2,
        False,
    )


class Sized:
    """A cluster of a size."""

    def __init__(self, **have: float) -> None:
        self.have = have

    def cluster_resources(self) -> Mapping[str, float]:
        return self.have


class Device(Echo):
    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device


@pytest.mark.parametrize(
    ("device", "have", "workers", "places"),
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
def test_a_place_per_gpu_or_core(
    device: str, have: dict[str, float], workers: int | None, places: int
) -> None:
    assert Cluster(Sized(**have), [Device(device)], [], workers=workers).places == places


@pytest.mark.parametrize(
    ("device", "have", "said"),
    [
        ("cuda", {"CPU": 4}, "'echo' wants a GPU, and no machine of the ray cluster has one"),
        (
            "cuda:1",
            {"CPU": 4, "GPU": 2},
            "asks for device cuda:1; every worker has one GPU of its own, so write cuda",
        ),
    ],
)
def test_a_device_that_nobody_has(device: str, have: dict[str, float], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Cluster(Sized(**have), [Device(device)], [], workers=None)


def test_a_program_gets_a_gpu_if_it_is_said() -> None:
    have = Sized(CPU=8, GPU=2)
    assert Cluster(have, [Command("cat", gpu=True)], [], workers=None).places == 2
    assert Cluster(have, [Command("cat")], [], workers=None).places == 8


# -- the pool ---------------------------------------------------------------------


class Hired:
    """A worker's handle: `method.remote(...)` gives something with `future()`, as ray's do."""

    def __init__(self, number: int, load: Callable[[], RemoteResult], call: Callable[[Hired], bytes]) -> None:
        self.number, self._load, self._call = number, load, call
        self.gone: Future[None] = Future()

    def __getattr__(self, name: str) -> Any:
        return Sending(self, name)


class Sending:
    def __init__(self, worker: Hired, name: str) -> None:
        self.worker, self.name = worker, name

    def remote(self, *_: Any) -> Sending:
        return self

    def future(self) -> Future[Any]:
        from ray.exceptions import RayActorError

        done: Future[Any] = Future()
        worker = self.worker
        if self.name == "watch":
            return worker.gone
        try:
            if self.name == "close":
                worker.gone.set_result(None)
            done.set_result(
                {"load": worker._load, "call": lambda: worker._call(worker)}.get(self.name, str)()
            )
        except RayActorError as error:
            worker.gone.set_exception(error)
            done.set_exception(error)
        return done


def die(_: Hired) -> bytes:
    from ray.exceptions import RayActorError

    raise RayActorError(error_msg="The actor died.\nIts process was shot.")


def pool_of(
    places: int,
    call: Callable[[Hired], bytes],
    load: Callable[[], RemoteResult] = RemoteResult,
    calls: int = 1,
) -> tuple[Pool, list[Hired]]:
    hired: list[Hired] = []

    def hire(place: int) -> Hired:
        hired.append(Hired(place, load, call))
        return hired[-1]

    return Pool("system 'x'", start=hire, stop=lambda _: None, places=places, calls=calls), hired


async def made(pool: Pool, calls: int) -> list[Any]:
    await pool.load()
    try:
        return await asyncio.gather(
            *(pool.call("respond", b"") for _ in range(calls)), return_exceptions=True
        )
    finally:
        await pool.close()


def test_calls_go_to_every_place() -> None:
    pool, hired = pool_of(3, lambda worker: b"%d" % worker.number)
    assert set(event_loop.run(made(pool, 30))) == {b"0", b"1", b"2"}
    assert len(hired) == 3


def test_two_calls_at_once_go_to_two_workers() -> None:
    pool, _ = pool_of(2, lambda worker: b"%d" % worker.number, calls=3)
    assert set(event_loop.run(made(pool, 2))) == {b"0", b"1"}


def test_a_dead_worker_is_replaced_and_its_call_made_again() -> None:
    shot: list[Hired] = []

    def call(worker: Hired) -> bytes:
        if not shot:
            shot.append(worker)
            die(worker)
        return b"fine"

    pool, hired = pool_of(2, call)
    assert event_loop.run(made(pool, 6)) == [b"fine"] * 6
    assert sorted(worker.number for worker in hired) == sorted([0, 1, shot[0].number])


def test_no_call_costs_more_than_so_many_workers() -> None:
    pool, hired = pool_of(MAX_WORKER_RESTARTS, die)  # one place alone would be given up before
    (error,) = event_loop.run(made(pool, 1))
    assert type(error) is Unavailable
    assert (
        str(error)
        == f"{MAX_WORKER_RESTARTS} workers were lost while they answered this, the last one so: Its process was shot."
    )


def test_places_that_only_lose_workers_are_given_up() -> None:
    pool, hired = pool_of(2, die)
    found = event_loop.run(made(pool, 20))
    assert {type(error) for error in found} == {Unavailable}
    assert any("system 'x' has no worker any more" in str(error) for error in found)
    assert len(hired) <= 2 * (MAX_WORKER_RESTARTS + 1)


@pytest.mark.parametrize(
    ("error", "hirings"),
    [(NotInstalled("no weights"), 1), (RuntimeError("CUDA out of memory"), MAX_WORKER_RESTARTS)],
)
def test_loading_that_fails_is_the_runs_trouble(error: Exception, hirings: int) -> None:
    pool, hired = pool_of(1, die, lambda: RemoteResult(error=Caught.of(error)))
    with pytest.raises(type(error), match=str(error)):
        event_loop.run(made(pool, 1))
    assert len(hired) == hirings


def test_a_cluster_that_begins_no_worker_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "PLACING", 0.01)
    never, _ = pool_of(1, die)
    monkeypatch.setattr(Sending, "future", lambda self: Future())
    with pytest.raises(Unavailable, match=r"the cluster began no worker in 0\.01 s"):
        event_loop.run(made(never, 1))


# -- what stands here for copies ----------------------------------------------------


class Distant:
    """A pool whose only copy takes five seconds by its own clock."""

    async def load(self) -> None: ...

    async def close(self) -> None: ...

    async def call(self, method: str, parcel: bytes) -> bytes:
        return pack(RemoteResult(value=Reply(text=method), seconds=5.0))


def test_latency_is_the_copys_own(tmp_path: Path) -> None:
    away = RemoteProxy(far.Motley(str(tmp_path)), pool=Distant(), calls_at_once=2)
    request = made_requests(tmp_path, count=1)[0]

    async def ask() -> Any:
        await away.load()
        done = await timed(away.respond, request, threads=Threads(1, "none"))
        await away.close()
        return done

    done = event_loop.run(ask())
    assert done.value == Reply(text="respond")
    assert done.seconds == pytest.approx(5.0, abs=1.0)


def test_it_offers_what_its_owner_offers(tmp_path: Path) -> None:
    plain = RemoteProxy(far.Motley(str(tmp_path)), pool=Distant(), calls_at_once=2)
    batched = RemoteProxy(far.Batched(str(tmp_path)), pool=Distant(), calls_at_once=2)
    assert (hasattr(plain, "respond_batch"), hasattr(batched, "respond_batch")) == (False, True)
    assert (batched.batch_size, batched.name, batched.fingerprint()) == (2, "batched", "motley-1")
    assert not hasattr(plain, "annotate")
    assert not hasattr(plain, "respond_to")


# -- the command line ------------------------------------------------------------------


def test_workers_without_a_cluster_are_refused(tmp_path: Path, tones: Path) -> None:
    words = ["--system", "echo", "--task", "emotion", "--data", str(tones), "--annotator", "acoustics"]
    found = CliRunner().invoke(cli_run.run, [*words, "--workers", "2", "--out", str(tmp_path / "run")])
    assert "--workers without --executor ray" in str(found.exception)


def test_without_ray_its_extra_is_named(tmp_path: Path, tones: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *given: Any, **named: Any) -> Any:
        if name.partition(".")[0] == "ray":
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return real(name, *given, **named)

    monkeypatch.setattr(builtins, "__import__", absent)
    with (
        pytest.raises(NotInstalled, match=r"pip install 'echat-eval\[ray\]'"),
        ray_executor.ray_workers([Echo()], []),
    ):
        pass
