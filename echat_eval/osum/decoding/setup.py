"""The model and the settings of a decode loop, and its counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from echat_eval.osum.decoding.cuda_graphs import CaptureGraph, CudaGraphCache
    from echat_eval.osum.decoding.sampling import Sampling
    from echat_eval.osum.decoding.state import DecodingRules
    from echat_eval.osum.decoding.step import Hook
    from echat_eval.osum.model.model import OsumModel

__all__ = ["DecodingCounts", "DecodingSetup"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DecodingSetup:
    """The model and the settings of a decode loop.

    Attributes:
        model: on its device, in its dtype.
        rules, sampling: the same for all jobs.
        capture_graph: captures fixed steps; None for plain steps.
        sync_every: steps between two reads of the rows' status.
        hook: called with the logits and ids of every step; None for none.
        graph_cache: captured steps and their tensors, shared by consecutive loops.
    """

    model: OsumModel
    rules: DecodingRules
    sampling: Sampling
    capture_graph: CaptureGraph | None
    sync_every: int
    hook: Hook | None
    graph_cache: CudaGraphCache


@dataclass(slots=True)
class DecodingCounts:
    """Decode steps, and replies that began in a slot that had held another."""

    steps: int = 0
    refills: int = 0
