"""Splitting the ids of a reply into text and speech, as they are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from echat_eval.osum.decoding.state import DecodingRules
    from echat_eval.osum.model.config import OsumConfig

__all__ = ["ReplySplitter", "split_ids"]


class ReplySplitter:
    """Follows the phases of one reply on the host, by the rules that `DecodingState` applies on the device.

    Attributes:
        text: text ids so far, without the one that ends the text.
        speech: codec ids so far, without begin-or-end tokens.
        speech_count: ids of the speech phase so far, begin-or-end tokens included.
    """

    def __init__(self, rules: DecodingRules, config: OsumConfig) -> None:
        self.rules, self.config = rules, config
        self.text: list[int] = []
        self.speech: list[int] = []
        self.speech_count = 0
        self._in_speech, self._text_ended = rules.starts_in_speech, False
        self._block_left = rules.blocks[0] if rules.blocks else 0

    def feed(self, ids: Iterable[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Add further ids of the reply; return the (text, speech) ids among them."""
        text, speech = len(self.text), len(self.speech)
        for token in ids:
            self._add(token)
        return tuple(self.text[text:]), tuple(self.speech[speech:])

    def _add(self, token: int) -> None:
        bos_eos = self._in_speech and token == self.config.speech.bos_eos
        if self._in_speech:
            self.speech_count += 1
            if not bos_eos:
                self.speech.append(token)
        elif token != self.config.text.end:
            self.text.append(token)
        else:
            self._text_ended = True
            self._in_speech = not self.rules.ends_with_text
        if self.rules.blocks:
            self._advance_block(bos_eos, *self.rules.blocks)

    def _advance_block(self, bos_eos: bool, text: int, speech: int) -> None:
        self._block_left -= self.rules.bos_eos_in_blocks or not bos_eos
        if self._block_left <= 0 and not self._text_ended:
            self._in_speech = not self._in_speech
            self._block_left = speech if self._in_speech else text


def split_ids(
    ids: Sequence[int], rules: DecodingRules, config: OsumConfig, *, upstream: bool = False
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return (text ids, speech ids) of a reply.

    With `upstream`, cut the reply as the public code does: drop the last text id of a spoken reply (if the
    text is empty, all ids but the last become text), and drop the first and the last speech id whatever they
    are. A reply whose text never ends, on which the public code crashes, is all text.
    """
    row, end = tuple(ids), config.text.end
    if not upstream or rules.blocks or rules.ends_with_text:
        return ReplySplitter(rules, config).feed(row)
    if rules.starts_in_speech:
        return (), row[:-1]
    if end not in row:
        return row, ()
    return row[: row.index(end) - 1], row[row.index(end) + 1 : -1][1:]
