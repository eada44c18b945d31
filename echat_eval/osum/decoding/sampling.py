"""How the next token is drawn from logits: apart from the model, and the same alone or in a batch.

Every request brings its seed; its uniform numbers are drawn on the CPU before decoding starts, one per
step, so neither its neighbours in a batch nor the device can change them.

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

#: Room for tokens that tie with the k-th best one; they are all kept.
TIES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to draw. `top_k` 1 is greedy; `top_p` 1 and `repetition_penalty` 1 are off."""

    top_k: int = 1
    top_p: float = 1.0
    temperature: float = 1.0
    repetition_penalty: float = 1.0


GREEDY = Sampling()


def draw_uniforms(seeds: Sequence[int], steps: int) -> Tensor:
    """Return (rows, steps) float64 in [0, 1): row i depends on seeds[i] alone, step t not on `steps`."""
    return torch.from_numpy(np.stack([np.random.default_rng(seed).random(steps) for seed in seeds]))


def penalise(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Return logits (B, V), those of `seen` (B, V) ids divided by the penalty, or multiplied if negative."""
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def pick(logits: Tensor, sampling: Sampling, uniforms: Tensor) -> Tensor:
    """Return one id per row.

    Candidates stand in the order of their ids, not of their probability: two that differ by less
    than rounding would otherwise trade places, and with them the meaning of a uniform number.

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
    chances = best.double().softmax(dim=1)
    if sampling.top_p < 1:
        # A token goes if it and all less likely ones together have at most 1 - p; the best always stays.
        tail = chances.flip(1).cumsum(1).flip(1)
        cut = tail <= 1 - sampling.top_p
        cut[:, 0] = False
        chances = chances.masked_fill(cut, 0.0)
    ids, order = ids.sort(dim=1)
    reached = chances.gather(1, order).cumsum(1)  # (B, K)
    place = (reached <= uniforms[:, None] * reached[:, -1:]).sum(1, keepdim=True)
    return ids.gather(1, place.clamp(max=ids.shape[1] - 1))[:, 0]
