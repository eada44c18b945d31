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

from echat_eval.osum.model.flex import attend_blocks, row_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor
    from torch.nn.attention.flex_attention import BlockMask

    from echat_eval.osum.model.config import DecoderConfig, OsumConfig
    from echat_eval.osum.model.kv_cache import KVCache

__all__ = ["Decoder"]


@dataclass(frozen=True, slots=True)
class AttentionPlan:
    """Where the keys and values of one new position per row are cached, and what it attends to.

    A plan holds no number, so that layers compiled with dynamic shapes need no new program for one.

    Attributes:
        rows: (B,) row numbers in the cache.
        positions: (B,).
        mask: (B, 1, 1, K) in the network's dtype, 0 or -inf; or blocks for flex attention.
    """

    rows: Tensor
    positions: Tensor
    mask: Tensor | BlockMask


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

    def project(self, x: Tensor, angles: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return rotated queries (B, T, H, d) and keys, and values (B, T, G, d)."""
        c, (B, T, _) = self.c, x.shape  # noqa: N806
        qkv = self.qkv(self.norm1(x)).view(B, T, -1, c.head_dim)
        both, v = qkv[:, :, : c.heads + c.kv_heads], qkv[:, :, c.heads + c.kv_heads :]
        both = _rotate(both, *angles)
        return both[:, :, : c.heads], both[:, :, c.heads :], v

    def grouped(self, q: Tensor) -> Tensor:
        """Return queries (B, T, H, d) as (B, G, group * T, d).

        The query heads of a group become extra queries of their shared key head: keys and values are read
        once and not copied for every head.
        """
        c, (B, T, _, d) = self.c, q.shape  # noqa: N806
        group = c.heads // c.kv_heads
        return q.view(B, T, c.kv_heads, group, d).permute(0, 2, 3, 1, 4).reshape(B, c.kv_heads, group * T, d)

    def finish(self, x: Tensor, y: Tensor) -> Tensor:
        """Return (B, T, D): the layer's input and its attended heads (B, H, T, d), after both residuals."""
        B, T, _ = x.shape  # noqa: N806
        x = x + self.out(y.transpose(1, 2).reshape(B, T, -1))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, dim=-1)
        z: Tensor = x + self.down(F.silu(gate) * up)
        return z

    def forward(
        self, x: Tensor, angles: tuple[Tensor, Tensor], plan: AttentionPlan, keys: Tensor, values: Tensor
    ) -> Tensor:
        """Return (B, 1, D) for one new position per row.

        Args:
            keys, values: (B, K, G, d), the attended positions of the rows; written at the new positions.
        """
        B, c = x.shape[0], self.c  # noqa: N806
        q, k, v = self.project(x, angles)
        keys[plan.rows, plan.positions], values[plan.rows, plan.positions] = k[:, 0], v[:, 0]
        if not isinstance(plan.mask, torch.Tensor):
            return self.finish(x, attend_blocks(q, keys, values, plan.mask))
        y = F.scaled_dot_product_attention(
            self.grouped(q),
            keys.transpose(1, 2),
            values.transpose(1, 2),
            attn_mask=plan.mask.expand(B, 1, c.heads // c.kv_heads, -1),
        )
        return self.finish(x, y.view(B, c.heads, 1, c.head_dim))

    def read(
        self,
        x: Tensor,
        angles: tuple[Tensor, Tensor],
        rows: Tensor,
        keys: Tensor,
        values: Tensor,
        past: tuple[Tensor, Tensor, Tensor] | None,
    ) -> Tensor:
        """Return (B, T, D) for prompts, padded at their ends.

        Args:
            rows: (B,) row numbers in the cache.
            keys, values: (all rows, K, G, d), written from position 0.
            past: keys and values (1, P, G, d) that precede all prompts, and the mask (1, 1, group * T, P + T)
                of queries in groups; None without.
        """
        B, T, _ = x.shape  # noqa: N806
        q, k, v = self.project(x, angles)
        if past is not None:
            k, v = (
                torch.cat([before.expand(B, -1, -1, -1), new], dim=1)
                for before, new in zip(past[:2], (k, v), strict=True)
            )
        keys[rows], values[rows] = k, v
        k, v = k.transpose(1, 2), v.transpose(1, 2)
        if past is None:
            y = F.scaled_dot_product_attention(q.transpose(1, 2), k, v, is_causal=True, enable_gqa=True)
        else:
            y = F.scaled_dot_product_attention(self.grouped(q), k, v, attn_mask=past[2])
        return self.finish(x, y.view(B, self.c.heads, T, self.c.head_dim))


@dataclass(slots=True, kw_only=True)
class CompiledParts:
    """Compiled functions of a decoder, made by `cuda_graphs.compile_steps`; empty without.

    Attributes:
        steps: the layers for one new position per row.
        reads: the layers for prompts.
        plan, norm: `Decoder.plan` and the last norm.
        draw, enter, leave: the parts of a step around the decoder, see `decoding.step`.
    """

    steps: Sequence[Callable[..., Tensor]] = ()
    reads: Sequence[Callable[..., Tensor]] = ()
    plan: Callable[..., tuple[tuple[Tensor, Tensor], AttentionPlan]] | None = None
    norm: Callable[..., Tensor] | None = None
    draw: Callable[..., None] | None = None
    enter: Callable[..., tuple[Tensor, Tensor]] | None = None
    leave: Callable[..., None] | None = None


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
        self.compiled = CompiledParts()
        #: Attend by `flex`, whose work follows the length of each row; else over one width with a mask.
        self.flex = False

    def embed(self, ids: Tensor, speech: Tensor) -> Tensor:
        """Return (B, D) embeddings, from the speech table where `speech` is true, else from the text table.

        Args:
            ids: (B,) int64.
            speech: (B,) bool.
        """
        text = self.text_embedding(ids.masked_fill(speech, 0))
        spoken = self.speech_embedding(ids.masked_fill(~speech, 0))
        return torch.where(speech[:, None], spoken, text)

    def reads(self) -> list[Callable[..., Tensor]]:
        """Return the layers' functions for prompts."""
        return [layer.read for layer in self.layers if isinstance(layer, Block)]

    def angles(self, positions: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosines and sines (B, T, 1, d) of the rotations at positions (B, T)."""
        c = self.c
        even = torch.arange(0, c.head_dim, 2, dtype=torch.float32, device=like.device)
        rates = 1.0 / (c.rope_theta ** (even / c.head_dim))
        rotation = (positions[:, :, None].float() * rates).repeat(1, 1, 2)[:, :, None]
        return rotation.cos().to(like.dtype), rotation.sin().to(like.dtype)

    def plan(
        self, x: Tensor, positions: Tensor, kv_length: int
    ) -> tuple[tuple[Tensor, Tensor], AttentionPlan]:
        """Return the rotations and the attention of one new position per row; arguments as in `forward`."""
        rows = torch.arange(x.shape[0], device=x.device)
        if self.flex:
            return self.angles(positions, x), AttentionPlan(
                rows, positions[:, 0], row_blocks(positions[:, 0], kv_length)
            )
        visible = causal_mask(positions, kv_length)
        mask = torch.zeros(visible.shape, dtype=x.dtype, device=x.device).masked_fill_(~visible, -torch.inf)
        return self.angles(positions, x), AttentionPlan(rows, positions[:, 0], mask)

    def forward(self, x: Tensor, positions: Tensor, cache: KVCache, *, kv_length: int) -> Tensor:
        """Return the states (B, 1, D) after the last layer for one new position per row.

        Args:
            x: (B, 1, D) embeddings.
            positions: (B, 1) int64.
            cache: its first B rows are those of x; written at the positions.
            kv_length: how many cached positions to attend to; more than every position.
        """
        used, compiled = x.shape[0], self.compiled
        angles, plan = (compiled.plan or self.plan)(x, positions, kv_length)
        layers: Iterable[Callable[..., Tensor]] = compiled.steps or self.layers
        for layer, keys, values in zip(layers, cache.keys, cache.values, strict=True):
            x = layer(x, angles, plan, keys[:used, :kv_length], values[:used, :kv_length])
        norm = self.norm if compiled.norm is None else compiled.norm  # a module may have no truth value
        y: Tensor = norm(x)
        return y

    def read(self, x: Tensor, cache: KVCache, *, rows: Tensor, prefix: KVCache | None = None) -> Tensor:
        """Return the states (B, T, D) after the last layer for prompts, and cache keys and values.

        Args:
            x: (B, T, D) embeddings of the prompts without the prefix, padded at their ends.
            cache: with room for prefix and prompts.
            rows: (B,) int64 row numbers in the cache.
            prefix: one row of keys and values that precede all prompts; None without.
        """
        T, start = x.shape[1], prefix.max_positions if prefix is not None else 0  # noqa: N806
        positions = torch.arange(start, start + T, device=x.device)[None]
        angles, mask = self.angles(positions, x), None
        if prefix is not None:
            visible = causal_mask(positions, start + T)
            mask = torch.zeros(visible.shape, dtype=x.dtype, device=x.device)
            mask = mask.masked_fill_(~visible, -torch.inf).repeat(1, 1, self.c.heads // self.c.kv_heads, 1)
        layers = self.compiled.reads or self.reads()
        for number, layer in enumerate(layers):
            past = None
            if prefix is not None:
                past = prefix.keys[number], prefix.values[number], mask
            keys, values = (tensors[number][:, : start + T] for tensors in (cache.keys, cache.values))
            x = layer(x, angles, rows, keys, values, past)
        y: Tensor = self.norm(x)
        return y

    def text_logits(self, x: Tensor) -> Tensor:
        """Return (B, vocab) float32."""
        return F.linear(x, self.text_embedding.weight).float()

    def speech_logits(self, x: Tensor) -> Tensor:
        """Return (B, speech tokens) float32."""
        y: Tensor = self.speech_head(x).float()
        return y
