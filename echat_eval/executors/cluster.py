"""A ray cluster, cut into equal places for workers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from echat_eval.errors import RunError, UsageError
from echat_eval.executors.pool import Pool
from echat_eval.executors.remote import RemoteProxy
from echat_eval.executors.worker import Blueprint, Worker

__all__ = ["LOCAL", "Cluster", "connected"]

#: The address of a cluster of this machine alone, begun and ended by the run.
LOCAL = "local"
#: Places by default where nobody wants a GPU: each holds its own copy of the models.
MOST_PLACES = 8
#: Seconds that a cluster at work for others may take to have room for us.
ROOM = 300.0
#: Bytes of shared memory of a cluster of our own; a call's sound is megabytes at most, and soon gone.
STORE = 256 * 2**20


@contextmanager
def connected(ray: Any, address: str | None, workers: int | None) -> Iterator[None]:
    """Be connected to a cluster; a cluster of our own ends with the block.

    Raises:
        UsageError: there is none at that address.
    """
    if ray.is_initialized():  # by whoever calls us, and theirs to end
        yield
        return
    quiet: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    own = address in (None, LOCAL)
    if own:
        quiet |= {"num_cpus": workers, "object_store_memory": STORE}
    else:
        del quiet["include_dashboard"]
    try:
        ray.init(address=LOCAL if own else address, **quiet)
    except Exception as error:  # ray raises a bare Exception where it took too long to begin
        ray.shutdown()
        said = " ".join(str(error).split())[:200]
        if own:
            raise RunError(
                f"ray could not begin on this machine: {said}; see /tmp/ray/session_latest/logs"
            ) from error
        raise UsageError(
            f"no ray cluster at '{address}': {said}; "
            "begin one with `ray start --head`, or leave --ray-address out"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


class Cluster:
    """Equal places on a cluster: one per GPU where anybody wants one, else one per core.

    A place holds one copy of everybody at once: of the system that is being asked and of every annotator.

    Args:
        systems, annotators: who will have copies.
        workers: places; see `MOST_PLACES` for the default.
        joining: seconds to wait for more machines while there are fewer places than that.

    Attributes:
        places: how many.
    """

    def __init__(
        self,
        ray: Any,
        systems: Sequence[Any],
        annotators: Sequence[Any],
        *,
        workers: int | None,
        joining: float = 0.0,
    ) -> None:
        self._ray = ray
        owners = (*systems, *annotators)
        wishes = {id(owner): _gpu_wish(owner) for owner in owners}
        deadline = time.monotonic() + joining
        while True:
            have = ray.cluster_resources()
            gpus, cores = int(have.get("GPU", 0)), int(have.get("CPU", 0))
            self._hungry = {key for key, wish in wishes.items() if wish or (wish is None and gpus)}
            most = min(gpus, cores) if self._hungry else cores
            if workers is None or workers <= most or time.monotonic() >= deadline:
                break
            time.sleep(1.0)
        for owner in owners:
            if wishes[id(owner)] and not gpus:
                raise UsageError(f"'{owner.name}' wants a GPU, and no machine of the ray cluster has one")
        self.places = workers or (most if self._hungry else min(most, MOST_PLACES))
        if self.places > most:
            what = "GPUs" if self._hungry and gpus <= cores else "cores"
            raise UsageError(
                f"--workers {workers}: one worker per GPU or core, and the cluster has {most} {what}"
            )
        # Systems follow one another; the annotators are there all the time.
        at_once = any(id(s) in self._hungry for s in systems) + sum(id(a) in self._hungry for a in annotators)
        self._share = int(10_000 / at_once) / 10_000 if at_once else 0.0

    @contextmanager
    def room(self) -> Iterator[None]:
        """Hold the places.

        Raises:
            RunError: others hold them.
        """
        from ray.util import placement_group, remove_placement_group

        place = {"CPU": 1.0, "GPU": 1.0} if self._hungry else {"CPU": 1.0}
        self._room = placement_group([place] * self.places, strategy="SPREAD")
        try:
            if not self._room.wait(ROOM):
                raise RunError(
                    f"the ray cluster has had no room for {self.places} workers in {ROOM:g} s; "
                    "see `ray status`, or ask for fewer with --workers"
                )
            yield
        finally:
            remove_placement_group(self._room)

    def away(self, owner: Any, plan: Blueprint) -> Any:
        """Return what stands here for the owner's copies."""
        calls = max(1, getattr(owner, "calls_at_once", 1))
        sent = self._ray.put(plan)
        pool = Pool(
            plan.what,
            start=lambda place: self._worker(
                sent, place, calls, self._share if id(owner) in self._hungry else 0
            ),
            stop=self._ray.kill,
            places=self.places,
            calls=calls,
        )
        return RemoteProxy(owner, pool=pool, calls_at_once=self.places * calls)

    def _worker(self, plan: Any, place: int, calls: int, gpus: float) -> Any:
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        where = PlacementGroupSchedulingStrategy(self._room, placement_group_bundle_index=place)
        made = self._ray.remote(Worker).options(
            num_cpus=0,
            num_gpus=gpus,
            scheduling_strategy=where,
            # The pool begins another one itself, and knows which calls to make again.
            max_restarts=0,
            max_task_retries=0,
            # Besides the calls: `watch` lasts as long as the worker, and `close` must not wait for a call.
            max_concurrency=calls + 2,
        )
        return made.remote(plan)


def _gpu_wish(owner: Any) -> bool | None:
    """Say whether copies of a system or annotator go onto GPUs: its `wants_gpu`, or else its `device`.

    Returns:
        None: only where there are any.

    Raises:
        UsageError: it names one GPU of several.
    """
    device = str(getattr(owner, "device", None) or dict(owner.settings()).get("device") or "cpu")
    kind, _, number = device.partition(":")
    if number not in ("", "0"):
        raise UsageError(
            f"'{owner.name}' asks for device {device}; every worker has one GPU of its own, so write {kind}"
        )
    said = getattr(owner, "wants_gpu", None)
    if said is not None:
        return bool(said)
    return None if kind == "auto" else kind == "cuda"
