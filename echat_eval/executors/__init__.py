"""Where systems and annotators run: in this process, or as copies on the machines of a cluster.

The driver alone asks, scores and writes; a copy only answers. A local run imports nothing but this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from echat_eval.ports import Annotator, Oracle, System

__all__ = ["Placement"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What a run is made with: its own, or what stands for copies elsewhere.

    Attributes:
        systems, annotators: in the order they were given.
        facts: for the manifest: the executor's `name`, and what else is to be known of it.
    """

    systems: list[System | Oracle]
    annotators: list[Annotator]
    facts: dict[str, Any]
