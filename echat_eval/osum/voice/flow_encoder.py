"""The token encoder of flow matching: pre-norm layers with relative attention and learned query biases."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - the community's name for it
from torch import Tensor, nn

if TYPE_CHECKING:
    from echat_eval.osum.voice.config import FlowConfig

__all__ = ["TokenEncoder", "relative_positions", "shift_to_keys"]


def relative_positions(length: int, width: int, *, device: torch.device | str) -> Tensor:
    """Return the sinusoid table for the offsets length-1, ..., 0, ..., -(length-1).

    Returns:
        (2 * length - 1, width) float32, sine and cosine interleaved. Row r is for query - key = length-1-r.
    """
    offsets = torch.arange(length - 1, -length, -1, device=device, dtype=torch.float32)
    rates = torch.exp(
        torch.arange(0, width, 2, device=device, dtype=torch.float32) * -(math.log(10_000.0) / width)
    )
    angles = offsets[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def shift_to_keys(by_offset: Tensor) -> Tensor:
    """Return scores by key from scores by offset.

    Args:
        by_offset: (B, H, N, 2N-1) contiguous; column c of query i is the score of key i - (N-1-c).

    Returns:
        (B, H, N, N) view; [i, j] is query i, key j. Each row starts one column before the row above it.
    """
    rows, heads, n, width = by_offset.shape
    return by_offset.as_strided(
        (rows, heads, n, n),
        (by_offset.stride(0), by_offset.stride(1), width - 1, 1),
        by_offset.storage_offset() + n - 1,
    )


class RelativeAttention(nn.Module):
    """Full self-attention with the relative positions and the two learned query biases of Transformer-XL."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        width, self.heads = config.width, config.heads
        self.head_size = width // config.heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.position = nn.Linear(width, width, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(config.heads, self.head_size))
        self.position_bias = nn.Parameter(torch.zeros(config.heads, self.head_size))

    def forward(self, x: Tensor, positions: Tensor, key_bias: Tensor | None) -> Tensor:
        """Return (B, N, D) from x (B, N, D), positions (2N-1, D) and key_bias (B, 1, 1, N), 0 or -inf."""
        rows, n, width = x.shape
        q, k, v = (
            self.qkv(x).view(rows, n, 3, self.heads, self.head_size).permute(2, 0, 3, 1, 4)
        )  # (B, H, N, d)
        p = self.position(positions).view(-1, self.heads, self.head_size).permute(1, 2, 0)  # (H, d, 2N-1)
        scale = 1.0 / math.sqrt(self.head_size)
        by_offset = torch.matmul((q + self.position_bias[:, None]) * scale, p)
        bias = shift_to_keys(by_offset.contiguous())
        bias = bias.contiguous() if key_bias is None else bias + key_bias
        y = F.scaled_dot_product_attention(q + self.content_bias[:, None], k, v, attn_mask=bias, scale=scale)
        out: Tensor = self.out(y.transpose(1, 2).reshape(rows, n, width))
        return out


class EncoderLayer(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)); no convolution, no macaron half."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width, eps=1e-12)
        self.attention = RelativeAttention(config)
        self.feed_norm = nn.LayerNorm(config.width, eps=1e-12)
        self.up = nn.Linear(config.width, config.feed_forward)
        self.down = nn.Linear(config.feed_forward, config.width)

    def forward(self, x: Tensor, positions: Tensor, key_bias: Tensor | None) -> Tensor:
        """Return (B, N, D); arguments as in RelativeAttention."""
        x = x + self.attention(self.attention_norm(x), positions, key_bias)
        y: Tensor = x + self.down(F.silu(self.up(self.feed_norm(x))))
        return y


class TokenEncoder(nn.Module):
    """A linear layer, layer norm and scaling by sqrt(width), then the encoder layers and a final norm."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.width = config.width
        self.project = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width, eps=1e-5)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
        self.last_norm = nn.LayerNorm(config.width, eps=1e-5)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Encode embedded tokens.

        Args:
            x: (B, N, D).
            mask: (B, N) bool, true at tokens; None without padding.

        Returns:
            (B, N, D); the values at tokens do not depend on padding.
        """
        x = self.norm(self.project(x)) * math.sqrt(self.width)
        positions = relative_positions(x.shape[1], self.width, device=x.device).to(x.dtype)
        key_bias = None
        if mask is not None:
            key_bias = torch.zeros_like(mask, dtype=x.dtype).masked_fill_(~mask, -torch.inf)[:, None, None]
        for layer in self.layers:
            x = layer(x, positions, key_bias)
        y: Tensor = self.last_norm(x)
        return y
