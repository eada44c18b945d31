"""A captured graph that reads prompts, and the tensors that it addresses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from echat_eval.osum.model.kv_cache import KVCache

__all__ = ["CapturedPrompts"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CapturedPrompts:
    """A graph that reads prompts of one shape, and the tensors that it addresses.

    Attributes:
        x: (B, T, D) embeddings.
        rows: (B,) row numbers in the cache.
        lengths: (B,) positions of each prompt.
        last: (B, D) the states at the ends of the prompts, after a replay.
        prefix: of all prompts; kept, because the graph reads it.
        replay: reads the prompts.
    """

    x: Tensor
    rows: Tensor
    lengths: Tensor
    last: Tensor
    prefix: KVCache | None
    replay: Callable[[], None]

    def read(self, x: Tensor, rows: Tensor, lengths: Tensor) -> Tensor:
        """Return the last states (B, D) of prompts, valid until the next call."""
        self.x.copy_(x)
        self.rows.copy_(rows)
        self.lengths.copy_(lengths)
        self.replay()
        return self.last
