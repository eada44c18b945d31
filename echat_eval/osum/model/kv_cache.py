"""Keys and values of a batch, one tensor a layer: sized to need, grown in steps, copied row by row.

Shapes: B rows, L slots, G key/value heads, d head width. Heads are never expanded to the query heads' number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from echat_eval.osum.model.config import DecoderConfig

__all__ = ["KVCache", "kv_bytes"]


def kv_bytes(config: DecoderConfig, *, rows: int, slots: int, itemsize: int) -> int:
    """Return the bytes that keys and values of so many rows and slots take."""
    return 2 * config.layers * rows * slots * config.kv_heads * config.head_dim * itemsize


@dataclass(slots=True)
class KVCache:
    """Keys and values: a list of (B, L, G, d), one a layer."""

    keys: list[Tensor]
    values: list[Tensor]

    @classmethod
    def allocate(cls, config: DecoderConfig, *, rows: int, slots: int, like: Tensor) -> KVCache:
        """Return an empty cache for `rows` rows of at most `slots` positions each."""
        shape = (rows, slots, config.kv_heads, config.head_dim)
        # Zeros, not garbage: a masked slot still meets the value sum, and 0 x NaN is NaN.
        return cls(*([like.new_zeros(shape) for _ in range(config.layers)] for _ in range(2)))

    @property
    def rows(self) -> int:
        """How many rows there is room for."""
        return int(self.keys[0].shape[0])

    @property
    def slots(self) -> int:
        """How many positions a row has room for."""
        return int(self.keys[0].shape[1])

    def grow(self, slots: int) -> None:
        """Make room for more positions; one layer at a time, so that no second whole cache is needed."""
        for tensors in (self.keys, self.values):
            for number, old in enumerate(tensors):
                wider = old.new_zeros(old.shape[0], slots, *old.shape[2:])
                wider[:, : old.shape[1]] = old
                tensors[number] = wider

    def put(self, prefix: KVCache, rows: Tensor) -> None:
        """Copy a one-row cache to the beginning of the rows with these numbers (R,)."""
        for mine, theirs in ((self.keys, prefix.keys), (self.values, prefix.values)):
            for target, source in zip(mine, theirs, strict=True):
                target[rows, : source.shape[1]] = source

    def gather(self, rows: Tensor) -> None:
        """Move the rows with these numbers (R,), in rising order, to the front."""
        for tensors in (self.keys, self.values):
            for tensor in tensors:
                tensor[: len(rows)] = tensor[rows]
