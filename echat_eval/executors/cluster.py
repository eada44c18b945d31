"""A ray cluster, divided into equal places for workers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from echat_eval.errors import RunError, UsageError
from echat_eval.executors.pool import Pool, WorkerHandle
from echat_eval.executors.remote import RemoteProxy
from echat_eval.executors.worker import Blueprint, Worker
from echat_eval.ports import GpuUser, OnDevice, calls_at_once_of

if TYPE_CHECKING:
    from types import ModuleType

    from echat_eval.ports import Annotator, System

__all__ = ["LOCAL", "Cluster", "connection"]

#: Address of a cluster on this machine only, which the run starts and ends.
LOCAL = "local"
#: Default limit on places without a GPU, because each place holds its own copy of the models.
DEFAULT_MAX_PLACES = 8
#: Seconds to wait until a busy cluster has room.
PLACEMENT_TIMEOUT = 300.0
#: Bytes of shared memory of a local cluster. The audio of a call is a few megabytes, and freed soon.
OBJECT_STORE_BYTES = 256 * 2**20


@contextmanager
def connection(ray: ModuleType, address: str | None, workers: int | None) -> Iterator[None]:
    """Connect to a cluster, or start a local one that ends with the block.

    Raises:
        UsageError: no cluster at that address.
        RunError: the local cluster did not start.
    """
    if ray.is_initialized():  # by our caller, who also ends it
        yield
        return
    options: dict[str, object] = {"log_to_driver": False, "logging_level": "ERROR"}
    local = address in (None, LOCAL)
    if local:
        options |= {
            "include_dashboard": False,
            "num_cpus": workers,
            "object_store_memory": OBJECT_STORE_BYTES,
        }
    try:
        ray.init(address=LOCAL if local else address, **options)
    except Exception as error:  # ray raises a bare Exception if it takes too long to start
        ray.shutdown()
        fault = " ".join(str(error).split())[:200]
        if local:
            raise RunError(
                f"ray could not start on this machine: {fault}; see /tmp/ray/session_latest/logs"
            ) from error
        raise UsageError(
            f"no ray cluster at '{address}': {fault}; "
            "start one with `ray start --head`, or omit --ray-address"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


class Cluster:
    """Equal places on a cluster: one per GPU if a system or annotator uses one, otherwise one per core.

    A place holds a copy of the system under evaluation and of every annotator at the same time.

    Args:
        systems, annotators: the objects to copy.
        workers: number of places; by default all, or at most `DEFAULT_MAX_PLACES` without a GPU.
        joining: seconds to wait for more machines while there are fewer places than `workers`.

    Attributes:
        places: number of places.
    """

    def __init__(
        self,
        ray: ModuleType,
        systems: Sequence[System],
        annotators: Sequence[Annotator],
        *,
        workers: int | None,
        joining: float = 0.0,
    ) -> None:
        self._ray = ray
        owners: list[System | Annotator] = [*systems, *annotators]
        preferences = {id(owner): _gpu_preference(owner) for owner in owners}
        deadline = time.monotonic() + joining
        while True:
            resources = ray.cluster_resources()
            gpus, cores = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
            self._gpu_owners = {
                key for key, wants in preferences.items() if wants or (wants is None and gpus)
            }
            available = min(gpus, cores) if self._gpu_owners else cores
            if workers is None or workers <= available or time.monotonic() >= deadline:
                break
            time.sleep(1.0)
        for owner in owners:
            if preferences[id(owner)] and not gpus:
                raise UsageError(f"'{owner.name}' needs a GPU, and no machine of the ray cluster has one")
        self.places = workers or (available if self._gpu_owners else min(available, DEFAULT_MAX_PLACES))
        if self.places > available:
            unit = "GPUs" if self._gpu_owners and gpus <= cores else "cores"
            raise UsageError(
                f"--workers {workers}: one worker per GPU or core, and the cluster has {available} {unit}"
            )
        # Systems run one after another, annotators all the time.
        sharing = int(any(id(system) in self._gpu_owners for system in systems))
        sharing += sum(id(annotator) in self._gpu_owners for annotator in annotators)
        self._gpu_share = int(10_000 / sharing) / 10_000 if sharing else 0.0

    @contextmanager
    def reserved(self) -> Iterator[None]:
        """Reserve the places for the block.

        Raises:
            RunError: other jobs occupy the cluster.
        """
        from ray.util import placement_group, remove_placement_group

        place = {"CPU": 1.0, "GPU": 1.0} if self._gpu_owners else {"CPU": 1.0}
        self._group = placement_group([place] * self.places, strategy="SPREAD")
        try:
            if not self._group.wait(PLACEMENT_TIMEOUT):
                raise RunError(
                    f"the ray cluster had no room for {self.places} workers in {PLACEMENT_TIMEOUT:g} s; "
                    "see `ray status`, or request fewer with --workers"
                )
            yield
        finally:
            remove_placement_group(self._group)

    def proxy(self, owner: System | Annotator, blueprint: Blueprint) -> RemoteProxy:
        """Return the proxy for the copies of a system or annotator."""
        calls = calls_at_once_of(owner)
        stored = self._ray.put(blueprint)
        gpus = self._gpu_share if id(owner) in self._gpu_owners else 0
        pool = Pool(
            blueprint.label,
            start=lambda place: self._start_worker(stored, place, calls, gpus),
            stop=self._ray.kill,
            places=self.places,
            calls=calls,
        )
        return RemoteProxy(owner, pool=pool, calls_at_once=self.places * calls)

    def _start_worker(self, blueprint: object, place: int, calls: int, gpus: float) -> WorkerHandle:
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        actor = self._ray.remote(Worker).options(
            num_cpus=0,
            num_gpus=gpus,
            scheduling_strategy=PlacementGroupSchedulingStrategy(
                self._group, placement_group_bundle_index=place
            ),
            # The pool itself replaces workers and repeats calls.
            max_restarts=0,
            max_task_retries=0,
            # Two more than the calls: `watch` runs for the worker's lifetime, and `close` must not wait.
            max_concurrency=calls + 2,
        )
        handle: WorkerHandle = actor.remote(blueprint)
        return handle


def _gpu_preference(owner: System | Annotator) -> bool | None:
    """Return whether copies of a system or annotator use a GPU, from its `wants_gpu` or its `device`.

    Returns:
        True or False; None: use a GPU if the cluster has any.

    Raises:
        UsageError: `device` names a GPU by number.
    """
    own = owner.device if isinstance(owner, OnDevice) else None
    device = str(own or owner.settings().get("device") or "cpu")
    kind, _, number = device.partition(":")
    if number not in ("", "0"):
        raise UsageError(
            f"'{owner.name}' requests device {device}; every worker has one GPU of its own, so write {kind}"
        )
    if isinstance(owner, GpuUser) and owner.wants_gpu is not None:
        return bool(owner.wants_gpu)
    return None if kind == "auto" else kind == "cuda"
