"""A tiny random token2wav with the official key names, for tests and demonstrations.

It generates noise, not words, through the same code paths as the full size.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from echat_eval.osum.voice.config import (
    CONFIG_FILE,
    EMBEDDING_SIZE,
    MELS,
    SPEECH_IDS,
    TINY_VOICE,
    voice_config_to_json,
)
from echat_eval.osum.voice.flow_matching import FlowMatching
from echat_eval.osum.voice.tensor_names import flow_origins, hift_origins, official_shapes
from echat_eval.osum.voice.vocoder import Hift
from echat_eval.osum.voice.voice import Voice, save_voice

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from echat_eval.osum.voice.config import FlowConfig, HiftConfig

__all__ = ["random_flow_state", "random_hift_state", "random_voice", "write_tiny_release"]

#: Hz: mean of the pitch, equal to the voicing threshold, and its spread. The phase sums up the pitch over
#: time: a wider spread would amplify rounding errors of the mel frames without limit.
PITCH_MEAN, PITCH_SPREAD = 10.0, 1.0


def random_flow_state(config: FlowConfig = TINY_VOICE.flow, *, seed: int = 0) -> dict[str, Tensor]:
    """Return random tensors of a flow.pt of this size by official name, float32 on the CPU."""
    with torch.device("meta"):
        flow = FlowMatching(config)
    return fill(official_shapes(flow_origins(flow)), seed=seed)


def random_hift_state(config: HiftConfig = TINY_VOICE.hift, *, seed: int = 0) -> dict[str, Tensor]:
    """Return random tensors of a hift.pt of this size by official name, float32 on the CPU."""
    with torch.device("meta"):
        hift = Hift(config)
    state = fill(official_shapes(hift_origins(hift)), seed=seed)
    state["f0_predictor.classifier.weight"] *= PITCH_SPREAD
    state["f0_predictor.classifier.bias"].fill_(PITCH_MEAN)
    state["m_source.l_linear.weight"] *= 0.25
    # Magnitudes of about exp(-1.5) keep the waveform within its limit.
    state["conv_post.parametrizations.weight.original0"] *= 0.3
    state["conv_post.bias"][: config.n_fft // 2 + 1] -= 1.5
    return state


def random_voice(*, seed: int = 0, tokens: int = 7, frames: int = 24) -> Voice:
    """Return a random voice: `tokens` speech ids, `frames` mel frames and an embedding."""
    generator = torch.Generator().manual_seed(seed)
    return Voice(
        tokens=torch.randint(0, SPEECH_IDS, (tokens,), generator=generator).numpy(),
        mel=torch.randn(frames, MELS, generator=generator).numpy(),
        embedding=torch.randn(EMBEDDING_SIZE, generator=generator).numpy(),
    )


def write_tiny_release(folder: Path, *, seed: int = 0) -> None:
    """Write flow.pt, hift.pt, token2wav.json and voice.safetensors of TINY_VOICE into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(random_flow_state(seed=seed), folder / "flow.pt")
    torch.save(random_hift_state(seed=seed), folder / "hift.pt")
    save_voice(random_voice(seed=seed), folder / "voice.safetensors")
    (folder / CONFIG_FILE).write_text(voice_config_to_json(TINY_VOICE) + "\n", encoding="utf-8")


def fill(shapes: Mapping[str, tuple[int, ...]], *, seed: int) -> dict[str, Tensor]:
    """Return random parameters that keep activations stable: gains near 1, matrices scaled by fan-in."""
    generator = torch.Generator().manual_seed(seed)
    return {name: draw(name, shapes[name], generator) for name in sorted(shapes)}


def draw(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Return one random parameter, scaled by its kind, which name and shape determine."""
    normal = torch.randn(shape, generator=generator)
    if name == "input_embedding.weight":
        return normal
    if name.endswith(("original0", "alpha")) or (name.endswith("weight") and len(shape) == 1):
        return (0.2 * normal).exp()
    if len(shape) == 1 or name.endswith(("pos_bias_u", "pos_bias_v")):
        return 0.1 * normal
    return normal / math.sqrt(math.prod(shape[1:]))
