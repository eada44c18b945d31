"""Golden values of the public code, and their inputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from echat_eval.osum.model.config import TINY_REAL_VOCABULARY, AdapterConfig

FOLDER = Path(__file__).resolve().parents[1] / "osum" / "golden"
SEEDS = range(20)
CONFIG = replace(TINY_REAL_VOCABULARY, adapter=AdapterConfig(layers=4, heads=4, ffn=2560))
TEXT = "今天天气真好,我们去公园吧。Let's go!"
TEXT_IDS = np.unique(np.linspace(0, 151935, 64).astype(int))


def golden_wave(seed: int, turn: int = 0) -> torch.Tensor:
    random = np.random.RandomState(1000 + 100 * turn + seed)
    count = int(3200 + random.randint(0, 8000))
    seconds = np.arange(count) / 16000
    pitch = random.uniform(80, 400)
    tone = 0.3 * np.sin(2 * np.pi * pitch * seconds) * np.sin(2 * np.pi * 3 * seconds) ** 2
    return torch.from_numpy((tone + 0.05 * random.standard_normal(count)).astype(np.float32))


def golden() -> dict[str, np.ndarray]:
    with np.load(FOLDER / "public_f2bcfac.npz") as file:
        return {name: file[name] for name in file.files}
