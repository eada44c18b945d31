"""The key-value cache of a batch, with one pair of tensors per layer; it grows in steps.

Shapes: B rows, L positions, G key/value heads, d head width. Key/value heads are not repeated per query head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from echat_eval.osum.model.config import DecoderConfig

__all__ = ["KVCache", "kv_bytes"]


def kv_bytes(config: DecoderConfig, *, rows: int, max_positions: int, itemsize: int) -> int:
    """Return the size in bytes of a cache of `rows` rows with `max_positions` positions each."""
    return 2 * config.layers * rows * max_positions * config.kv_heads * config.head_dim * itemsize


@dataclass(slots=True)
class KVCache:
    """Keys and values: one (B, L, G, d) tensor each per layer."""

    keys: list[Tensor]
    values: list[Tensor]

    @classmethod
    def allocate(cls, config: DecoderConfig, *, rows: int, max_positions: int, like: Tensor) -> KVCache:
        """Return an empty cache for `rows` rows of at most `max_positions` positions each."""
        shape = (rows, max_positions, config.kv_heads, config.head_dim)
        # Zeros, not uninitialised memory: masked values are still multiplied by 0, and 0 x NaN is NaN.
        return cls(*([like.new_zeros(shape) for _ in range(config.layers)] for _ in range(2)))

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return int(self.keys[0].shape[0])

    @property
    def max_positions(self) -> int:
        """Return the number of positions per row."""
        return int(self.keys[0].shape[1])

    def grow(self, *, rows: int = 0, max_positions: int = 0) -> None:
        """Extend to `rows` rows of `max_positions`, one layer at a time, to avoid a second full cache."""
        rows, max_positions = max(rows, self.rows), max(max_positions, self.max_positions)
        for tensors in (self.keys, self.values):
            for number, old in enumerate(tensors):
                larger = old.new_zeros(rows, max_positions, *old.shape[2:])
                larger[: old.shape[0], : old.shape[1]] = old
                tensors[number] = larger

    def gather(self, rows: Tensor) -> None:
        """Move the rows with numbers `rows` (R,), in ascending order, to the front."""
        for tensors in (self.keys, self.values):
            for tensor in tensors:
                tensor[: len(rows)] = tensor[rows]
