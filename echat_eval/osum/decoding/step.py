"""One decode step: draw an id for every row, then run it through the decoder.

Plain steps read the state of the rows on the host, which is free on a CPU, and evaluate each head only for
the rows in its phase. Fixed steps have the same shapes whatever the rows do and read nothing on the host, so
they can be captured as a CUDA graph. Both draw the same ids.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from echat_eval.osum.decoding.row_states import RowStates
    from echat_eval.osum.model.decoder import Decoder
    from echat_eval.osum.model.kv_cache import KVCache

    #: (step, logits (B, V), ids (B,)) -> ids (B,): called with every draw, which it may replace.
    Hook = Callable[[int, Tensor, Tensor], Tensor]
    #: The heads that a fixed step evaluates.
    Heads = Literal["text", "speech", "both"]

__all__ = ["advance", "choose", "choose_fixed"]


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

    Args:
        decoder: on its device.
        states: updated in place.
        heads: "text" or "speech" if all unfinished rows are in that phase, else "both".
    """
    decoding = states.decoding
    text = speech = torch.zeros_like(states.last)
    if heads != "speech":
        text = states.draw(states.penalised(decoding.apply_age_gate(decoder.text_logits(states.hidden))))
    if heads != "text":
        speech = states.draw(states.penalised(decoding.forbid_repeats(decoder.speech_logits(states.hidden))))
    ids = text if heads == "text" else speech
    if heads == "both":
        ids = torch.where(decoding.speech, speech, text)
    # A finished row may be in the other phase, whose embedding table may be too short for the id.
    states.accept(ids.masked_fill(decoding.finished(), 0))


def advance(decoder: Decoder, states: RowStates, cache: KVCache, *, width: int) -> None:
    """Run the last id of every row through the decoder, over the first `width` positions of the cache."""
    x = decoder.embed(states.last, states.as_speech)[:, None]
    # The position of a finished row stays and may exceed the width, which follows the unfinished rows. Such a
    # row writes to the last position instead, where its own next reply writes before it reads.
    positions = states.position.clamp(max=width - 1)
    outputs = decoder(x, positions[:, None], cache, kv_length=width)
    states.hidden.copy_(outputs[:, 0])
    states.position.add_(~states.decoding.finished())
