"""The ray executor: copies of systems and annotators on the cores of this machine or the GPUs of a cluster.

The cluster is divided into equal places; see `Cluster`. Each place holds a copy of the system under
evaluation and of every annotator, as the single GPU of a local run does.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from echat_eval.errors import NotInstalled, UsageError
from echat_eval.executors import ExecutorFacts, Placement
from echat_eval.executors.cluster import LOCAL, Cluster, connection
from echat_eval.executors.pickling import pack
from echat_eval.executors.worker import Blueprint
from echat_eval.ports import Billed, Oracle, RunsInDriver, System

if TYPE_CHECKING:
    from types import ModuleType

    from echat_eval.ports import Annotator

__all__ = ["ray_workers"]

#: Seconds to wait for machines to join a remote cluster while it has fewer places than `workers`.
JOIN_TIMEOUT = 120.0


@contextmanager
def ray_workers(
    systems: Sequence[System | Oracle],
    annotators: Sequence[Annotator],
    *,
    workers: int | None = None,
    address: str | None = None,
) -> Iterator[Placement]:
    """Place copies on a cluster for the block, and stop them at its end.

    Some objects stay in the driver: oracles, because they see the gold labels; coroutine functions, because
    their limits hold for one process; clients with a cost account; and systems with `runs_here`.

    Args:
        workers: number of places; by default one per GPU if one is used, otherwise one per core, at most 8.
        address: of a ray cluster; by default a local one is started.

    Raises:
        NotInstalled: ray is not installed.
        UsageError: an object cannot be pickled, or the cluster does not exist or is too small.
        RunError: the cluster did not start or had no room.
    """
    ray = _import_ray()
    movable_systems = [s for s in systems if not isinstance(s, Oracle) and _is_movable(s)]
    movable_annotators = [a for a in annotators if _is_movable(a)]
    system_blueprints = {id(s): _blueprint(f"system '{s.name}'", s) for s in movable_systems}
    annotator_blueprints = {id(a): _blueprint(f"annotator '{a.name}'", a) for a in movable_annotators}

    with connection(ray, address, workers):
        cluster = Cluster(
            ray,
            movable_systems,
            movable_annotators,
            workers=workers,
            joining=JOIN_TIMEOUT if address not in (None, LOCAL) else 0.0,
        )
        with cluster.reserved():
            yield Placement(
                systems=[
                    system
                    if isinstance(system, Oracle) or id(system) not in system_blueprints
                    else cast("System", cluster.proxy(system, system_blueprints[id(system)]))
                    for system in systems
                ],
                annotators=[
                    annotator
                    if id(annotator) not in annotator_blueprints
                    else cast("Annotator", cluster.proxy(annotator, annotator_blueprints[id(annotator)]))
                    for annotator in annotators
                ],
                facts=ExecutorFacts(name="ray", workers=cluster.places, version=ray.__version__),
            )


def _import_ray() -> ModuleType:
    # Set before the import, because ray reads them only once.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise NotInstalled("--executor ray needs ray: pip install 'echat-eval[ray]'") from error
    module: ModuleType = ray
    return module


def _is_movable(owner: System | Oracle | Annotator) -> bool:
    """Return whether copies of a system or annotator may run on workers."""
    if isinstance(owner, Oracle) or (isinstance(owner, RunsInDriver) and owner.runs_here):
        return False  # an oracle sees the gold labels
    if isinstance(owner, Billed) and owner.billed_client is not None:  # the driver counts its cost
        return False
    call = owner.respond if isinstance(owner, System) else owner.annotate
    return not inspect.iscoroutinefunction(call)


def _blueprint(label: str, owner: System | Annotator) -> Blueprint:
    try:
        packed = pack(owner)
    except Exception as error:  # the object's own pickling hooks may raise anything
        raise UsageError(
            f"{label} cannot be sent to another process: {' '.join(str(error).split())[:300]}; "
            "create what cannot be pickled in load(), or use --executor local"
        ) from error
    # After packing, as the object may cache the fingerprint; a copy must compute it from its own weights.
    return Blueprint(label=label, packed=packed, fingerprint=owner.fingerprint(), folder=os.getcwd())
