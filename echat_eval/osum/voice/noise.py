"""The noise of a reply: a function of its seed and of the position, or drawn in the order of upstream.

Noise from a counter is the same on every device, alone and in a batch, and for a window of a reply as for the
whole: nothing is drawn one after the other. Each number is the SplitMix64 hash of a key and a counter, which
is exact in integers everywhere; Box and Muller's transform makes normal numbers of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from echat_eval.osum.voice.config import HOP, MELS

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["NOISES", "Noise", "NoiseKind", "draw_noise", "hiss_at", "phases_of", "start_at"]

#: "counter": see above. "upstream": the numbers that the public code draws on a CPU; for whole replies only.
NoiseKind = Literal["counter", "upstream"]
NOISES: tuple[NoiseKind, ...] = ("counter", "upstream")

#: Keys of one seed, one for each kind of number.
START, PHASES, HISS = 1, 2, 3
#: SplitMix64: the step between counters and the multipliers, as signed numbers of 64 bits.
GOLDEN = -0x61C8864680B583EB
MIX_1, MIX_2 = -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15
#: Counters of neighbouring channels are this far apart: no reply has as many frames or samples.
CHANNEL = 1 << 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """The noise of one reply.

    Attributes:
        start: (80, F + M) float32, standard normal: the initial state of the flow.
        phases: (harmonics,) float32, uniform in [-pi, pi).
        hiss: (harmonics, 256 M) float32, standard normal.
    """

    start: Tensor
    phases: Tensor
    hiss: Tensor


def draw_noise(generator: torch.Generator, *, prompt_frames: int, frames: int, harmonics: int) -> Noise:
    """Draw the noise of a reply in the order of upstream: start, phases, hiss.

    A CPU generator seeded with s gives the numbers that upstream draws on a CPU after torch.manual_seed(s).
    """
    device = generator.device
    start = torch.randn(MELS, prompt_frames + frames, generator=generator, device=device)
    uniform = torch.rand(harmonics, generator=generator, device=device)
    hiss = torch.randn(harmonics, frames * HOP, generator=generator, device=device)
    return Noise(start=start, phases=uniform * (2 * torch.pi) - torch.pi, hiss=hiss)


def start_at(seeds: Sequence[int], first: int, count: int, *, device: torch.device | str) -> Tensor:
    """Return (B, 80, count) standard normal numbers of the frames from `first`, the prompt's included."""
    return normal(keys_of(seeds, START, device), MELS, first, count)


def hiss_at(
    seeds: Sequence[int], harmonics: int, first: int, count: int, *, device: torch.device | str
) -> Tensor:
    """Return (B, harmonics, count) standard normal numbers of the samples from `first`."""
    return normal(keys_of(seeds, HISS, device), harmonics, first, count)


def phases_of(seeds: Sequence[int], harmonics: int, *, device: torch.device | str) -> Tensor:
    """Return (B, harmonics) numbers uniform in [-pi, pi)."""
    bits = mix(keys_of(seeds, PHASES, device)[:, None] + steps(0, harmonics, device))
    # 24 bits: float32 holds every one of these numbers, so none rounds up to pi.
    return (shifted(bits, 40).float() * 2.0**-24 - 0.5) * (2 * torch.pi)


def normal(keys: Tensor, channels: int, first: int, count: int) -> Tensor:
    """Return (B, channels, count) standard normal numbers of the positions from `first`, for keys (B,)."""
    pairs = (channels + 1) // 2
    offsets = steps(first, count, keys.device) + steps(0, pairs, keys.device)[:, None] * CHANNEL
    bits = mix(keys[:, None, None] + offsets)  # (B, pairs, count): one hash makes two numbers
    # The upper half is the radius, in (0, 1]; the lower half is the angle.
    radius = (shifted(bits, 32).float() * 2.0**-32 + 2.0**-33).log_().mul_(-2).sqrt_()
    angle = (bits & 0xFFFFFFFF).float().mul_(2 * torch.pi * 2.0**-32)
    both = torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)
    return both[:, :channels]


def keys_of(seeds: Sequence[int], kind: int, device: torch.device | str) -> Tensor:
    """Return (B,) int64 keys, a hash of the seeds, of which 64 bits count, and the kind of number."""
    seed = torch.tensor([signed(seed) for seed in seeds], dtype=torch.int64, device=device)
    return mix(mix(seed) + signed(kind * GOLDEN))


def signed(seed: int) -> int:
    """Return the lower 64 bits of an integer as a signed number."""
    bits = seed & 0xFFFFFFFFFFFFFFFF
    return bits - (1 << 64) if bits >> 63 else bits


def steps(first: int, count: int, device: torch.device | str) -> Tensor:
    """Return (count,) int64 counters from `first`, times SplitMix64's step; sums and products wrap around."""
    return torch.arange(first, first + count, dtype=torch.int64, device=device) * GOLDEN


def mix(x: Tensor) -> Tensor:
    """Return SplitMix64's hash of every int64: 64 bits, each of which depends on all bits of x."""
    x = (x ^ shifted(x, 30)) * MIX_1
    x = (x ^ shifted(x, 27)) * MIX_2
    return x ^ shifted(x, 31)


def shifted(x: Tensor, bits: int) -> Tensor:
    """Return every int64 shifted to the right, filled with zeros: torch's own shift repeats the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
