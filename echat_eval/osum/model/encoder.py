"""The speech encoder and the adapter: log-mel in, embeddings of the decoder's width at 12.5 Hz out.

Shapes: B rows, T frames (padded), C channels. Padding never affects a valid frame: frames are masked
before each convolution that reaches past the end of a row, keys are masked in attention, and lengths
are computed by formula, not by slicing a padded mask.

Source of the arithmetic: OSUM-EChat, commit f2bcfac, wenet/transformer and wenet/osum_echat/downsampler.py.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - the community's name for it
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from echat_eval.osum.model.config import OsumConfig

__all__ = ["Adapter", "Encoder", "adapted_length", "halved"]


def halved(length: int) -> int:
    """Return the length after a stride of two: ceil(length / 2)."""
    return (length - 1) // 2 + 1


def adapted_length(frames: int) -> int:
    """Return the number of decoder positions for `frames` log-mel frames: one per 80 ms, rounded up.

    >>> [adapted_length(frames) for frames in (100, 908, 3000)]
    [13, 114, 375]
    """
    return halved(halved(halved(frames)))


def _valid(lengths: Tensor, size: int) -> Tensor:
    """Return (B, size) bool, true where a frame belongs to its row."""
    return torch.arange(size, device=lengths.device)[None] < lengths[:, None]


def _split_sinusoids(size: int, width: int, like: Tensor) -> Tensor:
    """Return (size, width): sines in the first half, cosines in the second (Whisper's table)."""
    step = math.log(10000) / (width // 2 - 1)
    rates = torch.exp(-step * torch.arange(width // 2, dtype=torch.float32, device=like.device))
    angles = torch.arange(size, dtype=torch.float32, device=like.device)[:, None] * rates[None]
    return torch.cat([angles.sin(), angles.cos()], dim=1).to(like.dtype)


def _interleaved_sinusoids(size: int, width: int, like: Tensor) -> Tensor:
    """Return (size, width): sines at even columns, cosines at odd ones (the original Transformer's table)."""
    even = torch.arange(0, width, 2, dtype=torch.float32, device=like.device)
    rates = torch.exp(even * -(math.log(10000) / width))
    angles = torch.arange(size, dtype=torch.float32, device=like.device)[:, None] * rates[None]
    return torch.stack([angles.sin(), angles.cos()], dim=2).reshape(size, width).to(like.dtype)


class Layer(nn.Module):
    """Pre-norm layer: full attention over the valid frames, then a feed-forward network."""

    def __init__(self, width: int, heads: int, ffn: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.heads, self.activation = heads, activation
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, ffn)
        self.down = nn.Linear(ffn, width)

    def forward(self, x: Tensor, keys: Tensor | None) -> Tensor:
        """Return (B, T, C). `keys`: (B, 1, 1, T) bool, true for keys to attend to; None for all keys."""
        B, T, C = x.shape  # noqa: N806
        q, k, v = self.qkv(self.norm1(x)).view(B, T, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        heads = F.scaled_dot_product_attention(q, k, v, attn_mask=keys)  # (B, heads, T, C / heads)
        x = x + self.out(heads.transpose(1, 2).reshape(B, T, C))
        y: Tensor = x + self.down(self.activation(self.up(self.norm2(x))))
        return y


class Encoder(nn.Module):
    """Whisper's encoder without its 30 s window."""

    def __init__(self, config: OsumConfig) -> None:
        super().__init__()
        c = config.encoder
        self.conv1 = nn.Conv1d(c.mels, c.width, 3, padding=1)
        self.conv2 = nn.Conv1d(c.width, c.width, 3, stride=2, padding=1)
        self.layers = nn.ModuleList(Layer(c.width, c.heads, c.ffn, F.gelu) for _ in range(c.layers))
        self.norm = nn.LayerNorm(c.width)

    def forward(self, mel: Tensor, lengths: Tensor, *, padded: bool = True) -> tuple[Tensor, Tensor]:
        """Return hidden states (B, ceil(T / 2), C) and their lengths (B,).

        Args:
            mel: (B, T, mels), padded on the right with anything.
            lengths: (B,) int64, at least 1.
            padded: false if all rows are T frames long; masking is then skipped, with the same result.
        """
        # Both convolutions look one frame ahead. At the end of a row that frame must be zero, as it is for a
        # row without padding; after the first convolution it would hold the bias.
        x = mel.transpose(1, 2)
        if padded:
            valid = _valid(lengths, mel.shape[1])[:, None]  # (B, 1, T)
            x = F.gelu(self.conv1(x * valid)) * valid  # (B, C, T)
        else:
            x = F.gelu(self.conv1(x))
        x = F.gelu(self.conv2(x)).transpose(1, 2)  # (B, T50, C)
        lengths = (lengths - 1) // 2 + 1
        x = x + _split_sinusoids(x.shape[1], x.shape[2], x)
        keys = _valid(lengths, x.shape[1])[:, None, None] if padded else None
        for layer in self.layers:
            x = layer(x, keys)
        return self.norm(x), lengths


class Adapter(nn.Module):
    """Causal convolutions down to 12.5 Hz, a small transformer, and a projection to the decoder's width."""

    def __init__(self, config: OsumConfig) -> None:
        super().__init__()
        width, c = config.encoder.width, config.adapter
        self.convs = nn.ModuleList(nn.Conv1d(width, width, 3, stride=s) for s in (1, 2, 2))
        self.linear = nn.Linear(width, width)
        self.linear_norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(Layer(width, c.heads, c.ffn, F.relu) for _ in range(c.layers))
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, config.decoder.width)

    def forward(self, x: Tensor, lengths: Tensor, *, padded: bool = True) -> tuple[Tensor, Tensor]:
        """Return embeddings (B, L, D) and their lengths (B,).

        Args:
            x: (B, T50, C) from the encoder. Padding after the end of a row has no effect: the convolutions
                are causal.
            lengths: (B,) int64 at 50 Hz.
            padded: as for the encoder.
        """
        x = x.transpose(1, 2)  # (B, C, T50)
        for conv in self.convs:
            x = F.gelu(conv(F.pad(x, (2, 0))))
        for _ in range(2):
            lengths = (lengths - 1) // 2 + 1
        x = self.linear_norm(self.linear(x.transpose(1, 2)))  # (B, L, C)
        x = x * math.sqrt(x.shape[2]) + _interleaved_sinusoids(x.shape[1], x.shape[2], x)
        keys = _valid(lengths, x.shape[1])[:, None, None] if padded else None
        for layer in self.layers:
            x = layer(x, keys)
        return self.project(self.norm(x)), lengths
