"""The HiFT vocoder: mel frames to a waveform, through pitch, harmonics, filters and an inverse STFT.

All rows of a batch have the same length, so there is no padding and batching does not change the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - the community's name for it
from torch import Tensor, nn

from echat_eval.osum.voice.config import HOP, MELS, SAMPLE_RATE

if TYPE_CHECKING:
    from echat_eval.osum.voice.config import HiftConfig

__all__ = ["Hift", "SourceNoise"]

#: Avoids division by zero for a learned frequency.
EPSILON = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceNoise:
    """The noise input of the vocoder.

    Attributes:
        phases: (B, harmonics) float32, uniform in [-pi, pi): initial phase of each sine, 0 for the first.
        hiss: (B, harmonics, samples) float32, standard normal.
        cycles: (B, harmonics) float64, of the sines before the first sample; None at the start of a reply.
    """

    phases: Tensor
    hiss: Tensor
    cycles: Tensor | None = None


class Snake(nn.Module):
    """x + sin(a x)^2 / a, with one frequency a per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, T) from x (B, C, T)."""
        alpha = self.alpha[:, None]
        return torch.addcmul(x, torch.sin(x * alpha).square_(), 1.0 / (alpha + EPSILON))


class ResBlock(nn.Module):
    """x + conv(snake(dilated_conv(snake(x)))), once per dilation."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, dilation=d, padding=(kernel - 1) * d // 2)
            for d in dilations
        )
        self.convs2 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, padding=(kernel - 1) // 2) for _ in dilations
        )
        self.activations1 = nn.ModuleList(Snake(channels) for _ in dilations)
        self.activations2 = nn.ModuleList(Snake(channels) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, T) from x (B, C, T)."""
        for snake1, conv1, snake2, conv2 in zip(
            self.activations1, self.convs1, self.activations2, self.convs2, strict=True
        ):
            x = x + conv2(snake2(conv1(snake1(x))))
        return x


class PitchPredictor(nn.Module):
    """Pitch in Hz per mel frame, from five convolutions and a linear layer."""

    def __init__(self, config: HiftConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels in (MELS, *[config.pitch_channels] * 4):
            layers += [nn.Conv1d(channels, config.pitch_channels, 3, padding=1), nn.ELU()]
        self.condnet = nn.Sequential(*layers)
        self.classifier = nn.Linear(config.pitch_channels, 1)

    def forward(self, mel: Tensor) -> Tensor:
        """Return (B, M) Hz, not negative, from mel (B, 80, M)."""
        hertz: Tensor = self.classifier(self.condnet(mel).transpose(1, 2)).squeeze(-1).abs()
        return hertz


class HarmonicSource(nn.Module):
    """Sines at multiples of the pitch in voiced frames, plus noise in all frames, mixed to one channel."""

    def __init__(self, config: HiftConfig) -> None:
        super().__init__()
        self.config = config
        self.l_linear = nn.Linear(config.harmonics, 1)

    def cycles(self, pitch: Tensor, before: Tensor | None = None) -> Tensor:
        """Return (B, H, M + 1) float64 cycles of every sine before each of the frames, and after the last.

        Args:
            pitch: (B, M) Hz.
            before: (B, H) float64 cycles before the first frame; None for 0.
        """
        multiples = torch.arange(1, self.config.harmonics + 1, device=pitch.device)[:, None]
        a_frame = pitch.double()[:, None] * multiples * (HOP / SAMPLE_RATE)
        cycles = F.pad(torch.cumsum(a_frame, dim=-1), (1, 0))
        return cycles if before is None else cycles + before[..., None]

    def forward(self, pitch: Tensor, noise: SourceNoise) -> Tensor:
        """Return (B, 256 M) in (-1, 1) from pitch (B, M) Hz."""
        config = self.config
        # Whole cycles are dropped in float64 at the start of each frame, so that a long reply stays exact.
        starts = self.cycles(pitch, noise.cycles)[..., :-1].remainder_(1).float()  # (B, H, M)
        multiples = torch.arange(1, config.harmonics + 1, device=pitch.device)[:, None]
        samples = torch.arange(1, HOP + 1, device=pitch.device)
        steps = (pitch[:, None] * multiples / SAMPLE_RATE)[..., None]  # cycles a sample
        cycles = torch.addcmul(starts[..., None], steps, samples).flatten(2)  # (B, H, 256 M)
        phases = F.pad(noise.phases[:, 1:], (1, 0))  # the first sine starts at 0
        sines = torch.sin(2 * torch.pi * cycles + phases[..., None]).mul_(config.sine_amplitude)
        hertz = pitch.repeat_interleave(HOP, dim=1)[:, None]  # (B, 1, 256 M)
        voiced = (hertz > config.voiced_above).float()
        loudness = voiced * config.voiced_noise + (1 - voiced) * (config.sine_amplitude / 3)
        mixed = self.l_linear((sines * voiced + loudness * noise.hiss).transpose(1, 2))
        return torch.tanh(mixed).squeeze(-1)


class Hift(nn.Module):
    """The vocoder, with folded weight norms."""

    window: Tensor

    def __init__(self, config: HiftConfig) -> None:
        super().__init__()
        self.config = config
        bins = config.n_fft + 2  # real and imaginary parts, or magnitude and phase
        widths = [config.channels // 2**i for i in range(len(config.strides) + 1)]
        self.f0_predictor = PitchPredictor(config)
        self.m_source = HarmonicSource(config)
        self.conv_pre = nn.Conv1d(MELS, config.channels, 7, padding=3)
        self.ups = nn.ModuleList(
            nn.ConvTranspose1d(wide, narrow, kernel, stride, padding=(kernel - stride) // 2)
            for (wide, narrow), kernel, stride in zip(
                pairwise(widths), config.kernels, config.strides, strict=True
            )
        )
        # The source is down-sampled to the rate after up-sampling i, where it is added.
        rates = [1]
        for stride in config.strides[:0:-1]:
            rates.insert(0, rates[0] * stride)
        self.source_downs = nn.ModuleList(
            nn.Conv1d(bins, width, 1)
            if rate == 1
            else nn.Conv1d(bins, width, 2 * rate, rate, padding=rate // 2)
            for rate, width in zip(rates, widths[1:], strict=True)
        )
        self.source_resblocks = nn.ModuleList(
            ResBlock(width, kernel, config.dilations)
            for width, kernel in zip(widths[1:], config.source_kernels, strict=True)
        )
        self.resblocks = nn.ModuleList(
            ResBlock(width, kernel, config.dilations)
            for width in widths[1:]
            for kernel in config.residual_kernels
        )
        self.conv_post = nn.Conv1d(widths[-1], bins, 7, padding=3)
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)

    def forward(self, mel: Tensor, noise: SourceNoise) -> Tensor:
        """Return the waveform.

        Args:
            mel: (B, 80, M) float32 log-mel, M >= 1.
            noise: phases (B, 9) and hiss (B, 9, 256 M).

        Returns:
            (B, 256 M) float32 in [-0.99, 0.99] at 22,050 Hz.
        """
        return self.filter(mel, self.m_source(self.f0_predictor(mel), noise))

    def filter(self, mel: Tensor, source: Tensor) -> Tensor:
        """Return the waveform (B, 256 M) of mel (B, 80, M), excited by source (B, 256 M)."""
        config = self.config
        spectrum = torch.stft(
            source, config.n_fft, config.hop, window=self.window, center=True, return_complex=True
        )
        excitation = torch.cat([spectrum.real, spectrum.imag], dim=1)  # (B, 18, 64 M + 1)
        blocks_per_stage = len(config.residual_kernels)
        x = self.conv_pre(mel)
        for number, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, config.slope))
            if number == len(self.ups) - 1:
                x = F.pad(x, (1, 0), mode="reflect")  # the STFT has one frame more than hops
            x = x + self.source_resblocks[number](self.source_downs[number](excitation))
            first, *others = self.resblocks[number * blocks_per_stage : (number + 1) * blocks_per_stage]
            total = first(x)
            for block in others:
                total += block(x)
            x = total / blocks_per_stage
        x = self.conv_post(F.leaky_relu(x))
        magnitude, phase = x.chunk(2, dim=1)  # (B, 9, 64 M + 1) each
        bins = torch.polar(magnitude.exp().clamp(max=config.loudest_bin), phase.sin())
        wave = torch.istft(bins, config.n_fft, config.hop, window=self.window, center=True)
        return wave.clamp(-config.limit, config.limit)
