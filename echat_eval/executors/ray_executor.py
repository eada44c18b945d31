"""The ray executor: copies of systems and annotators on the cores of this machine or the GPUs of a cluster.

The cluster is divided into equal places; see `Cluster`. Each place holds a copy of the system under
evaluation and of every annotator, as the single GPU of a local run does.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from echat_eval.errors import NotInstalled, UsageError
from echat_eval.executors import Placement
from echat_eval.executors.cluster import LOCAL, Cluster, connection
from echat_eval.executors.pickling import pack
from echat_eval.executors.worker import Blueprint

if TYPE_CHECKING:
    from echat_eval.ports import Annotator, Oracle, System

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
    blueprints = {id(owner): _blueprint(owner) for owner in (*systems, *annotators) if _is_movable(owner)}

    def place(owner: Any, cluster: Cluster) -> Any:
        blueprint = blueprints.get(id(owner))
        return owner if blueprint is None else cluster.proxy(owner, blueprint)

    with connection(ray, address, workers):
        cluster = Cluster(
            ray,
            [system for system in systems if id(system) in blueprints],
            [annotator for annotator in annotators if id(annotator) in blueprints],
            workers=workers,
            joining=JOIN_TIMEOUT if address not in (None, LOCAL) else 0.0,
        )
        with cluster.reserved():
            yield Placement(
                systems=[place(system, cluster) for system in systems],
                annotators=[place(annotator, cluster) for annotator in annotators],
                facts={"name": "ray", "workers": cluster.places, "version": ray.__version__},
            )


def _import_ray() -> Any:
    # Set before the import, because ray reads them only once.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise NotInstalled("--executor ray needs ray: pip install 'echat-eval[ray]'") from error
    return ray


def _is_movable(owner: Any) -> bool:
    if hasattr(owner, "respond_to") or getattr(owner, "runs_here", False):
        return False
    if getattr(owner, "billed_client", None) is not None:  # the driver counts its cost
        return False
    calls = [getattr(owner, name, None) for name in ("respond", "annotate")]
    return not any(inspect.iscoroutinefunction(call) for call in calls)


def _blueprint(owner: Any) -> Blueprint:
    label = f"{'system' if hasattr(owner, 'respond') else 'annotator'} '{owner.name}'"
    try:
        packed = pack(owner)
    except Exception as error:  # the object's own pickling hooks may raise anything
        raise UsageError(
            f"{label} cannot be sent to another process: {' '.join(str(error).split())[:300]}; "
            "create what cannot be pickled in load(), or use --executor local"
        ) from error
    # After packing: the object may cache its fingerprint, and a copy must compute it from its own weights.
    return Blueprint(label=label, packed=packed, fingerprint=owner.fingerprint(), folder=os.getcwd())
