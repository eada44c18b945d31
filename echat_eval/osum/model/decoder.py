"""The Qwen2.5-shaped decoder with two vocabularies: text, and speech.

Shapes: B rows, T new positions, L cache slots, D width, H query heads, G key/value heads, d head width.
A row's slot number is its position, so rows of different lengths share one cache without shifting;
a query at position p sees the slots 0..p of its own row and nothing else.
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
class Place:
    """Where new positions go and what they may see.

    Attributes:
        rows: (B, 1) row numbers in the cache.
        some: the rows are not the cache's first B in order, and must be picked out of it.
        positions: (B, T).
        mask: (B, 1, T, slots) of the network's type, 0 or -inf; None while a whole prompt is read: then it is
            causal, since positions run from 0 and padding stands behind every row's end.
        slots: how many cache slots are looked at.
    """

    rows: Tensor
    some: bool
    positions: Tensor
    mask: Tensor | None
    slots: int


def visible(positions: Tensor, slots: int) -> Tensor:
    """Return (B, 1, T, slots) bool: a query sees its own row's slots up to its own position."""
    return (torch.arange(slots, device=positions.device) <= positions[:, :, None])[:, None]


class RMSNorm(nn.Module):
    """Scale to unit root mean square in fp32, then by a weight."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return x's shape and dtype."""
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(x.dtype)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn (B, T, heads, d) by (B, T, 1, d): the first half of d pairs with the second."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


class Block(nn.Module):
    """One decoder layer: grouped attention and a gated feed-forward."""

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
        self, x: Tensor, angles: tuple[Tensor, Tensor], at: Place, keys: Tensor, values: Tensor
    ) -> Tensor:
        """Return (B, T, D). `keys`, `values`: (B, L, G, d), written in place at the new positions."""
        B, T, _ = x.shape  # noqa: N806
        c, group = self.c, self.c.heads // self.c.kv_heads
        q, k, v = self.qkv(x).view(B, T, -1, c.head_dim).split([c.heads, c.kv_heads, c.kv_heads], dim=2)
        q, k = _rotate(q, *angles), _rotate(k, *angles)
        keys[at.rows, at.positions], values[at.rows, at.positions] = k, v
        if at.mask is None:
            q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)  # (B, H, T, d)
        else:
            # Query heads of one group become further queries of their one key head, (B, G, group * T, d),
            # so that keys and values are read once and never copied for every head.
            q = q.view(B, T, c.kv_heads, group, c.head_dim).permute(0, 2, 3, 1, 4)
            keys, values = (
                (t[at.rows[:, 0], : at.slots] if at.some else t[:B, : at.slots]).transpose(1, 2)
                for t in (keys, values)
            )
            mask = at.mask.expand(B, 1, group, -1) if T == 1 else at.mask.repeat(1, 1, group, 1)
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
        self, x: Tensor, angles: tuple[Tensor, Tensor], at: Place, keys: Tensor, values: Tensor
    ) -> Tensor:
        """Return (B, T, D)."""
        x = x + self.attend(self.norm1(x), angles, at, keys, values)
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
        #: The layers as `record.compile_layers` made them, for one new position a row; empty without.
        self.compiled: list[Callable[..., Tensor]] = []

    def embed(self, ids: Tensor, speech: Tensor) -> Tensor:
        """Return (B, D): row i of the speech table where `speech`, of the text table elsewhere.

        Args:
            ids: (B,) int64.
            speech: (B,) bool.
        """
        text = self.text_embedding(ids.masked_fill(speech, 0))
        spoken = self.speech_embedding(ids.masked_fill(~speech, 0))
        return torch.where(speech[:, None], spoken, text)

    def forward(
        self, x: Tensor, positions: Tensor, cache: KVCache, *, slots: int, rows: Tensor | None = None
    ) -> Tensor:
        """Return the last layer's states (B, T, D), and write the cache.

        Args:
            x: (B, T, D) embeddings.
            positions: (B, T) int64.
            cache: at least `slots` slots, and at least B rows.
            slots: how many slots to look at: more than the largest position of any row that matters. Equal to
                T, it means that whole prompts are read, from position 0.
            rows: (B,) int64, the rows' numbers in the cache; None for its first B.
        """
        c = self.c
        even = torch.arange(0, c.head_dim, 2, dtype=torch.float32, device=x.device)
        rates = 1.0 / (c.rope_theta ** (even / c.head_dim))
        turn = (positions[:, :, None].float() * rates).repeat(1, 1, 2)[:, :, None]  # (B, T, 1, d)
        angles = turn.cos().to(x.dtype), turn.sin().to(x.dtype)
        numbers = torch.arange(x.shape[0], device=x.device) if rows is None else rows
        mask = None
        if slots != x.shape[1]:
            seen = visible(positions, slots)
            mask = torch.zeros(seen.shape, dtype=x.dtype, device=x.device).masked_fill_(~seen, -torch.inf)
        at = Place(numbers[:, None], rows is not None, positions, mask, slots)
        layers: Iterable[Callable[..., Tensor]] = (
            self.compiled if self.compiled and x.shape[1] == 1 and rows is None else self.layers
        )
        for layer, keys, values in zip(layers, cache.keys, cache.values, strict=True):
            x = layer(x, angles, at, keys, values)
        y: Tensor = self.norm(x)
        return y

    def text_logits(self, x: Tensor) -> Tensor:
        """Return (B, vocab) float32."""
        return F.linear(x, self.text_embedding.weight).float()

    def speech_logits(self, x: Tensor) -> Tensor:
        """Return (B, speech tokens) float32."""
        y: Tensor = self.speech_head(x).float()
        return y
