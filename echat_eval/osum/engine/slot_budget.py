"""How many requests fit a GPU's free memory at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from echat_eval.osum.model.kv_cache import kv_bytes

if TYPE_CHECKING:
    from echat_eval.osum.model.config import OsumConfig
    from echat_eval.osum.model.model import OsumModel

__all__ = ["CPU_SLOTS", "PROMPT_POSITIONS", "free_slots", "slots_for"]

#: Requests decoded together on a CPU, where more gain little.
CPU_SLOTS = 8
#: More slots add little: products are then bound by arithmetic, not by reading the weights.
MAX_SLOTS = 64
#: Positions of a prompt for which every slot has room: 80 s of audio, or a dialogue of several turns.
PROMPT_POSITIONS = 1024
#: Bytes left free for activations, encoder batches, the voice, CUDA graphs and other users of the GPU.
RESERVE = 4 << 30
#: Float32 copies of the text logits of a row that drawing needs at once.
LOGIT_COPIES = 6


def slots_for(config: OsumConfig, *, free: int, max_new_tokens: int, itemsize: int) -> int:
    """Return how many slots fit, a power of two from 1 to `MAX_SLOTS`.

    Args:
        free: bytes, with the weights loaded.
        max_new_tokens: limit on the ids of a reply.
        itemsize: bytes of a key or value.

    >>> from echat_eval.osum.model.config import FULL
    >>> [slots_for(FULL, free=gib << 30, max_new_tokens=2000, itemsize=2) for gib in (3, 6, 9, 130)]
    [1, 16, 32, 64]
    """
    positions = PROMPT_POSITIONS + max_new_tokens
    each = kv_bytes(config.decoder, rows=1, max_positions=positions, itemsize=itemsize)
    each += LOGIT_COPIES * 4 * config.decoder.vocab
    slots = 1
    while slots < MAX_SLOTS and 2 * slots * each <= free - RESERVE:
        slots *= 2
    return slots


def free_slots(model: OsumModel, *, max_new_tokens: int) -> int:
    """Return how many slots fit the memory that is free now; `CPU_SLOTS` on a CPU."""
    if model.device.type != "cuda":
        return CPU_SLOTS
    free, _ = torch.cuda.mem_get_info(model.device)
    return slots_for(model.config, free=free, max_new_tokens=max_new_tokens, itemsize=model.dtype.itemsize)
