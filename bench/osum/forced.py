"""Replies of a set length out of a random model, which never ends one by itself: the work is fixed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from echat_eval.osum.decoding.row_states import RowStates
from echat_eval.osum.model.config import OsumConfig

#: Further than any reply goes.
NEVER = 1_000_000


@dataclass(frozen=True)
class Length:
    """How long a reply is forced to be.

    Attributes:
        text: text ids before the one that ends the text.
        codes: codec ids between the two edge tokens.
    """

    text: int
    codes: int

    @property
    def ids(self) -> int:
        """All ids that the decoder makes: the end of the text and two edges come on top."""
        return self.text + self.codes + 3

    def forced(self, step: int, config: OsumConfig) -> int | None:
        """Return the id that has to come at this step, None where any but the ends may come."""
        if step == self.text:
            return config.text.end
        if step in (self.text + 1, self.text + self.codes + 2):
            return config.speech.bos_eos
        return None

    def barred(self, step: int, config: OsumConfig) -> int:
        """Return the id that may not come at this step unless forced."""
        return config.text.end if step < self.text else config.speech.bos_eos


_INIT, _START, _ACCEPT, _STATE = RowStates.__init__, RowStates.start, RowStates.accept, RowStates.STATE
#: Seed -> length, while replies are forced.
_length_of: list[Callable[[int], Length]] = []


def _with_lengths(self: Any, *given: Any, rows: int, like: torch.Tensor, **named: Any) -> None:
    _INIT(self, *given, rows=rows, like=like, **named)
    self.text_ends, self.reply_ends = (
        torch.zeros(rows, dtype=torch.long, device=like.device) for _ in range(2)
    )


def _start_with_lengths(
    self: Any, rows: torch.Tensor, hidden: torch.Tensor, positions: torch.Tensor, seeds: Sequence[int]
) -> None:
    _START(self, rows, hidden, positions, seeds)
    lengths = [_length_of[-1](seed) for seed in seeds]
    device = self.text_ends.device
    self.text_ends[rows] = torch.tensor([length.text for length in lengths], device=device)
    self.reply_ends[rows] = torch.tensor([length.ids - 1 for length in lengths], device=device)


def _accept_forced(self: Any, ids: torch.Tensor) -> None:
    end, speech_bos_eos = self.config.text.end, self.config.speech.bos_eos
    speech, count = self.decoding.speech, self.decoding.id_count
    ids = ids.masked_fill(torch.where(speech, ids == speech_bos_eos, ids == end), 0)
    ids = ids.masked_fill(~speech & (count == self.text_ends), end)
    ids = ids.masked_fill(
        speech & ((count == self.text_ends + 1) | (count == self.reply_ends)), speech_bos_eos
    )
    _ACCEPT(self, ids)


@contextmanager
def forced(length_of: Callable[[int], Length]) -> Iterator[None]:
    """Make our engine's replies as long as `length_of(seed)`; on the device, in captured steps as well.

    A hook would do for plain steps only, and would keep the engine from refilling slots. The functions are
    the same in every block: other ones would be compiled again.
    """
    changed: Any = RowStates
    _length_of.append(length_of)
    changed.__init__, changed.start, changed.accept = _with_lengths, _start_with_lengths, _accept_forced
    changed.STATE = (*_STATE, "text_ends", "reply_ends")
    try:
        yield
    finally:
        _length_of.pop()
        changed.__init__, changed.start, changed.accept, changed.STATE = _INIT, _START, _ACCEPT, _STATE


def make_waves(count: int, *, seconds: float = 4.0, seed: int = 0) -> list[torch.Tensor]:
    """Return noise to hear, (samples,) float32 at 16 kHz each; half to one and a half `seconds` long."""
    generator = torch.Generator().manual_seed(seed)
    shares = [0.5 + ((7 * number + 8) % 16) / 16 for number in range(count)]  # the first is `seconds` long
    return [0.1 * torch.randn(int(16_000 * seconds * share), generator=generator) for share in shares]
