"""Prompts of usual shapes, read by captured graphs: copied in, replayed, and the last states copied out.

Reading one prompt launches more than a thousand kernels; a replay launches one. A graph belongs to a number
of prompts, a padded length and a shared prefix, so only usual shapes have one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from echat_eval.osum.decoding.prompt_graph import CapturedPrompts

if TYPE_CHECKING:
    from torch import Tensor

    from echat_eval.osum.decoding.setup import DecodingSetup
    from echat_eval.osum.decoding.slot_tensors import SlotTensors
    from echat_eval.osum.model.kv_cache import KVCache

__all__ = ["captured_prompts", "counts_of"]

#: Longest prompts that are captured, and the most at once; 10 s of audio take about 150 positions.
USUAL_LENGTH, USUAL_COUNT = 512, 8


def captured_prompts(
    setup: DecodingSetup,
    tensors: SlotTensors,
    x: Tensor,
    rows: Tensor,
    lengths: Tensor,
    prefix: KVCache | None,
) -> CapturedPrompts | None:
    """Return the graph for prompts of these shapes, captured if there is none yet; None for unusual shapes.

    Args:
        setup: model and settings.
        tensors: of captured runs.
        x, rows, lengths: real prompts, which a capture reads to warm up.
        prefix: of all prompts; None without.
    """
    count, length = x.shape[:2]
    if setup.capture_graph is None or count not in counts_of(count) or length > USUAL_LENGTH:
        return None
    shape = count, length, id(prefix)
    if shape not in tensors.prompts:
        decoder, cache = setup.model.decoder, tensors.cache
        x, rows, lengths = x.clone(), rows.clone(), lengths.clone()
        last, numbers = x.new_zeros(count, x.shape[2]), torch.arange(count, device=x.device)

        def read() -> None:
            outputs = decoder.read(x, cache, rows=rows, prefix=prefix)
            last.copy_(outputs[numbers, lengths - 1])

        replay = setup.capture_graph(read, [])
        tensors.prompts[shape] = CapturedPrompts(
            x=x, rows=rows, lengths=lengths, last=last, prefix=prefix, replay=replay
        )
    return tensors.prompts[shape]


def counts_of(count: int) -> list[int]:
    """Return the numbers of prompts into which to divide `count`, so that graphs for few numbers serve all.

    >>> counts_of(21)
    [8, 8, 4, 1]
    """
    parts = [USUAL_COUNT] * (count // USUAL_COUNT)
    left = count % USUAL_COUNT
    return parts + [bit for bit in (4, 2, 1) if left & bit]
