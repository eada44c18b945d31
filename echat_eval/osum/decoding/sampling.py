"""Drawing the next token from logits, with the same result alone or in a batch.

Every request has its own seed. Its uniform numbers are drawn on the CPU before decoding starts, one per step,
so neither its neighbours in a batch nor the device can change them.

Source of the order (penalty, temperature, top-k, top-p) and of the treatment of ties: transformers 4.44.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["GREEDY", "Sampling", "draw_uniforms", "penalise", "pick"]

#: How many tokens that tie with the k-th best one are kept in addition to it.
TIES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Sampling parameters. `top_k` 1 is greedy; `top_p` 1 and `repetition_penalty` 1 are off."""

    top_k: int = 1
    top_p: float = 1.0
    temperature: float = 1.0
    repetition_penalty: float = 1.0


GREEDY = Sampling()


def draw_uniforms(seeds: Sequence[int], steps: int) -> Tensor:
    """Return (rows, steps) float64 in [0, 1): row i depends on seeds[i] alone, step t not on `steps`."""
    return torch.from_numpy(np.stack([np.random.default_rng(seed).random(steps) for seed in seeds]))


def penalise(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Return logits (B, V); where `seen` (B, V), divided by the penalty, or multiplied by it if negative."""
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def pick(logits: Tensor, sampling: Sampling, uniforms: Tensor) -> Tensor:
    """Return one id per row.

    Candidates are ordered by id, not by probability: two whose probabilities differ by less than rounding
    could otherwise swap places, and the same uniform number would select another id.

    Args:
        logits: (B, V) float32.
        sampling: the same for all rows.
        uniforms: (B,) float64 in [0, 1).
    """
    if sampling.top_k == 1:
        return logits.argmax(dim=1)
    limit = min(sampling.top_k, logits.shape[1])
    best, ids = (logits / sampling.temperature).topk(min(limit + TIES, logits.shape[1]), dim=1)  # (B, K)
    best = best.masked_fill(best < best[:, limit - 1 : limit], -torch.inf)
    probabilities = best.double().softmax(dim=1)
    if sampling.top_p < 1:
        # Drop a token if it and all less likely ones together have at most 1 - p; the best always stays.
        tail = probabilities.flip(1).cumsum(1).flip(1)
        dropped = tail <= 1 - sampling.top_p
        dropped[:, 0] = False
        probabilities = probabilities.masked_fill(dropped, 0.0)
    ids, order = ids.sort(dim=1)
    cumulative = probabilities.gather(1, order).cumsum(1)  # (B, K)
    index = (cumulative <= uniforms[:, None] * cumulative[:, -1:]).sum(1, keepdim=True)
    return ids.gather(1, index.clamp(max=ids.shape[1] - 1))[:, 0]
