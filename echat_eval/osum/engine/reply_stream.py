"""The ids of one reply as they are drawn, each handed out once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.errors import SystemFailure
from echat_eval.osum.decoding.jobs import NewIds
from echat_eval.osum.decoding.reply_splitter import ReplySplitter
from echat_eval.osum.engine.types import ReplyPart

if TYPE_CHECKING:
    from echat_eval.osum.decoding.jobs import GenerationResult
    from echat_eval.osum.decoding.state import DecodingRules
    from echat_eval.osum.model.config import OsumConfig

__all__ = ["ReplyStream"]


class ReplyStream:
    """Splits new ids into text and speech, and recognises those of a reply that was decoded again.

    After a full memory, replies start again with fewer slots. In half precision they may then differ from
    what was handed out before.
    """

    def __init__(self, rules: DecodingRules, config: OsumConfig) -> None:
        self._splitter, self._known = ReplySplitter(rules, config), list[int]()

    def part(self, event: NewIds | GenerationResult) -> ReplyPart | None:
        """Return the ids of an event that were not handed out yet; None if there is no such id.

        Raises:
            SystemFailure: the reply was decoded again and differs.
        """
        start = event.start if isinstance(event, NewIds) else 0
        known = self._known[start : start + len(event.ids)]
        if event.ids[: len(known)] != tuple(known):
            raise SystemFailure(
                "the memory was full, and the reply, decoded again with fewer slots, differs from what was "
                "already sent: ask again"
            )
        new = event.ids[len(known) :]
        self._known += new
        text, speech = self._splitter.feed(new)
        return ReplyPart(number=event.job.number, text=text, speech=speech) if text or speech else None
