"""The Qwen2.5-shaped decoder with two vocabularies: text and speech.

Shapes: B rows, T new positions, L cached positions, K attended positions (K <= L), D width, H query heads,
G key/value heads, d head width. Keys and values are cached at their position, so rows of different lengths
share one cache without shifting. A query at position p attends to positions 0..p of its own row only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - the community's name for it
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor

    from echat_eval.osum.model.config import DecoderConfig, OsumConfig
    from echat_eval.osum.model.kv_cache import KVCache

__all__ = ["Decoder"]


@dataclass(frozen=True, slots=True)
class AttentionPlan:
    """Where new positions are cached, and what they attend to.

    A plan holds no number, so that layers compiled with dynamic shapes need no new program for one.

    Attributes:
        rows: (B, 1) row numbers in the cache.
        gather_rows: the rows are not the first B of the cache in order; index the cache by `rows`.
        positions: (B, T).
        mask: (B, 1, T, K) in the network's dtype, 0 or -inf. None for whole prompts: attention is then
            causal, because positions start at 0 and padding follows the end of each row.
    """

    rows: Tensor
    gather_rows: bool
    positions: Tensor
    mask: Tensor | None


def causal_mask(positions: Tensor, kv_length: int) -> Tensor:
    """Return (B, 1, T, K) bool, true where a query may attend: its own row, up to its own position."""
    return (torch.arange(kv_length, device=positions.device) <= positions[:, :, None])[:, None]


class RMSNorm(nn.Module):
    """Normalise to unit root mean square in fp32, then scale by a weight."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of x's shape and dtype."""
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(x.dtype)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate x (B, T, heads, d) by angles (B, T, 1, d); the first half of d pairs with the second."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


class Block(nn.Module):
    """One decoder layer: grouped-query attention and a gated feed-forward network."""

    def __init__(self, c: DecoderConfig) -> None:
        super().__init__()
        self.c = c
        self.norm1 = RMSNorm(c.width, c.norm_eps)
        self.qkv = nn.Linear(c.width, (c.heads + 2 * c.kv_heads) * c.head_dim)
        self.out = nn.Linear(c.heads * c.head_dim, c.width, bias=False)
        self.norm2 = RMSNorm(c.width, c.norm_eps)
        self.gate_up = nn.Linear(c.width, 2 * c.ffn, bias=False)
        self.down = nn.Linear(c.ffn, c.width, bias=False)

    def attend(
        self, x: Tensor, angles: tuple[Tensor, Tensor], plan: AttentionPlan, keys: Tensor, values: Tensor
    ) -> Tensor:
        """Return (B, T, D).

        Args:
            keys, values: (rows, K, G, d), the attended positions of all cached rows, or of the first B if the
                plan gathers none; written in place at the new positions.
        """
        B, T, _ = x.shape  # noqa: N806
        c, group = self.c, self.c.heads // self.c.kv_heads
        q, k, v = self.qkv(x).view(B, T, -1, c.head_dim).split([c.heads, c.kv_heads, c.kv_heads], dim=2)
        q, k = _rotate(q, *angles), _rotate(k, *angles)
        keys[plan.rows, plan.positions], values[plan.rows, plan.positions] = k, v
        if plan.mask is None:
            q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)  # (B, H, T, d)
        else:
            # The query heads of a group become extra queries of their shared key head, (B, G, group * T, d):
            # keys and values are read once and not copied for every head.
            q = q.view(B, T, c.kv_heads, group, c.head_dim).permute(0, 2, 3, 1, 4)
            keys, values = (
                (t[plan.rows[:, 0]] if plan.gather_rows else t).transpose(1, 2) for t in (keys, values)
            )
            mask = plan.mask.expand(B, 1, group, -1) if T == 1 else plan.mask.repeat(1, 1, group, 1)
            y = F.scaled_dot_product_attention(
                q.reshape(B, c.kv_heads, group * T, c.head_dim),
                keys,
                values,
                attn_mask=mask,
            ).view(B, c.heads, T, c.head_dim)
        y = y.transpose(1, 2).reshape(B, T, c.heads * c.head_dim)
        z: Tensor = self.out(y)
        return z

    def forward(
        self, x: Tensor, angles: tuple[Tensor, Tensor], plan: AttentionPlan, keys: Tensor, values: Tensor
    ) -> Tensor:
        """Return (B, T, D)."""
        x = x + self.attend(self.norm1(x), angles, plan, keys, values)
        gate, up = self.gate_up(self.norm2(x)).chunk(2, dim=-1)
        y: Tensor = x + self.down(F.silu(gate) * up)
        return y


