"""Shared by the voice tests: the golden folder, random speech ids, and a tiny token2wav."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from echat_eval.osum.voice.config import TINY_VOICE
from echat_eval.osum.voice.tiny import random_flow_state, random_hift_state, random_voice
from echat_eval.osum.voice.token2wav import Token2Wav
from echat_eval.osum.voice.weights import build_flow, build_hift

GOLDEN = Path(__file__).resolve().parents[1] / "osum" / "voice" / "golden"


def draw_ids(count: int, *, seed: int | None = None) -> list[int]:
    generator = torch.Generator().manual_seed(count if seed is None else seed)
    return torch.randint(0, 4096, (count,), generator=generator).tolist()


def build_tiny(**settings: Any) -> Token2Wav:
    return Token2Wav(
        build_flow(random_flow_state(), TINY_VOICE.flow, source="tiny"),
        build_hift(random_hift_state(), TINY_VOICE.hift, source="tiny"),
        random_voice(),
        **settings,
    )
