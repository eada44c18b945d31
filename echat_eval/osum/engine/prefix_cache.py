"""What all prompts of a mode begin with, read once: its keys and values are copied to every row.

Of a prompt of a few seconds of speech, the system's words are about a third of the positions.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import torch

from echat_eval.osum.model.kv_cache import KVCache
from echat_eval.osum.prompts.modes import AudioPrompt, Words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from echat_eval.osum.model.model import OsumModel
    from echat_eval.osum.prompts.modes import Piece

__all__ = ["Prefixes", "common"]

#: Beginnings kept; a mode has one or two.
KEPT = 8


def common(pieces: Sequence[Piece]) -> int:
    """Return how many leading pieces are the mode's own, at least one less than all.

    A user's words are not: they would come once, and fill the memory.
    """
    count = 0
    while count < len(pieces) - 1:
        piece = pieces[count]
        if isinstance(piece, AudioPrompt) or (isinstance(piece, Words) and not piece.trusted):
            break
        count += 1
    return count


class Prefixes:
    """Keys and values by the pieces they are of; the least used go first."""

    def __init__(self, model: OsumModel) -> None:
        self.model = model
        self.kept: OrderedDict[tuple[Piece, ...], KVCache] = OrderedDict()

    @torch.inference_mode()
    def of(self, pieces: tuple[Piece, ...], embed: Callable[[], Tensor]) -> KVCache | None:
        """Return the one-row cache of these pieces; None of no pieces.

        Args:
            pieces: without any audio.
            embed: returns their (P, D) embeddings, called where they are new.
        """
        if not pieces:
            return None
        if pieces not in self.kept:
            x = embed().to(self.model.dtype)[None]
            cache = KVCache.allocate(self.model.config.decoder, rows=1, slots=x.shape[1], like=x)
            positions = torch.arange(x.shape[1], device=x.device)[None]
            self.model.decoder(x, positions, cache, slots=x.shape[1])
            self.kept[pieces] = cache
            if len(self.kept) > KEPT:
                self.kept.popitem(last=False)
        self.kept.move_to_end(pieces)
        return self.kept[pieces]
