"""Placement of systems and annotators: in this process, or as copies on the machines of a cluster.

The driver sends requests, scores and writes files; the copies only answer. A local run imports only this
module.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from echat_eval.ports import Annotator, Oracle, System

__all__ = ["ExecutorFacts", "Placement"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorFacts:
    """Where systems and annotators run, for the manifest.

    Attributes:
        name: "local" for this process, or the name of an executor.
        workers: number of copies; None in this process.
        version: of the executor's package; None in this process.
    """

    name: str = "local"
    workers: int | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The systems and annotators of a run: local objects, or proxies of remote copies.

    Attributes:
        systems, annotators: in the order of the arguments.
        facts: where they run, for the manifest.
    """

    systems: list[System | Oracle]
    annotators: list[Annotator]
    facts: ExecutorFacts
