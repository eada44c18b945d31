"""The rules of one reply: text first, then speech; what may come next; when it ends. Per row, on the device.

Source of the rules: OSUM-EChat, commit f2bcfac, patches/ (there for one row at a time, and with the
repetition rule switched off by accident on GPUs).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from echat_eval.osum.model.config import OsumConfig

__all__ = ["DecodingRules", "DecodingState", "split_ids"]

#: How often a token may follow itself, and how often it may occur in the last few; then it is forbidden once.
RUN, WINDOW, IN_WINDOW = 5, 8, 5
#: The same for the silence-like token.
SILENCE_RUN, SILENCE_WINDOW, SILENCE_IN_WINDOW = 10, 13, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodingRules:
    """What kind of reply is made.

    Attributes:
        max_new: most ids per reply, text and speech together.
        starts_in_speech: the first id is a speech token (text to speech).
        ends_with_text: the reply is over when its text is.
        edges: this many begin-or-end tokens end the speech: 2, or 1 if the first stands in the prompt.
        age_gate: after the words "age is <" only an age may follow, once.
        block_repeats: forbid a speech token that repeats too often.
        blocks: text ids and speech ids in turn, so many each, until the text ends; None: one after the other.
        edge_fills: a begin-or-end token takes a place in its block, as in training.
    """

    max_new: int
    starts_in_speech: bool = False
    ends_with_text: bool = False
    edges: int = 2
    age_gate: bool = False
    block_repeats: bool = False
    blocks: tuple[int, int] | None = None
    edge_fills: bool = True


class DecodingState:
    """Where each row of a batch stands; every change is made in place, so that a step can be recorded.

    Attributes:
        speech: (B,) bool, which head comes next.
        spoke: (B,) bool, the last id was a speech token.
        done: (B,) bool, the reply ended by itself.
        count: (B,) int64, ids until the end.
        spoken: (B,) int64, speech ids among them.
        edges: (B,) int64, begin-or-end tokens among them.
        gate_open: (B,) bool, the age gate has not fired yet.
        recent: (B, 13) int64, the last ids, newest last, -1 where there was none.
        room: (B,) int64, ids that the present block still takes.
        text_over: (B,) bool, no text block comes any more.
    """

    STATE = (
        "speech",
        "spoke",
        "done",
        "count",
        "spoken",
        "edges",
        "gate_open",
        "recent",
        "room",
        "text_over",
    )

    def __init__(self, rules: DecodingRules, config: OsumConfig, *, rows: int, device: torch.device) -> None:
        self.rules, self.config = rules, config
        self.speech, self.spoke, self.done, self.gate_open, self.text_over = (
            torch.zeros(rows, dtype=torch.bool, device=device) for _ in range(5)
        )
        self.count, self.spoken, self.edges, self.room = (
            torch.zeros(rows, dtype=torch.long, device=device) for _ in range(4)
        )
        self.recent = torch.zeros(rows, SILENCE_WINDOW, dtype=torch.long, device=device)
        self._gate_after = torch.tensor(config.text.age_gate_after, device=device)
        self._gate_allow = torch.tensor(config.text.age_gate_allow, device=device)
        self.start(torch.arange(rows, device=device))

    def start(self, rows: Tensor) -> None:
        """Put the rows with these numbers (R,) at the beginning of a reply."""
        for flag in (self.speech, self.spoke):
            flag[rows] = self.rules.starts_in_speech
        for tensor in (self.done, self.text_over, self.count, self.spoken, self.edges):
            tensor[rows] = 0
        self.gate_open[rows] = self.rules.age_gate
        self.recent[rows] = -1
        self.room[rows] = self.rules.blocks[0] if self.rules.blocks else 0

    def head(self, rows: int) -> DecodingState:
        """Return the first rows, on the same memory."""
        part = copy.copy(self)
        for name in self.STATE:
            setattr(part, name, getattr(self, name)[:rows])
        return part

    def over(self) -> Tensor:
        """Return (B,) bool: rows that take no more ids."""
        return self.done | (self.count >= self.rules.max_new)

    def restrict(self, logits: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return logits (R, V) with -inf where a rule forbids the id; `rows` (R,) numbers, None for all."""
        # Logits as narrow as the speech vocabulary mean that no row writes text any more.
        if self.rules.age_gate and logits.shape[1] > max(self.config.text.age_gate_allow):
            logits = self.gate(logits, rows)
        return self.block(logits, rows)

    def gate(self, logits: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return text logits (R, V) with all but the ages forbidden where an age must follow."""
        if not self.rules.age_gate:
            return logits
        recent, open_, speech = (_of(t, rows) for t in (self.recent, self.gate_open, self.speech))
        asked = (recent[:, -len(self._gate_after) :] == self._gate_after).all(1) & open_ & ~speech
        if rows is None:
            self.gate_open.logical_and_(~asked)
        else:
            self.gate_open[rows] = open_ & ~asked
        closed = torch.ones(logits.shape[1], dtype=torch.bool, device=logits.device)
        closed.index_fill_(0, self._gate_allow, 0)
        return logits.masked_fill(asked[:, None] & closed, -torch.inf)

    def block(self, logits: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return logits (R, V) with speech ids forbidden that repeat too often to come next."""
        if not self.rules.block_repeats:
            return logits
        speaking = _of(self.speech, rows) & _of(self.spoke, rows)
        return logits.masked_fill(
            self._worn_out(_of(self.recent, rows), speaking, logits.shape[1]), -torch.inf
        )

    def _worn_out(self, recent: Tensor, speaking: Tensor, width: int) -> Tensor:
        """Return (R, width) bool: ids that repeat too often to come next.

        Text ids below the speech vocabulary's size count as well; upstream counts so.
        """
        silence = recent == self.config.speech.silence  # (R, 13)
        same = recent[:, :, None] == recent[:, None, :]  # (R, 13, 13)
        frequent = torch.where(
            silence, same.sum(2) >= SILENCE_IN_WINDOW, same[:, :, -WINDOW:].sum(2) >= IN_WINDOW
        )
        run = same[:, -1].flip(1).long().cumprod(1).sum(1)  # (R,) how long the last id has gone on
        stuck = run >= torch.where(silence[:, -1], SILENCE_RUN, RUN)
        frequent[:, -1] |= stuck
        frequent &= (recent >= 0) & (recent < self.config.speech.tokens)
        frequent &= speaking[:, None]
        worn = torch.zeros(recent.shape[0], width + 1, dtype=torch.bool, device=recent.device)
        # Ids that may come go to a spare column, which is cut off.
        return worn.scatter_(1, torch.where(frequent, recent, width), True)[:, :width]

    def accept(self, ids: Tensor) -> Tensor:
        """Take the chosen ids (B,), move on, and return (B,) bool: embed as speech.

        The id that ends the text is still embedded as text; the logits after it are speech. A row that is
        over stays as it is in all that is read of it.
        """
        live, as_speech = ~self.over(), self.speech.clone()
        ended_text = live & ~as_speech & (ids == self.config.text.end)
        edge = live & as_speech & (ids == self.config.speech.edge)
        self.count.add_(live)
        self.spoken.add_(live & as_speech)
        self.edges.add_(edge)
        if self.rules.ends_with_text:
            self.done.logical_or_(ended_text)
        else:
            self.done.logical_or_(live & (self.edges >= self.rules.edges))
            self.text_over.logical_or_(ended_text)
            self.speech.logical_or_(ended_text)
            if self.rules.blocks:
                self._turn(edge)
        self.spoke.copy_(as_speech)
        self.recent.copy_(torch.cat([self.recent[:, 1:], ids[:, None]], dim=1))
        return as_speech

    def _turn(self, edge: Tensor) -> None:
        """Go to the next block where the present one is full; once the text is over, stay with speech."""
        assert self.rules.blocks is not None  # the caller's condition
        text, speech = self.rules.blocks
        self.room.sub_(1 if self.rules.edge_fills else (~edge).long())
        full = (self.room <= 0) & ~self.text_over
        self.speech.logical_xor_(full)
        self.room.copy_(torch.where(full, torch.where(self.speech, speech, text), self.room))


def _of(tensor: Tensor, rows: Tensor | None) -> Tensor:
    return tensor if rows is None else tensor[rows]


def interleaved(ids: Sequence[int], rules: DecodingRules, config: OsumConfig) -> tuple[bool, ...]:
    """Return for every id of a reply in blocks whether it is a speech id, by walking the same rules."""
    phases = DecodingState(rules, config, rows=1, device=torch.device("cpu"))
    return tuple(bool(phases.accept(torch.tensor([token]))) for token in ids)


def split_ids(
    ids: Sequence[int], rules: DecodingRules, config: OsumConfig, *, upstream: bool = False
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return (text ids, speech ids) of a reply.

    With `upstream`, cut as the public code cuts: a spoken reply loses its last text id (and if the
    text is empty, everything but the last id becomes text), and the first and the last speech id go
    whatever they are. A reply whose text never ends, where the public code crashes, is all text.
    """
    row = tuple(ids)
    edge = config.speech.edge
    if rules.blocks:
        marks = tuple(zip(row, interleaved(row, rules, config), strict=True))
        text = tuple(token for token, spoken in marks if not spoken and token != config.text.end)
        return text, without(tuple(token for token, spoken in marks if spoken), edge)
    if rules.starts_in_speech:
        return (), row[:-1] if upstream else without(row, edge)
    if config.text.end not in row:
        return row, ()
    end = row.index(config.text.end)
    if rules.ends_with_text:
        return row[:end], ()
    if upstream:
        return row[: end - 1], row[end + 1 : -1][1:]
    return row[:end], without(row[end + 1 :], edge)


def without(ids: tuple[int, ...], edge: int) -> tuple[int, ...]:
    """Return the codec ids: all but the begin-or-end tokens, which may also come where none is meant to."""
    return tuple(token for token in ids if token != edge)
