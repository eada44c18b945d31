"""Requests by number, and replies to compare."""

from __future__ import annotations

import random
from typing import Any

import torch

from echat_eval.osum.prompts.modes import GenerationRequest

#: Samples: odd and even frame counts, and counts around the eight that make one position.
LENGTHS = (400, 801, 1120, 1280, 1441, 4801, 8000, 16001, 16160, 24159, 3201, 12345)


def asks(count: int, start: int = 0) -> list[GenerationRequest]:
    made = []
    for n in range(start, start + count):
        chance = torch.Generator().manual_seed(n)
        wave = 0.2 * torch.randn(LENGTHS[n % len(LENGTHS)], generator=chance)
        made.append(GenerationRequest(wave=wave, text="words " * (1 + n % 5), seed=100 + n))
    return made


def shuffled(count: int, *, seed: int) -> list[int]:
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return order


def ids_of(replies: Any) -> list[tuple[int, ...]]:
    return [reply.ids for reply in replies]
