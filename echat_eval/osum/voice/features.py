"""Features of a voice recording, for the two graphs and for the flow.

Source of the constants: OSUM-EChat, commit f2bcfac, tts/cosyvoice/cli/frontend.py and its callees.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F  # noqa: N812 - the community's name for it
from torch import Tensor

from echat_eval.osum.model.features import mel_filters
from echat_eval.osum.voice.config import HOP, MELS, SAMPLE_RATE

__all__ = ["GRAPH_RATE", "speaker_features", "tokenizer_features", "voice_mel"]

#: Hz, input of both graphs.
GRAPH_RATE = 16_000
#: Mel bands of the speech tokenizer.
TOKENIZER_MELS = 128
#: Kaldi frames in samples at 16 kHz: a window of 25 ms every 10 ms, and the FFT size.
KALDI_WINDOW, KALDI_HOP, KALDI_FFT = 400, 160, 512
#: Hz, lower end of the first Kaldi mel band.
KALDI_LOW = 20.0


def voice_mel(wave: Tensor) -> Tensor:
    """Return the log-mel frames of the prompt, which the flow continues.

    Args:
        wave: (N,) float32 in [-1, 1] at 22,050 Hz, N > 384.

    Returns:
        (N // 256, 80) float32, natural logarithm of magnitudes, floor log(1e-5).
    """
    n_fft = 1024
    padding = (n_fft - HOP) // 2
    padded = F.pad(wave[None], (padding, padding), mode="reflect")[0]
    spectrum = torch.stft(
        padded, n_fft, HOP, window=torch.hann_window(n_fft), center=False, return_complex=True
    )
    magnitude = torch.sqrt(torch.view_as_real(spectrum).square().sum(dim=-1) + 1e-9)
    filters = mel_filters(MELS, window=n_fft, rate=SAMPLE_RATE, max_hertz=8000.0)
    return (filters @ magnitude).clamp(min=1e-5).log().T.contiguous()


def tokenizer_features(wave: Tensor) -> Tensor:
    """Return the log-mel input of the speech tokenizer: Whisper's, with 128 bands and no padding to 30 s.

    Args:
        wave: (N,) float32 in [-1, 1] at 16 kHz, N > 200.

    Returns:
        (128, N // 160) float32.
    """
    n_fft, hop = 400, 160
    spectrum = torch.stft(wave, n_fft, hop, window=torch.hann_window(n_fft), return_complex=True)
    power = spectrum[:, :-1].abs().square()
    filters = mel_filters(TOKENIZER_MELS, window=n_fft, rate=GRAPH_RATE)
    logs = (filters @ power).clamp(min=1e-10).log10()
    return (torch.maximum(logs, logs.max() - 8.0) + 4.0) / 4.0


@lru_cache(maxsize=1)
def kaldi_filters() -> Tensor:
    """Return (80, 257) triangular filters, equally wide on Kaldi's mel scale, 20 Hz to Nyquist."""

    def to_mel(hertz: Tensor) -> Tensor:
        return 1127.0 * torch.log1p(hertz / 700.0)

    low, high = to_mel(torch.tensor([KALDI_LOW, GRAPH_RATE / 2], dtype=torch.float64))
    edges = torch.linspace(float(low), float(high), MELS + 2, dtype=torch.float64)
    bins = to_mel(torch.linspace(0, GRAPH_RATE / 2, KALDI_FFT // 2 + 1, dtype=torch.float64))
    left, centre, right = (edges[i : i + MELS, None] for i in range(3))
    triangles = torch.minimum((bins - left) / (centre - left), (right - bins) / (right - centre))
    return triangles.clamp(min=0).float()


def speaker_features(wave: Tensor) -> Tensor:
    """Return the input of the speaker graph: Kaldi's filter bank without dither, minus its mean over time.

    Args:
        wave: (N,) float32 in [-1, 1], not scaled to 16 bits, at 16 kHz, N >= 400.

    Returns:
        (1 + (N - 400) // 160, 80) float32.
    """
    frames = wave.unfold(0, KALDI_WINDOW, KALDI_HOP)  # (T, 400)
    frames = frames - frames.mean(dim=1, keepdim=True)
    previous = F.pad(frames[None], (1, 0), mode="replicate")[0, :, :-1]
    povey = torch.hann_window(KALDI_WINDOW, periodic=False).pow(0.85)
    power = torch.fft.rfft((frames - 0.97 * previous) * povey, n=KALDI_FFT).abs().square()
    logs = (power @ kaldi_filters().T).clamp(min=torch.finfo(torch.float32).eps).log()
    centred: Tensor = logs - logs.mean(dim=0)
    return centred