class Decoder(nn.Module):
    """Embeddings and heads of both vocabularies around one stack of layers."""

    def __init__(self, config: OsumConfig) -> None:
        super().__init__()
        c = self.c = config.decoder
        self.text_embedding = nn.Embedding(c.vocab, c.width)  # also the text head
        self.speech_embedding = nn.Embedding(config.speech.tokens + 2, c.width)
        self.speech_head = nn.Linear(c.width, config.speech.tokens)
        self.layers = nn.ModuleList(Block(c) for _ in range(c.layers))
        self.norm = RMSNorm(c.width, c.norm_eps)
        #: Layers for one new position per row, compiled by `cuda_graphs.compile_layers`; else empty.
        self.compiled: list[Callable[..., Tensor]] = []

    def embed(self, ids: Tensor, speech: Tensor) -> Tensor:
        """Return (B, D) embeddings, from the speech table where `speech` is true, else from the text table.

        Args:
            ids: (B,) int64.
            speech: (B,) bool.
        """
        text = self.text_embedding(ids.masked_fill(speech, 0))
        spoken = self.speech_embedding(ids.masked_fill(~speech, 0))
        return torch.where(speech[:, None], spoken, text)

    def forward(
        self, x: Tensor, positions: Tensor, cache: KVCache, *, kv_length: int, rows: Tensor | None = None
    ) -> Tensor:
        """Return the states (B, T, D) after the last layer, and write keys and values to the cache.

        Args:
            x: (B, T, D) embeddings.
            positions: (B, T) int64.
            cache: with room for at least B rows and `kv_length` positions.
            kv_length: how many cached positions to attend to; more than every position. If equal to T, x
                holds whole prompts, from position 0.
            rows: (B,) int64 row numbers in the cache; None for the first B.
        """
        c = self.c
        even = torch.arange(0, c.head_dim, 2, dtype=torch.float32, device=x.device)
        rates = 1.0 / (c.rope_theta ** (even / c.head_dim))
        rotation = (positions[:, :, None].float() * rates).repeat(1, 1, 2)[:, :, None]  # (B, T, 1, d)
        angles = rotation.cos().to(x.dtype), rotation.sin().to(x.dtype)
        row_numbers = torch.arange(x.shape[0], device=x.device) if rows is None else rows
        mask = None
        if kv_length != x.shape[1]:
            visible = causal_mask(positions, kv_length)
            mask = torch.zeros(visible.shape, dtype=x.dtype, device=x.device)
            mask.masked_fill_(~visible, -torch.inf)
        plan = AttentionPlan(row_numbers[:, None], rows is not None, positions, mask)
        used = slice(None) if rows is not None else slice(x.shape[0])
        layers: Iterable[Callable[..., Tensor]] = (
            self.compiled if self.compiled and x.shape[1] == 1 and rows is None else self.layers
        )
        for layer, keys, values in zip(layers, cache.keys, cache.values, strict=True):
            x = layer(x, angles, plan, keys[used, :kv_length], values[used, :kv_length])
        y: Tensor = self.norm(x)
        return y

    def text_logits(self, x: Tensor) -> Tensor:
        """Return (B, vocab) float32."""
        return F.linear(x, self.text_embedding.weight).float()

    def speech_logits(self, x: Tensor) -> Tensor:
        """Return (B, speech tokens) float32."""
        y: Tensor = self.speech_head(x).float()
        return y
