"""The shapes of fixed steps: which exist, how one is captured, and capturing the usual ones in advance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from echat_eval.osum.decoding.slot_tensors import GRAPH_WIDTH, SlotTensors
from echat_eval.osum.decoding.step import Heads, advance, choose_fixed

if TYPE_CHECKING:
    from collections.abc import Callable

    from echat_eval.osum.decoding.cuda_graphs import CaptureGraph
    from echat_eval.osum.decoding.setup import DecodingSetup
    from echat_eval.osum.decoding.state import DecodingRules

__all__ = ["capture_usual_steps", "captured_step", "heads_for"]

#: Steps up to this width are captured in advance: 10 s of audio and a spoken reply of 30 s fit it.
USUAL_WIDTH = 1024


def text_rows_for(count: int) -> int:
    """Return for how many rows to evaluate the text head if `count` write text: 0, 2, 8, 32, ..."""
    rows = 2 * bool(count)
    while rows < count:
        rows *= 4
    return rows


def heads_for(rules: DecodingRules, *, writing: int, stepped: int) -> Heads:
    """Return the heads that a fixed step evaluates.

    Args:
        rules: the same for all rows.
        writing: the most rows in use that write text.
        stepped: rows of the step.
    """
    if rules.ends_with_text:
        return Heads(text_rows=stepped, speech=False)
    if rules.starts_in_speech:
        return Heads(text_rows=0, speech=True)
    if rules.blocks is not None:
        return Heads(text_rows=stepped, speech=True)
    return Heads(text_rows=min(text_rows_for(writing), stepped), speech=True)


def captured_step(
    setup: DecodingSetup, tensors: SlotTensors, capture_graph: CaptureGraph, heads: Heads, *, width: int
) -> Callable[[], None]:
    """Return the captured step of these shapes; capture it if there is none yet."""
    shape = heads, tensors.stepped, width
    if shape not in tensors.graphs:
        decoder, active, cache = setup.model.decoder, tensors.active, tensors.cache

        def step() -> None:
            (decoder.compiled.draw or choose_fixed)(decoder, active, heads)
            advance(decoder, active, cache, width=width)

        tensors.graphs[shape] = capture_graph(step, active.tensors())
    return tensors.graphs[shape]


@torch.inference_mode()
def capture_usual_steps(setup: DecodingSetup, slots: int, *, longest: int) -> int:
    """Capture the steps of all numbers of rows up to `USUAL_WIDTH`, kept in the graph cache; return how many.

    Args:
        setup: with a function that captures; nothing happens without.
        slots: as in the runs to come.
        longest: positions of the longest usual prompt; a longer one needs other tensors and graphs.
    """
    if setup.capture_graph is None:
        return 0
    tensors = SlotTensors(setup, slots)
    tensors.open(slots, longest)
    rows = 1
    while True:
        stepped = tensors.widen(min(rows, slots))
        heads = dict.fromkeys(
            heads_for(setup.rules, writing=writing, stepped=stepped) for writing in range(stepped + 1)
        )
        for width in range(GRAPH_WIDTH, USUAL_WIDTH + 1, GRAPH_WIDTH):
            for one in heads:
                if width < tensors.cache.max_positions:
                    captured_step(setup, tensors, setup.capture_graph, one, width=width)
        if stepped >= slots:
            return len(tensors.graphs)
        rows = 2 * stepped
