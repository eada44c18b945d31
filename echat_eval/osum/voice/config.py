"""Configuration of token2wav: CosyVoice-300M-25Hz, and a tiny version for tests.

Source of the constants: OSUM-EChat, commit f2bcfac, tts/; the upstream CosyVoice recipe, commit ace7c47,
with the frame rate of the 25 Hz release.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from echat_eval.errors import BadData
from echat_eval.io.jsonl import loads
from echat_eval.osum.model.config import sizes_from

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "CONFIG_FILE",
    "EMBEDDING_SIZE",
    "FULL_VOICE",
    "HOP",
    "MELS",
    "SAMPLE_RATE",
    "SPEECH_IDS",
    "TINY_VOICE",
    "TOKENS_PER_SECOND",
    "FlowConfig",
    "HiftConfig",
    "VoiceConfig",
    "mel_frames",
    "read_voice_config",
    "voice_config_from_json",
    "voice_config_to_json",
]

#: Sizes, in the folder of flow.pt and hift.pt; the release has the sizes of `FULL_VOICE` and no such file.
CONFIG_FILE = "token2wav.json"

#: Hz, of the waveform and of the mel frames.
SAMPLE_RATE = 22_050
#: Samples between mel frames.
HOP = 256
#: Mel bands.
MELS = 80
#: Speech tokens per second.
TOKENS_PER_SECOND = 25
#: Speech ids run from 0 to SPEECH_IDS - 1; 4096 and above are markers of the language model.
SPEECH_IDS = 4096
#: Size of a speaker embedding.
EMBEDDING_SIZE = 192


def mel_frames(tokens: int) -> int:
    """Return the number of mel frames for `tokens` speech tokens.

    Evaluated left to right in float64, as upstream does: the order affects the last frame.

    >>> [mel_frames(n) for n in (0, 1, 2, 40, 41, 100)]
    [0, 3, 6, 137, 141, 344]
    """
    return int(tokens / TOKENS_PER_SECOND * SAMPLE_RATE / HOP)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowConfig:
    """Flow matching: a token encoder, a length regulator and a velocity estimator.

    Attributes:
        width: of the token embedding and the encoder.
        layers, heads, feed_forward: of the encoder.
        channels: of the estimator, at both frame rates.
        blocks: transformer blocks after each residual block of the estimator.
        mid_stages: stages of the estimator at half the frame rate.
        estimator_heads, head_size: of the estimator's attention.
        groups: of the estimator's group norms.
        regulator_stages: convolutions of the length regulator, the last excluded.
        steps: of the Euler solver.
        guidance: g of v = (1 + g) v_with_conditions - g v_without.
    """

    width: int
    layers: int
    heads: int
    feed_forward: int
    channels: int
    blocks: int
    mid_stages: int
    estimator_heads: int
    head_size: int
    groups: int = 8
    regulator_stages: int = 4
    steps: int = 10
    guidance: float = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class HiftConfig:
    """The HiFT vocoder: filtered harmonics and noise, and an inverse STFT.

    Attributes:
        channels: after the first convolution; halved by each up-sampling.
        pitch_channels: of the pitch predictor.
        harmonics: number of sines at 1, 2, ... times the pitch.
        sine_amplitude, voiced_noise: amplitude of a voiced sine and of the noise on it.
        voiced_above: Hz; at or below it a frame is unvoiced.
        strides, kernels: of the up-sampling convolutions.
        n_fft, hop: samples, of the final STFT.
        residual_kernels: one residual block each; the blocks are averaged.
        source_kernels: of the residual blocks of the source, one per up-sampling.
        dilations: in every residual block.
        slope: of the leaky ReLUs before the up-samplings; the last leaky ReLU has 0.01.
        loudest_bin: upper limit of a bin's magnitude.
        limit: upper limit of the absolute value of a sample.
    """

    channels: int
    pitch_channels: int
    harmonics: int = 9
    sine_amplitude: float = 0.1
    voiced_noise: float = 0.003
    voiced_above: float = 10.0
    strides: tuple[int, ...] = (8, 8)
    kernels: tuple[int, ...] = (16, 16)
    n_fft: int = 16
    hop: int = 4
    residual_kernels: tuple[int, ...] = (3, 7, 11)
    source_kernels: tuple[int, ...] = (7, 11)
    dilations: tuple[int, ...] = (1, 3, 5)
    slope: float = 0.1
    loudest_bin: float = 100.0
    limit: float = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceConfig:
    """The two parts of token2wav."""

    flow: FlowConfig
    hift: HiftConfig


#: The released CosyVoice-300M-25Hz: 104,874,752 and 20,460,591 parameters.
FULL_VOICE = VoiceConfig(
    flow=FlowConfig(
        width=512,
        layers=6,
        heads=8,
        feed_forward=2048,
        channels=256,
        blocks=4,
        mid_stages=12,
        estimator_heads=8,
        head_size=64,
    ),
    hift=HiftConfig(channels=512, pitch_channels=512),
)

#: The same key names in a size for tests.
TINY_VOICE = VoiceConfig(
    flow=FlowConfig(
        width=32,
        layers=1,
        heads=2,
        feed_forward=64,
        channels=32,
        blocks=1,
        mid_stages=1,
        estimator_heads=2,
        head_size=8,
    ),
    hift=HiftConfig(channels=32, pitch_channels=16),
)


def voice_config_to_json(config: VoiceConfig) -> str:
    """Return the sizes as one line of JSON with sorted keys."""
    return json.dumps(asdict(config), sort_keys=True)


def voice_config_from_json(text: str) -> VoiceConfig:
    """Return the sizes written by `voice_config_to_json`.

    Raises:
        BadData: not JSON, entries missing, or entries unknown to this version.
    """
    kinds: dict[str, type] = {"flow": FlowConfig, "hift": HiftConfig}
    try:
        values = loads(text)
        parts: dict[str, object] = {name: sizes_from(kind, values.pop(name)) for name, kind in kinds.items()}
        return sizes_from(VoiceConfig, {**values, **parts})
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise BadData(f"not the sizes of a token2wav: {error}; expected flow and hift") from error


def read_voice_config(folder: Path) -> VoiceConfig:
    """Return the sizes from `token2wav.json` of a folder, or `FULL_VOICE` if there is none.

    Raises:
        BadData: the file is broken.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        return FULL_VOICE
    try:
        return voice_config_from_json(path.read_text(encoding="utf-8"))
    except BadData as error:
        raise BadData(f"{path}: {error}") from error
