"""OSUM-EChat with a voice on tiny random files, and requests of noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from echat_eval.io.audio import write_wav
from echat_eval.osum.checkpoint.tensor_names import TIED
from echat_eval.osum.checkpoint.tiny import make_tiny
from echat_eval.osum.voice.config import CONFIG_FILE, TINY_VOICE, voice_config_to_json
from echat_eval.osum.voice.tiny import random_flow_state, random_hift_state, random_voice
from echat_eval.osum.voice.voice import save_voice
from echat_eval.records import Request, Waveform


def write_tiny_osum(folder: Path) -> dict[str, str]:
    """Write a checkpoint and a voice named `me`; return the settings of a system that uses them."""
    checkpoint = make_tiny(folder / "lm")
    tensors = torch.load(checkpoint, weights_only=True)
    tensors["speech_head.bias"][4096] += 3.0  # likelier ends, so that replies have text and speech
    tensors[TIED[0]][511] *= 1.3
    torch.save(tensors, checkpoint)
    release = folder / "voice"
    release.mkdir()
    torch.save(random_flow_state(), release / "flow.pt")
    torch.save(random_hift_state(), release / "hift.pt")
    (release / CONFIG_FILE).write_text(voice_config_to_json(TINY_VOICE), encoding="utf-8")
    save_voice(random_voice(), folder / "me.safetensors", consent="for tests")
    return {
        "checkpoint": str(checkpoint),
        "token2wav": str(release),
        "voice": str(folder / "me.safetensors"),
    }


def noise_requests(folder: Path, count: int) -> list[Request]:
    """Return requests of noise, each of another length."""
    found = []
    for number in range(count):
        samples = 0.1 * np.random.RandomState(number).standard_normal(4000 + 700 * number)
        voice = Waveform(samples=samples.astype(np.float32), sample_rate=16_000)
        found.append(Request(id=f"q{number}", audio=write_wav(voice, folder), language="und"))
    return found
