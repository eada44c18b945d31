"""The prefix that all prompts of a mode share: computed once, its keys and values copied to every row.

In a prompt with a few seconds of speech, the system prompt is about a third of the positions.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import torch

from echat_eval.osum.model.kv_cache import KVCache
from echat_eval.osum.prompts.modes import AudioPrompt, TextPrompt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from echat_eval.osum.model.model import OsumModel
    from echat_eval.osum.prompts.modes import Piece

__all__ = ["PrefixCache", "prefix_length"]

#: Prefixes kept in memory; a mode has one or two.
MAX_PREFIXES = 8


def prefix_length(pieces: Sequence[Piece]) -> int:
    """Return how many leading pieces belong to the mode, at most all but one.

    A user's text does not count: it would be used once and fill the memory.
    """
    count = 0
    while count < len(pieces) - 1:
        piece = pieces[count]
        if isinstance(piece, AudioPrompt) or (isinstance(piece, TextPrompt) and not piece.trusted):
            break
        count += 1
    return count


class PrefixCache:
    """Keys and values of prefixes, by their pieces; the least recently used are dropped first."""

    def __init__(self, model: OsumModel) -> None:
        self.model = model
        self.entries: OrderedDict[tuple[Piece, ...], KVCache] = OrderedDict()

    @torch.inference_mode()
    def get(self, pieces: tuple[Piece, ...], embed: Callable[[], Tensor]) -> KVCache | None:
        """Return the one-row cache of these pieces; None if there are no pieces.

        Args:
            pieces: without audio.
            embed: returns their (P, D) embeddings; called if the pieces are new.
        """
        if not pieces:
            return None
        if pieces not in self.entries:
            x = embed().to(self.model.dtype)[None]
            cache = KVCache.allocate(self.model.config.decoder, rows=1, max_positions=x.shape[1], like=x)
            self.model.decoder.read(x, cache, rows=torch.zeros(1, dtype=torch.long, device=x.device))
            self.entries[pieces] = cache
            if len(self.entries) > MAX_PREFIXES:
                self.entries.popitem(last=False)
        self.entries.move_to_end(pieces)
        return self.entries[pieces]
