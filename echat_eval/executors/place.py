"""Placement of a run's systems and annotators by the executor that a caller names."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from echat_eval.errors import UnknownName, UsageError
from echat_eval.executors import ExecutorFacts, Placement
from echat_eval.executors.cluster import LOCAL
from echat_eval.plugins import construct

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from echat_eval.ports import Annotator, Oracle, System

__all__ = ["ExecutorSettings", "parse_executor", "place"]

ExecutorName = Literal["local", "ray"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorSettings:
    """Where systems and annotators run.

    Attributes:
        name: "local": in this process; "ray": as workers on a ray cluster.
        workers: number of ray workers; None: one per GPU, else one per core, at most 8.
        address: of the ray head, or "auto"; None: a local cluster.
    """

    name: ExecutorName = "local"
    workers: int | None = None
    address: str | None = None

    @property
    def elsewhere(self) -> str | None:
        """Return the host of a cluster that the run does not start itself, or "auto"; None without one."""
        if self.name == "local" or self.address in (None, LOCAL):
            return None
        return self.address.rpartition("://")[2].lower()

    def __post_init__(self) -> None:
        if self.name not in get_args(ExecutorName):
            raise UnknownName("executor", str(self.name), get_args(ExecutorName))
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"executor '{self.name}': workers={self.workers}: expected 1 or more")
        if self.name == "local" and self.workers is not None:
            raise UsageError("--workers needs --executor ray; in this process, use --set calls_at_once=N")


def parse_executor(given: object) -> ExecutorSettings:
    """Return the settings of an executor.

    Args:
        given: None or "local"; "ray"; or a mapping of settings.

    Raises:
        UnknownName: no executor or setting has this name.
        UsageError: a value of the wrong type.

    >>> parse_executor({"name": "ray", "workers": 2}).workers
    2
    """
    if isinstance(given, ExecutorSettings):
        return given
    if given is not None and not isinstance(given, str | Mapping):
        raise UsageError(f"executor {given!r}: expected 'local', 'ray' or a mapping of settings")
    settings = {} if given is None else {"name": given} if isinstance(given, str) else dict(given)
    found: ExecutorSettings = construct("executor", str(settings.get("name")), ExecutorSettings, settings)
    return found


@contextmanager
def place(
    settings: ExecutorSettings, systems: Sequence[System | Oracle], annotators: Sequence[Annotator]
) -> Iterator[Placement]:
    """Yield the systems and annotators to call; workers on a cluster stop with the block.

    Raises:
        NotInstalled: ray is not installed.
        UsageError: an object cannot be pickled, or the cluster does not exist or is too small.
        RunError: the cluster did not start or had no room.
    """
    if settings.name == "local":
        yield Placement(systems=list(systems), annotators=list(annotators), facts=ExecutorFacts())
        return
    from echat_eval.executors.ray_executor import ray_workers

    with ray_workers(systems, annotators, workers=settings.workers, address=settings.address) as placement:
        yield placement
