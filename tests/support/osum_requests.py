"""Numbered generation requests, and the ids of replies."""

from __future__ import annotations

import random
from typing import Any

import torch

from echat_eval.osum.prompts.modes import GenerationRequest

#: Lengths in samples: odd and even frame counts, and counts around the eight frames of one position.
LENGTHS = (400, 801, 1120, 1280, 1441, 4801, 8000, 16001, 16160, 24159, 3201, 12345)


def make_requests(count: int, start: int = 0) -> list[GenerationRequest]:
    requests = []
    for n in range(start, start + count):
        generator = torch.Generator().manual_seed(n)
        wave = 0.2 * torch.randn(LENGTHS[n % len(LENGTHS)], generator=generator)
        requests.append(GenerationRequest(wave=wave, text="words " * (1 + n % 5), seed=100 + n))
    return requests


def shuffled(count: int, *, seed: int) -> list[int]:
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return order


def ids_of(replies: Any) -> list[tuple[int, ...]]:
    return [reply.ids for reply in replies]
