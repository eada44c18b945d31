"""`--executor`: where systems and annotators run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal

import click

from echat_eval.errors import UsageError
from echat_eval.executors import Placement

if TYPE_CHECKING:
    from echat_eval.ports import Annotator, Oracle, System

__all__ = ["Executor", "executor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Executor:
    """What the options of `executor` chose."""

    executor: Literal["local", "ray"]
    workers: int | None
    ray_address: str | None

    @contextmanager
    def ray_workers(
        self, systems: Sequence[System | Oracle], annotators: Sequence[Annotator]
    ) -> Iterator[Placement]:
        """Give what is to be asked and heard with; copies elsewhere end with the block."""
        if self.executor == "local":
            if self.workers is not None:
                raise UsageError("--workers without --executor ray; here a system's calls_at_once decides")
            yield Placement(systems=list(systems), annotators=list(annotators), facts={"name": "local"})
            return
        from echat_eval.executors.ray_executor import ray_workers

        with ray_workers(systems, annotators, workers=self.workers, address=self.ray_address) as there:
            yield there


def executor(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say where systems and annotators run; pass them as one `where`."""
    names = [field.name for field in fields(Executor)]

    @wraps(command)
    def gathered(**given: Any) -> Any:
        where = Executor(**{name: given.pop(name) for name in names})
        return command(**given, where=where)

    options = [
        click.option(
            "--executor",
            type=click.Choice(["local", "ray"]),
            default="local",
            show_default=True,
            help="Run systems and annotators here, or as copies on a ray cluster.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(1),
            metavar="N",
            help="Copies on the cluster.  [default: one per GPU, else one per core, at most 8]",
        ),
        click.option(
            "--ray-address",
            envvar="RAY_ADDRESS",
            metavar="HOST:PORT",
            help="The cluster's head, or `auto`.  [default: RAY_ADDRESS, else this machine alone]",
        ),
    ]
    made: Callable[..., Any] = gathered
    for option in reversed(options):
        made = option(made)
    return made
