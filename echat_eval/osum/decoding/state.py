"""Decoding rules and the state of each row: the current phase, the allowed ids, and the end of the reply.

All state is on the model's device. Source of the rules: OSUM-EChat, commit f2bcfac, patches/. The upstream
code handles one row at a time, and on GPUs its repetition rule is switched off by accident.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from echat_eval.osum.model.config import OsumConfig

__all__ = ["DecodingRules", "DecodingState"]

#: Forbid a token for one step after a run of RUN, or after IN_WINDOW occurrences in the last WINDOW ids.
RUN, WINDOW, IN_WINDOW = 5, 8, 5
#: The same limits for the silence-like token.
SILENCE_RUN, SILENCE_WINDOW, SILENCE_IN_WINDOW = 10, 13, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodingRules:
    """The kind of reply to decode.

    Attributes:
        max_new_tokens: limit on the ids of a reply, text and speech together.
        starts_in_speech: the first id is a speech token (text to speech).
        ends_with_text: the reply ends where its text ends.
        bos_eos_count: speech begin-or-end tokens that end the reply: 2, or 1 if the prompt holds the first.
        age_gate: after the words "age is <", allow only an age; once per reply.
        block_repeats: forbid a speech token that repeats too often.
        blocks: (text ids, speech ids) of alternating blocks until the text ends; None: all text, then all
            speech.
        bos_eos_in_blocks: a begin-or-end token counts towards the size of its block, as in training.
    """

    max_new_tokens: int
    starts_in_speech: bool = False
    ends_with_text: bool = False
    bos_eos_count: int = 2
    age_gate: bool = False
    block_repeats: bool = False
    blocks: tuple[int, int] | None = None
    bos_eos_in_blocks: bool = True


class DecodingState:
    """The decoding state of each row of a batch; updated in place, so that a CUDA graph can capture a step.

    Attributes:
        speech: (B,) bool, the next id comes from the speech head.
        last_was_speech: (B,) bool, the last id was a speech token.
        stopped: (B,) bool, the reply ended by itself.
        id_count: (B,) int64, ids so far.
        speech_count: (B,) int64, speech ids among them.
        bos_eos_count: (B,) int64, speech begin-or-end tokens among them.
        age_gate_open: (B,) bool, the age gate has not been used yet.
        recent: (B, 13) int64, the last ids, newest last; -1 before the first.
        block_left: (B,) int64, ids that the current block still takes.
        text_ended: (B,) bool, no further text block follows.
    """

    STATE = (
        "speech",
        "last_was_speech",
        "stopped",
        "id_count",
        "speech_count",
        "bos_eos_count",
        "age_gate_open",
        "recent",
        "block_left",
        "text_ended",
    )

    def __init__(self, rules: DecodingRules, config: OsumConfig, *, rows: int, device: torch.device) -> None:
        self.rules, self.config = rules, config
        self.speech, self.last_was_speech, self.stopped, self.age_gate_open, self.text_ended = (
            torch.zeros(rows, dtype=torch.bool, device=device) for _ in range(5)
        )
        self.id_count, self.speech_count, self.bos_eos_count, self.block_left = (
            torch.zeros(rows, dtype=torch.long, device=device) for _ in range(4)
        )
        self.recent = torch.zeros(rows, SILENCE_WINDOW, dtype=torch.long, device=device)
        self._gate_after = torch.tensor(config.text.age_gate_after, device=device)
        self._gate_allow = torch.tensor(config.text.age_gate_allow, device=device)
        self.start(torch.arange(rows, device=device))

    def start(self, rows: Tensor) -> None:
        """Reset the rows with these numbers (R,) to the beginning of a reply."""
        for flag in (self.speech, self.last_was_speech):
            flag[rows] = self.rules.starts_in_speech
        for tensor in (self.stopped, self.text_ended, self.id_count, self.speech_count, self.bos_eos_count):
            tensor[rows] = 0
        self.age_gate_open[rows] = self.rules.age_gate
        self.recent[rows] = -1
        self.block_left[rows] = self.rules.blocks[0] if self.rules.blocks else 0

    def first(self, rows: int) -> DecodingState:
        """Return the first rows as a view on the same memory."""
        view = copy.copy(self)
        for name in self.STATE:
            setattr(view, name, getattr(self, name)[:rows])
        return view

    def finished(self) -> Tensor:
        """Return (B,) bool: rows that take no more ids."""
        return self.stopped | (self.id_count >= self.rules.max_new_tokens)

    def restrict(self, logits: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return logits (R, V), -inf for forbidden ids; `rows` (R,) are row numbers, None for all."""
        # Logits as narrow as the speech vocabulary mean that no row decodes text.
        if self.rules.age_gate and logits.shape[1] > max(self.config.text.age_gate_allow):
            logits = self.apply_age_gate(logits, rows)
        return self.forbid_repeats(logits, rows)

    def apply_age_gate(self, logits: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return text logits (R, V), -inf for all ids but the ages where an age must follow."""
        if not self.rules.age_gate:
            return logits
        recent, gate_open, speech = (
            _select(tensor, rows) for tensor in (self.recent, self.age_gate_open, self.speech)
        )
        gated = (recent[:, -len(self._gate_after) :] == self._gate_after).all(1) & gate_open & ~speech
        if rows is None:
            self.age_gate_open.logical_and_(~gated)
        else:
            self.age_gate_open[rows] = gate_open & ~gated
        not_an_age = torch.ones(logits.shape[1], dtype=torch.bool, device=logits.device)
        not_an_age.index_fill_(0, self._gate_allow, 0)
        return logits.masked_fill(gated[:, None] & not_an_age, -torch.inf)

    def forbid_repeats(self, logits: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return logits (R, V), -inf for speech ids that repeat too often."""
        if not self.rules.block_repeats:
            return logits
        in_speech = _select(self.speech, rows) & _select(self.last_was_speech, rows)
        return logits.masked_fill(
            self._repeated(_select(self.recent, rows), in_speech, logits.shape[1]), -torch.inf
        )

    def _repeated(self, recent: Tensor, in_speech: Tensor, width: int) -> Tensor:
        """Return (R, width) bool: ids that repeat too often.

        Text ids below the size of the speech vocabulary count as well, as in the upstream code.
        """
        silence = recent == self.config.speech.silence  # (R, 13)
        same = recent[:, :, None] == recent[:, None, :]  # (R, 13, 13)
        frequent = torch.where(
            silence, same.sum(2) >= SILENCE_IN_WINDOW, same[:, :, -WINDOW:].sum(2) >= IN_WINDOW
        )
        run = same[:, -1].flip(1).long().cumprod(1).sum(1)  # (R,) length of the run of the last id
        stuck = run >= torch.where(silence[:, -1], SILENCE_RUN, RUN)
        frequent[:, -1] |= stuck
        frequent &= (recent >= 0) & (recent < self.config.speech.tokens)
        frequent &= in_speech[:, None]
        repeated = torch.zeros(recent.shape[0], width + 1, dtype=torch.bool, device=recent.device)
        # Allowed ids go to a spare column, which is cut off.
        return repeated.scatter_(1, torch.where(frequent, recent, width), True)[:, :width]

    def accept(self, ids: Tensor) -> Tensor:
        """Record the drawn ids (B,), advance the state, and return (B,) bool: embed the id as speech.

        The id that ends the text is still embedded as text; the logits after it are speech. For a finished
        row, all state that is read later stays unchanged.
        """
        live, as_speech = ~self.finished(), self.speech.clone()
        ended_text = live & ~as_speech & (ids == self.config.text.end)
        is_bos_eos = live & as_speech & (ids == self.config.speech.bos_eos)
        self.id_count.add_(live)
        self.speech_count.add_(live & as_speech)
        self.bos_eos_count.add_(is_bos_eos)
        if self.rules.ends_with_text:
            self.stopped.logical_or_(ended_text)
        else:
            self.stopped.logical_or_(live & (self.bos_eos_count >= self.rules.bos_eos_count))
            self.text_ended.logical_or_(ended_text)
            self.speech.logical_or_(ended_text)
            if self.rules.blocks:
                self._advance_block(is_bos_eos)
        self.last_was_speech.copy_(as_speech)
        self.recent.copy_(torch.cat([self.recent[:, 1:], ids[:, None]], dim=1))
        return as_speech

    def _advance_block(self, is_bos_eos: Tensor) -> None:
        """Switch to the next block where the current one is full; stay in speech after the text ends."""
        assert self.rules.blocks is not None  # the caller's condition
        text, speech = self.rules.blocks
        self.block_left.sub_(1 if self.rules.bos_eos_in_blocks else (~is_bos_eos).long())
        full = (self.block_left <= 0) & ~self.text_ended
        self.speech.logical_xor_(full)
        self.block_left.copy_(torch.where(full, torch.where(self.speech, speech, text), self.block_left))


def _select(tensor: Tensor, rows: Tensor | None) -> Tensor:
    return tensor if rows is None else tensor[rows]
