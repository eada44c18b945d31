"""Input features of the encoder: audio as 16 kHz mono, then 80 log-mel bands at 100 Hz.

Source of the features: OSUM-EChat, commit f2bcfac, common_utils/utils4infer.py (Whisper's features
without its 30 s padding). The resampler is a windowed sinc with torchaudio's default parameters.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the community's name for it

from echat_eval.errors import NotInstalled, SystemFailure
from echat_eval.osum.model.config import SAMPLE_RATE

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

__all__ = ["RESAMPLER", "check_seconds", "check_wave", "log_mel", "mel_filters", "read_wave", "resample"]

#: Recorded in every manifest: another resampler gives other samples.
RESAMPLER = "windowed sinc, Hann, 6 zero crossings, roll-off 0.99"

WINDOW, HOP = 400, 160  # samples: 25 ms and 10 ms
_ZERO_CROSSINGS, _ROLLOFF = 6, 0.99
#: Output samples per step of resampling; limits memory.
RESAMPLE_CHUNK = 1 << 16


@lru_cache(maxsize=4)
def mel_filters(
    bands: int = 80, *, window: int = WINDOW, rate: int = SAMPLE_RATE, max_hertz: float | None = None
) -> Tensor:
    """Return (bands, window // 2 + 1) triangular filters of equal area on Slaney's mel scale.

    Args:
        bands: number of filters.
        window: FFT size in samples.
        rate: Hz.
        max_hertz: upper end of the last filter; None for half the rate. The first filter starts at 0.
    """
    hertz_per_mel, corner_hertz, corner_mel, log_step = 200.0 / 3, 1000.0, 15.0, math.log(6.4) / 27
    top_mel = corner_mel + math.log((max_hertz or rate / 2) / corner_hertz) / log_step
    mels = np.linspace(0.0, top_mel, bands + 2)
    hertz = np.where(
        mels < corner_mel, mels * hertz_per_mel, corner_hertz * np.exp(log_step * (mels - corner_mel))
    )
    bins = np.linspace(0.0, rate / 2, window // 2 + 1)
    low, peak, high = hertz[:-2, None], hertz[1:-1, None], hertz[2:, None]
    triangles = np.maximum(0.0, np.minimum((bins - low) / (peak - low), (high - bins) / (high - peak)))
    return torch.from_numpy((triangles * 2.0 / (high - low)).astype(np.float32))


def log_mel(wave: Tensor, *, bands: int = 80) -> Tensor:
    """Return the log-mel spectrogram that the encoder was trained on.

    Args:
        wave: (samples,) float32 in [-1, 1], mono, 16 kHz, at least 201 samples.
        bands: 80 for OSUM's encoder.

    Returns:
        (samples // 160, bands) float32.
    """
    hann = torch.hann_window(WINDOW, device=wave.device)
    spectrum = torch.stft(wave, WINDOW, HOP, window=hann, return_complex=True)  # (201, frames + 1)
    power = spectrum[:, :-1].abs().square()
    mel = mel_filters(bands).to(wave.device) @ power  # (bands, frames)
    level = mel.clamp(min=1e-10).log10()
    level = torch.maximum(level, level.max() - 8.0)
    return ((level + 4.0) / 4.0).T.contiguous()


@lru_cache(maxsize=16)
def _sinc_taps(old: int, new: int) -> tuple[Tensor, int]:
    """Return (new, taps) weights, one row per output phase, and their reach to the left in old samples.

    Row i weights the old samples from floor(i * old / new) - reach on. It covers the filter's support only,
    so rates without a common factor cost no more than others.
    """
    cutoff = min(old, new) * _ROLLOFF
    reach = math.ceil(_ZERO_CROSSINGS * old / cutoff)
    phases = torch.arange(new)
    old_samples = (phases * old // new)[:, None] + torch.arange(-reach, reach + 2)  # (new, taps)
    # As in torchaudio, phases are fp32 and the rest fp64; fp64 phases would change the result by 2e-5.
    time = old_samples.double() / old - (phases.float() / new)[:, None]
    time = (time * cutoff).clamp(-_ZERO_CROSSINGS, _ZERO_CROSSINGS)
    hann = torch.cos(time * math.pi / _ZERO_CROSSINGS / 2).square()
    return (torch.sinc(time) * hann * cutoff / old).float(), reach


def resample(wave: Tensor, rate: int, new_rate: int = SAMPLE_RATE) -> Tensor:
    """Return (ceil(samples * new_rate / rate),) float32; the same tensor if the rates are equal.

    Args:
        wave: (samples,) float32.
        rate: Hz of `wave`.
        new_rate: Hz of the result.
    """
    if rate == new_rate:
        return wave
    divisor = math.gcd(rate, new_rate)
    old, new = rate // divisor, new_rate // divisor
    weights, reach = _sinc_taps(old, new)
    weights = weights.to(wave.device)
    windows = F.pad(wave, (reach, reach + 2)).unfold(0, weights.shape[1], 1)
    pieces = [wave[:0]]
    length = -(-len(wave) * new // old)
    for start in range(0, length, RESAMPLE_CHUNK):
        index = torch.arange(start, min(start + RESAMPLE_CHUNK, length), device=wave.device)
        pieces.append((windows[index * old // new] * weights[index % new]).sum(dim=1))
    return torch.cat(pieces)


def check_seconds(seconds: float, *, max_seconds: float, name: str = "audio") -> None:
    """Raise SystemFailure if audio is too long for the model; callable before the file is read."""
    if seconds > max_seconds:
        raise SystemFailure(
            f"{name} lasts {seconds:.1f} s; OSUM-EChat accepts at most {max_seconds:.0f} s: cut it"
        )


def check_wave(wave: Tensor, *, min_samples: int, max_seconds: float, name: str = "audio") -> None:
    """Raise SystemFailure unless the model accepts this 16 kHz waveform."""
    seconds = len(wave) / SAMPLE_RATE
    check_seconds(seconds, max_seconds=max_seconds, name=name)
    if len(wave) < min_samples:
        raise SystemFailure(
            f"{name} lasts {1000 * seconds:.1f} ms; OSUM-EChat needs at least "
            f"{1000 * min_samples / SAMPLE_RATE:.0f} ms, one analysis window"
        )
    finite = torch.isfinite(wave)
    if not bool(finite.all()):
        sample = int((~finite).nonzero()[0])
        raise SystemFailure(
            f"{name} is not a number at sample {sample} of {len(wave)}: fix or remove the file"
        )


def read_wave(path: Path) -> Tensor:
    """Return an audio file as (samples,) float32 at 16 kHz: channels averaged, then resampled.

    Raises:
        NotInstalled: soundfile is missing.
        SystemFailure: the file cannot be decoded.
    """
    try:
        import soundfile
    except ImportError as error:
        raise NotInstalled("reading audio needs soundfile: pip install 'echat-eval[osum]'") from error
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, RuntimeError) as error:
        raise SystemFailure(f"{path}: cannot be read as audio: {error}") from error
    return resample(torch.from_numpy(samples).mean(dim=1), int(rate))
