"""Placement of systems and annotators: in this process, or as copies on the machines of a cluster.

The driver sends requests, scores and writes files; the copies only answer. A local run imports only this
module.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from echat_eval.ports import Annotator, Oracle, System

__all__ = ["Placement"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The systems and annotators of a run: local objects, or proxies of remote copies.

    Attributes:
        systems, annotators: in the order of the arguments.
        facts: for the manifest: `name` of the executor, and further facts about it.
    """

    systems: list[System | Oracle]
    annotators: list[Annotator]
    facts: dict[str, Any]
