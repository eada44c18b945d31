"""One decode step: draw an id for every row, then run it through the decoder.

Plain steps read the state of the rows on the host, which is free on a CPU, and evaluate each head only for
the rows in its phase. Fixed steps have the same shapes whatever the rows do and read nothing on the host, so
they can be captured as a CUDA graph. Both draw the same ids.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from echat_eval.osum.decoding.row_states import RowStates
    from echat_eval.osum.model.decoder import Decoder
    from echat_eval.osum.model.kv_cache import KVCache

    #: (step, logits (B, V), ids (B,)) -> ids (B,): called with every draw, which it may replace.
    Hook = Callable[[int, Tensor, Tensor], Tensor]
__all__ = ["Heads", "advance", "choose", "choose_fixed"]


class Heads(NamedTuple):
    """The heads that a fixed step evaluates.

    Attributes:
        text_rows: for how many rows the text head is evaluated; at least as many as write text.
        speech: whether the speech head is evaluated, for all rows.
    """

    text_rows: int
    speech: bool


def choose(decoder: Decoder, states: RowStates, *, step: int, hook: Hook | None) -> None:
    """Draw the next id of every unfinished row, each from the head of its phase."""
    decoding, hidden = states.decoding, states.hidden
    live, speech = ~decoding.finished(), decoding.speech
    ids = torch.zeros_like(states.last)
    logits_by_rows: list[tuple[Tensor, Tensor]] = []
    for rows, head, rule in (
        ((live & ~speech).nonzero()[:, 0], decoder.text_logits, decoding.apply_age_gate),
        ((live & speech).nonzero()[:, 0], decoder.speech_logits, decoding.forbid_repeats),
    ):
        if not len(rows):
            continue
        selected = None if len(rows) == len(ids) else rows
        logits = rule(head(hidden if selected is None else hidden[selected]), selected)
        logits = states.penalised(logits, selected)
        ids[rows] = states.draw(logits, selected)
        logits_by_rows.append((rows, logits))
    if hook is not None:
        ids = hook(step, _merge(logits_by_rows, len(ids)), ids)
    states.accept(ids)


def _merge(logits_by_rows: list[tuple[Tensor, Tensor]], rows: int) -> Tensor:
    """Return the logits of all rows as one tensor (B, V), filled up with -inf."""
    width = max(logits.shape[1] for _, logits in logits_by_rows)
    merged = logits_by_rows[0][1].new_full((rows, width), -torch.inf)
    for numbers, logits in logits_by_rows:
        merged[numbers, : logits.shape[1]] = logits
    return merged


def choose_fixed(decoder: Decoder, states: RowStates, heads: Heads) -> None:
    """Draw the next id of every row; the draws of finished rows are discarded.

    The text head is 37 times as large as the speech head, so it is evaluated only for rows that write text.

    Args:
        decoder: on its device.
        states: updated in place.
        heads: see `Heads`.
    """
    decoding, hidden = states.decoding, states.hidden
    ids = torch.zeros_like(states.last)
    if heads.speech:
        ids = states.draw(states.penalised(decoding.forbid_repeats(decoder.speech_logits(hidden))))
    if heads.text_rows:
        writes = ~decoding.speech & ~decoding.finished()
        rows = writes.long().topk(heads.text_rows).indices
        logits = decoding.apply_age_gate(decoder.text_logits(hidden[rows]), rows)
        text = states.draw(states.penalised(logits, rows), rows)
        ids = ids.index_copy(0, rows, torch.where(writes[rows], text, ids[rows]))
    # A finished row may be in the other phase, whose embedding table may be too short for the id.
    states.accept(ids.masked_fill(decoding.finished(), 0))


def enter(decoder: Decoder, states: RowStates, width: int) -> tuple[Tensor, Tensor]:
    """Return the embeddings (B, 1, D) of the last ids and their positions (B, 1)."""
    # The position of a finished row stays and may exceed the width, which follows the unfinished rows. Such a
    # row writes to the last position instead, where its own next reply writes before it reads.
    positions = states.position.clamp(max=width - 1)
    return decoder.embed(states.last, states.as_speech)[:, None], positions[:, None]


def leave(states: RowStates, outputs: Tensor) -> None:
    """Store the states (B, 1, D) after the last layer, and move every unfinished row on."""
    states.hidden.copy_(outputs[:, 0])
    states.position.add_(~states.decoding.finished())


def advance(decoder: Decoder, states: RowStates, cache: KVCache, *, width: int) -> None:
    """Run the last id of every row through the decoder, over the first `width` positions of the cache."""
    compiled = decoder.compiled
    x, positions = (compiled.enter or enter)(decoder, states, width)
    (compiled.leave or leave)(states, decoder(x, positions, cache, kv_length=width))
