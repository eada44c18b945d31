"""One decode step: draw an id for every row, then run it through the decoder.

Plain steps look at the host's copy of who is where, which costs nothing on a CPU, and evaluate each head for
the rows of its phase only. Fixed steps have the same shapes whatever the rows do, and ask the host nothing:
they can be recorded as a CUDA graph. Both make the same ids.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from echat_eval.osum.decoding.slots import Slots
    from echat_eval.osum.model.decoder import Decoder
    from echat_eval.osum.model.kv_cache import KVCache

    #: (step, logits (B, V), ids (B,)) -> ids (B,): sees every choice, and may overrule it.
    Hook = Callable[[int, Tensor, Tensor], Tensor]
    #: Which heads a fixed step evaluates.
    Heads = Literal["text", "speech", "both"]

__all__ = ["advance", "choose", "choose_fixed"]


def choose(decoder: Decoder, slots: Slots, *, step: int, hook: Hook | None) -> None:
    """Draw the next id of every row that is not over, each from the head of its phase."""
    phases, hidden = slots.phases, slots.hidden
    live, speech = ~phases.over(), phases.speech
    ids = torch.zeros_like(slots.last)
    shown: list[tuple[Tensor, Tensor]] = []
    for rows, head, rule in (
        ((live & ~speech).nonzero()[:, 0], decoder.text_logits, phases.gate),
        ((live & speech).nonzero()[:, 0], decoder.speech_logits, phases.block),
    ):
        if not len(rows):
            continue
        everyone = len(rows) == len(ids)
        at = None if everyone else rows
        logits = slots.penalised(rule(head(hidden if everyone else hidden[rows]), at), at)
        ids[rows] = slots.draw(logits, at)
        shown.append((rows, logits))
    if hook is not None:
        ids = hook(step, _together(shown, len(ids)), ids)
    slots.accept(ids)


def _together(shown: list[tuple[Tensor, Tensor]], rows: int) -> Tensor:
    """Return the logits (B, V) of all rows in one tensor, -inf where there is none."""
    width = max(logits.shape[1] for _, logits in shown)
    whole = shown[0][1].new_full((rows, width), -torch.inf)
    for numbers, logits in shown:
        whole[numbers, : logits.shape[1]] = logits
    return whole


def choose_fixed(decoder: Decoder, slots: Slots, heads: Heads) -> None:
    """Draw the next id of every row; rows that are over draw too, and it is thrown away.

    Args:
        decoder: on its device.
        slots: changed in place.
        heads: "text" or "speech" where every row that is not over is in that phase, else "both".
    """
    phases = slots.phases
    text = speech = torch.zeros_like(slots.last)
    if heads != "speech":
        text = slots.draw(slots.penalised(phases.gate(decoder.text_logits(slots.hidden))))
    if heads != "text":
        speech = slots.draw(slots.penalised(phases.block(decoder.speech_logits(slots.hidden))))
    ids = text if heads == "text" else speech
    if heads == "both":
        ids = torch.where(phases.speech, speech, text)
    # A row that is over may be in the other phase, whose table may be too short for the id.
    slots.accept(ids.masked_fill(phases.over(), 0))


def advance(decoder: Decoder, slots: Slots, cache: KVCache, *, width: int) -> None:
    """Run the last id of every row through the decoder; look at the first `width` cache slots."""
    x = decoder.embed(slots.last, slots.as_speech)[:, None]
    states = decoder(x, slots.position[:, None], cache, slots=width)
    slots.hidden.copy_(states[:, 0])
    # A row that is over writes again and again where nobody looks.
    slots.position.add_(~slots.phases.over())
