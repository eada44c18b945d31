"""Faster decode steps of fixed shape: compiled layers and draws, and the whole step captured as a CUDA graph.

The CUDA part has never run on a GPU: it was written without one. Tests on a CPU show the rest: a fixed step
draws the same ids as a plain one, it compiles into one graph without a break, and a warm-up restores the
state exactly, which capturing needs.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Literal

import torch

from echat_eval.osum.decoding.step import choose_fixed, enter, leave
from echat_eval.osum.model.decoder import CompiledParts
from echat_eval.osum.model.memory import is_oom

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from echat_eval.osum.decoding.prompt_graph import CapturedPrompts
    from echat_eval.osum.decoding.row_states import RowStates
    from echat_eval.osum.decoding.sampling import Sampling
    from echat_eval.osum.decoding.state import DecodingRules
    from echat_eval.osum.decoding.step import Heads
    from echat_eval.osum.model.decoder import Decoder
    from echat_eval.osum.model.kv_cache import KVCache

    #: (step, its state) -> a function that runs the step again.
    CaptureGraph = Callable[[Callable[[], None], Sequence[Tensor]], Callable[[], None]]

__all__ = [
    "STEPS",
    "CudaGraphCache",
    "Steps",
    "compile_steps",
    "graph_capture",
    "prepare",
    "resolve",
    "warm_up",
]

logger = logging.getLogger(__name__)

#: How decode steps run; "recorded" replays CUDA graphs, "auto" is "compiled" on a GPU and "plain" on a CPU.
Steps = Literal["auto", "plain", "recorded", "compiled"]
STEPS: tuple[Steps, ...] = ("auto", "plain", "recorded", "compiled")

#: Programs that dynamo may make of one function.
MAX_PROGRAMS = 32
#: Runs of a step before it is captured: libraries choose kernels and workspaces in the first run.
WARM_UPS = 2
#: torch allows one capture at a time in a process, whatever the device.
_CAPTURING = threading.Lock()


def warm_up(step: Callable[[], None], state: Sequence[Tensor], *, times: int = WARM_UPS) -> None:
    """Run a step and restore its state; keys and values are not restored, the real step writes them again."""
    saved = [tensor.clone() for tensor in state]
    try:
        for _ in range(times):
            step()
    finally:
        for tensor, before in zip(state, saved, strict=True):
            tensor.copy_(before)


def resolve(steps: Steps, device: torch.device) -> Steps:
    """Return the way to run steps on a device: "auto" is replaced, and on a CPU all steps are plain."""
    if device.type != "cuda":
        return "plain"
    return "compiled" if steps == "auto" else steps


def graph_capture(steps: Steps, decoder: Decoder, device: torch.device) -> CaptureGraph | None:
    """Return a function that captures resolved steps on this device; None to run them plainly.

    If layers cannot be compiled, the step is captured without compilation; if it cannot be captured, it runs
    plainly. Both log a warning.
    """
    if device.type != "cuda" or steps == "plain":
        return None
    if steps == "compiled" and not decoder.compiled.steps:
        compile_steps(decoder)
    pool = torch.cuda.graph_pool_handle()
    # Of this device: by default, torch captures on a stream of the device that captured first.
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def warm_up_on_side_stream(step: Callable[[], None], state: Sequence[Tensor]) -> None:
        current = torch.cuda.current_stream(device)
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            warm_up(step, state)
        current.wait_stream(stream)

    def capture(step: Callable[[], None], state: Sequence[Tensor]) -> Callable[[], None]:
        prepare(lambda: warm_up_on_side_stream(step, state), decoder)
        graph = torch.cuda.CUDAGraph()
        try:
            # Capturing runs no kernel, so the state does not change.
            with (
                _CAPTURING,
                torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"),
            ):
                step()
        except RuntimeError as error:
            if is_oom(error):
                raise
            logger.warning("a decode step cannot be captured (%s); it runs without a graph, slower", error)
            return step
        replay: Callable[[], None] = graph.replay
        return replay

    return capture


def prepare(run_warm_up: Callable[[], None], decoder: Decoder) -> None:
    """Run a warm-up; if compiled parts fail in it, log a warning, drop them, and run it again without."""
    try:
        run_warm_up()
    except Exception as error:  # dynamo's limit of programs and some backends raise no RuntimeError
        if is_oom(error) or not decoder.compiled.steps:
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        logger.warning("the decoder cannot be compiled (%s); it runs uncompiled, slower", reason)
        decoder.compiled = CompiledParts()
        run_warm_up()


def compile_steps(decoder: Decoder, *, backend: str | Callable[..., Any] = "inductor") -> None:
    """Compile the parts of a step, and the layers for prompts.

    One program serves all layers, and all numbers of rows and positions: with a program per shape, dynamo's
    limit on programs would end an engine after some calls. Draws need a program for each kind of reply.
    """
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, MAX_PROGRAMS)

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        made: Callable[..., Any] = torch.compile(function, fullgraph=True, dynamic=True, backend=backend)
        return made

    decoder.compiled = CompiledParts(
        steps=[compiled(layer) for layer in decoder.layers],
        reads=[compiled(read) for read in decoder.reads()],
        plan=compiled(decoder.plan),
        norm=compiled(decoder.norm),
        draw=compiled(choose_fixed),
        enter=compiled(enter),
        leave=compiled(leave),
    )


class CudaGraphCache:
    """Captured steps, and the tensors that they address, kept for the next call.

    Attributes:
        key: rules, sampling and rows that the graphs were captured for.
        kv_cache, states: the tensors.
        graphs: the captured steps, by heads, rows and width.
        prompts: the captured prompts, by number, padded length and prefix.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Drop all graphs and tensors."""
        self.key: tuple[DecodingRules, Sampling, int] | None = None
        self.kv_cache: KVCache | None = None
        self.states: RowStates | None = None
        self.graphs: dict[tuple[Heads, int, int], Callable[[], None]] = {}
        self.prompts: dict[tuple[int, int, int], CapturedPrompts] = {}
