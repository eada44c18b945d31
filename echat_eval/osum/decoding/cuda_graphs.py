"""Making a fixed step fast: recorded as a CUDA graph, its layers compiled first.

None of the CUDA side has ever run on a GPU: it was written without one. What a CPU can show is tested there:
that a fixed step makes the same ids as a plain one, that it compiles into one graph without a break, and that
what it needs for recording, the restoring of its state, is exact.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

import torch

from echat_eval.osum.model.memory import is_oom

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from echat_eval.osum.decoding.sampling import Sampling
    from echat_eval.osum.decoding.slots import Slots
    from echat_eval.osum.decoding.state import DecodingRules
    from echat_eval.osum.decoding.step import Heads
    from echat_eval.osum.model.decoder import Decoder
    from echat_eval.osum.model.kv_cache import KVCache

    #: (step, its state) -> something that does the step again.
    CudaGraph = Callable[[Callable[[], None], Sequence[Tensor]], Callable[[], None]]

__all__ = ["STEPS", "CudaGraphCache", "Steps", "compile_layers", "prepare", "recorder", "rehearse", "resolve"]

logger = logging.getLogger(__name__)

#: "auto" is "compiled" on a GPU and "plain" on a CPU.
Steps = Literal["auto", "plain", "recorded", "compiled"]
STEPS: tuple[Steps, ...] = ("auto", "plain", "recorded", "compiled")

#: Runs of a step before it is recorded: libraries choose their kernels and workspaces in the first.
REHEARSALS = 2


def rehearse(step: Callable[[], None], state: Sequence[Tensor], *, times: int = REHEARSALS) -> None:
    """Run a step and put its state back; keys and values are not state, the real step writes them again."""
    saved = [tensor.clone() for tensor in state]
    try:
        for _ in range(times):
            step()
    finally:
        for tensor, before in zip(state, saved, strict=True):
            tensor.copy_(before)


def resolve(steps: Steps, device: torch.device) -> Steps:
    """Return what "auto" means on a device; on a CPU everything is plain."""
    if device.type != "cuda":
        return "plain"
    return "compiled" if steps == "auto" else steps


def recorder(steps: Steps, decoder: Decoder, device: torch.device) -> CudaGraph | None:
    """Return how to record resolved steps on this device; None to run them plainly.

    What cannot be compiled is recorded as it is, and what cannot be recorded runs as it is, with a warning.
    """
    if device.type != "cuda" or steps == "plain":
        return None
    if steps == "compiled" and not decoder.compiled:
        compile_layers(decoder)
    pool = torch.cuda.graph_pool_handle()

    def aside(step: Callable[[], None], state: Sequence[Tensor]) -> None:
        current, stream = torch.cuda.current_stream(device), torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            rehearse(step, state)
        current.wait_stream(stream)

    def record(step: Callable[[], None], state: Sequence[Tensor]) -> Callable[[], None]:
        prepare(lambda: aside(step, state), decoder)
        graph = torch.cuda.CUDAGraph()
        try:
            # Nothing runs while it is recorded, so the state is still that of before.
            with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                step()
        except RuntimeError as error:
            if is_oom(error):
                raise
            logger.warning("a decode step cannot be recorded (%s); it runs as it is, which is slower", error)
            return step
        replay: Callable[[], None] = graph.replay
        return replay

    return record


def prepare(rehearsal: Callable[[], None], decoder: Decoder) -> None:
    """Rehearse a step; if its compiled layers fail, let go of them, say so, and rehearse it without."""
    try:
        rehearsal()
    except RuntimeError as error:
        if is_oom(error) or not decoder.compiled:
            raise
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        logger.warning("the decoder cannot be compiled (%s); it runs as it is, which is slower", first)
        decoder.compiled = []
        rehearsal()


def compile_layers(decoder: Decoder, *, backend: str = "inductor") -> None:
    """Compile the decoder's layers for single new positions: one program serves all layers."""
    decoder.compiled = [torch.compile(layer, fullgraph=True, backend=backend) for layer in decoder.layers]


class CudaGraphCache:
    """What recorded steps know by address, kept for the next call, which then need not record them anew.

    Attributes:
        kind: rules, sampling and rows that it serves.
        cache, slots: the tensors.
        recorded: the steps, by heads, rows and width.
    """

    def __init__(self) -> None:
        self.drop()

    def drop(self) -> None:
        """Let go of everything."""
        self.kind: tuple[DecodingRules, Sampling, int] | None = None
        self.cache: KVCache | None = None
        self.slots: Slots | None = None
        self.recorded: dict[tuple[Heads, int, int], Callable[[], None]] = {}
