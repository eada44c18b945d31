"""Copies of systems and annotators as ray actors: on this machine's cores, or on every GPU of a cluster.

The cluster is cut into equal places, one per GPU where anybody wants one. Each place holds one copy of
the system that is being asked and of every annotator, as the one GPU of a local run would.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from echat_eval.errors import NotInstalled, UsageError
from echat_eval.executors import Placement
from echat_eval.executors.cluster import LOCAL, Cluster, connected
from echat_eval.executors.pickling import pack
from echat_eval.executors.worker import Blueprint

if TYPE_CHECKING:
    from echat_eval.ports import Annotator, Oracle, System

__all__ = ["ray_workers"]

#: Seconds that machines may take to join a cluster, where `workers` says that more will come.
JOINING = 120.0


@contextmanager
def ray_workers(
    systems: Sequence[System | Oracle],
    annotators: Sequence[Annotator],
    *,
    workers: int | None = None,
    address: str | None = None,
) -> Iterator[Placement]:
    """Make room on a cluster for copies; what was started here is ended with the block.

    Oracles, which see the answers, stay here; so does who waits for a network (a coroutine function:
    its limits are of one process) and who says `runs_here`.

    Args:
        workers: places; by default one per GPU where anybody wants one, else one per core, at most 8.
        address: of a ray cluster; by default one of this machine alone.

    Raises:
        NotInstalled: no ray.
        UsageError: who cannot be pickled; no cluster there; a cluster that is too small.
        RunError: the cluster had no room for us.
    """
    ray = _ray()
    plans = {id(owner): _blueprint(owner) for owner in (*systems, *annotators) if _movable(owner)}
    with connected(ray, address, workers):
        cluster = Cluster(
            ray,
            [s for s in systems if id(s) in plans],
            [a for a in annotators if id(a) in plans],
            workers=workers,
            joining=JOINING if address not in (None, LOCAL) else 0.0,
        )
        with cluster.room():
            yield Placement(
                systems=[cluster.away(s, plans[id(s)]) if id(s) in plans else s for s in systems],
                annotators=[cluster.away(a, plans[id(a)]) if id(a) in plans else a for a in annotators],
                facts={"name": "ray", "workers": cluster.places, "version": ray.__version__},
            )


def _ray() -> Any:
    # Said before ray is imported: it reads them once.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise NotInstalled("--executor ray needs ray: pip install 'echat-eval[ray]'") from error
    return ray


def _movable(owner: Any) -> bool:
    if hasattr(owner, "respond_to") or getattr(owner, "runs_here", False):
        return False
    if getattr(owner, "billed_client", None) is not None:  # what it spends is counted here
        return False
    calls = [getattr(owner, name, None) for name in ("respond", "annotate")]
    return not any(inspect.iscoroutinefunction(call) for call in calls)


def _blueprint(owner: Any) -> Blueprint:
    what = f"{'system' if hasattr(owner, 'respond') else 'annotator'} '{owner.name}'"
    try:
        packed = pack(owner)
    except Exception as error:  # what pickle raises is whatever the object's own hooks raise
        raise UsageError(
            f"{what} cannot be sent to another process: {' '.join(str(error).split())[:300]}; "
            "keep what cannot be pickled out of it until load(), or use --executor local"
        ) from error
    # Asked after packing: what it remembers of its own weights must not stand in for another machine's.
    return Blueprint(what=what, packed=packed, fingerprint=owner.fingerprint(), folder=os.getcwd())
