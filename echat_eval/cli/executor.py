"""`--executor`: run systems and annotators in this process or on a ray cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import click

from echat_eval.cli.options import with_options

__all__ = ["ExecutorOptions", "executor_options"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorOptions:
    """Values of the options that `executor_options` adds."""

    executor: Literal["local", "ray"] | None
    workers: int | None
    ray_address: str | None

    def settings(self) -> dict[str, Any] | None:
        """Return the executor as `api.evaluate` takes it; None: not given."""
        if self.executor is None and self.workers is None:
            return None
        return {"name": self.executor or "local", "workers": self.workers, "address": self.ray_address}


def executor_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that select the executor; pass them on as `executor`."""
    decorators = [
        click.option(
            "--executor",
            type=click.Choice(["local", "ray"]),
            help="Run systems and annotators in this process (local, the default) or as workers on a ray "
            "cluster.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(1),
            metavar="N",
            help="Number of ray workers.  [default: one per GPU, else one per core, at most 8]",
        ),
        click.option(
            "--ray-address",
            envvar="RAY_ADDRESS",
            metavar="HOST:PORT",
            help="Address of the ray head, or `auto`.  [default: RAY_ADDRESS, else a local cluster]",
        ),
    ]
    return with_options(command, ExecutorOptions, "executor", decorators)
