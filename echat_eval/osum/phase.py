"""The rules of one reply: text first, then speech; what may come next; when it ends. Per row, on the device.

Source of the rules: OSUM-EChat, commit f2bcfac, patches/ (there for one row at a time, and with the
repetition rule switched off by accident on GPUs).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from echat_eval.osum.config import OsumConfig

__all__ = ["Phases", "Rules", "split_ids"]

#: How often a token may follow itself, and how often it may occur in the last few; then it is forbidden once.
RUN, WINDOW, IN_WINDOW = 5, 8, 5
#: The same for the silence-like token.
SILENCE_RUN, SILENCE_WINDOW, SILENCE_IN_WINDOW = 10, 13, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What kind of reply is made.

    Attributes:
        max_new: most ids per reply, text and speech together.
        starts_in_speech: the first id is a speech token (text to speech).
        ends_with_text: the reply is over when its text is.
        edges: this many begin-or-end tokens end the speech: 2, or 1 if the first stands in the prompt.
        age_gate: after the words "age is <" only an age may follow, once.
        block_repeats: forbid a speech token that repeats too often.
    """

    max_new: int
    starts_in_speech: bool = False
    ends_with_text: bool = False
    edges: int = 2
    age_gate: bool = False
    block_repeats: bool = False


class Phases:
    """Where each row of a batch stands."""

    def __init__(self, rules: Rules, config: OsumConfig, *, rows: int, device: torch.device) -> None:
        self.rules, self.config = rules, config
        self.speech = torch.full((rows,), rules.starts_in_speech, device=device)  # which head comes next
        self.spoke = self.speech.clone()  # the last id was a speech token
        self.done = torch.zeros(rows, dtype=torch.bool, device=device)
        self.count = torch.zeros(rows, dtype=torch.long, device=device)  # ids until done
        self.edges = torch.zeros(rows, dtype=torch.long, device=device)
        self.gate_open = torch.full((rows,), rules.age_gate, device=device)
        self.recent = torch.full((rows, SILENCE_WINDOW), -1, device=device)  # (B, 13), newest last
        self._gate_after = torch.tensor(config.text.age_gate_after, device=device)
        self._gate_allow = torch.tensor(config.text.age_gate_allow, device=device)

    def restrict(self, logits: Tensor) -> Tensor:
        """Return logits (B, V) with -inf where a rule forbids the id."""
        # Logits as narrow as the speech vocabulary mean that no row writes text any more.
        if self.rules.age_gate and logits.shape[1] > max(self.config.text.age_gate_allow):
            asked = (self.recent[:, -len(self._gate_after) :] == self._gate_after).all(1)
            asked = asked & self.gate_open & ~self.speech
            self.gate_open = self.gate_open & ~asked
            closed = torch.ones(logits.shape[1], dtype=torch.bool, device=logits.device)
            closed[self._gate_allow] = False
            logits = logits.masked_fill(asked[:, None] & closed, -torch.inf)
        if self.rules.block_repeats:
            logits = logits.masked_fill(self._worn_out(logits.shape[1]), -torch.inf)
        return logits

    def _worn_out(self, width: int) -> Tensor:
        """Return (B, width) bool: ids that repeat too often to come next.

        Text ids below the speech vocabulary's size count as well; upstream counts so.
        """
        recent, silence = self.recent, self.recent == self.config.speech.silence  # (B, 13)
        same = recent[:, :, None] == recent[:, None, :]  # (B, 13, 13)
        frequent = torch.where(
            silence, same.sum(2) >= SILENCE_IN_WINDOW, same[:, :, -WINDOW:].sum(2) >= IN_WINDOW
        )
        run = same[:, -1].flip(1).long().cumprod(1).sum(1)  # (B,) how long the last id has gone on
        stuck = run >= torch.where(silence[:, -1], SILENCE_RUN, RUN)
        frequent[:, -1] |= stuck
        frequent &= (recent >= 0) & (recent < self.config.speech.tokens)
        frequent &= (self.speech & self.spoke)[:, None]
        worn = torch.zeros(recent.shape[0], width + 1, dtype=torch.bool, device=recent.device)
        # Ids that may come go to a spare column, which is cut off.
        return worn.scatter_(1, torch.where(frequent, recent, width), True)[:, :width]

    def accept(self, ids: Tensor) -> Tensor:
        """Take the chosen ids (B,), move on, and return (B,) bool: embed as speech.

        The id that ends the text is still embedded as text; the logits after it are speech.
        """
        embed_as_speech = self.speech
        ended_text = ~self.speech & (ids == self.config.text.end)
        self.count = self.count + (~self.done).long()
        self.edges = self.edges + (self.speech & (ids == self.config.speech.edge)).long()
        if self.rules.ends_with_text:
            self.done = self.done | ended_text
        else:
            self.done = self.done | (self.edges >= self.rules.edges)
            self.speech = self.speech | ended_text
        self.spoke = embed_as_speech
        self.recent = torch.cat([self.recent[:, 1:], ids[:, None]], dim=1)
        return embed_as_speech


def split_ids(
    ids: Sequence[int], rules: Rules, config: OsumConfig, *, upstream: bool = False
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return (text ids, speech ids) of a reply.

    With `upstream`, cut as the public code cuts: a spoken reply loses its last text id (and if the
    text is empty, everything but the last id becomes text), and the first and the last speech id go
    whatever they are. A reply whose text never ends, where the public code crashes, is all text.
    """
    row = tuple(ids)
    edge = config.speech.edge
    if rules.starts_in_speech:
        if upstream:
            return (), row[:-1]
        return (), row[:-1] if row[-1:] == (edge,) else row
    if config.text.end not in row:
        return row, ()
    end = row.index(config.text.end)
    if rules.ends_with_text:
        return row[:end], ()
    if upstream:
        return row[: end - 1], row[end + 1 : -1][1:]
    speech = row[end + 1 :]
    if speech[:1] == (edge,):
        speech = speech[1:]
    return row[:end], speech[:-1] if speech[-1:] == (edge,) else speech
