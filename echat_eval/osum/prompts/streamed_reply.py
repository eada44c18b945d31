"""The words of a reply while it is decoded: only those that no later id can turn into something else."""

from __future__ import annotations

import re

from echat_eval.errors import SystemFailure
from echat_eval.osum.prompts.parse_reply import read_reply

__all__ = ["StreamedReply"]

#: An end that may be the beginning of a mark or a tag, white space, or half a character.
_OPEN_END = re.compile(r"(?:<[^<>]{0,23}|\[[^\[\]]{0,7}|◁[^▷]{0,7})\Z")
_HALF = "\N{REPLACEMENT CHARACTER}"


class StreamedReply:
    """Splits a reply that grows into think text and words.

    A mark that only closes a think text makes think text of all before it. So where the mode writes one,
    words are sent after its end only.

    Args:
        mode: a name of `modes.MODES`; the text of `understand` is read as a whole.
    """

    def __init__(self, mode: str) -> None:
        self._waits, self._thinks = mode == "understand", mode.endswith("-think")
        self._think = self._text = ""

    def push(self, raw: str) -> tuple[str, str]:
        """Return what is new in (think text, words).

        Args:
            raw: all text so far.
        """
        if self._waits:
            return "", ""
        raw = raw.rstrip().rstrip(_HALF)
        reading = read_reply(_OPEN_END.sub("", raw).rstrip())
        text = "" if self._thinks and reading.think is None else reading.text
        return self._new(reading.think or "", text)

    def end(self, think: str | None, text: str) -> tuple[str, str]:
        """Return the rest.

        Args:
            think, text: of the whole reply.

        Raises:
            SystemFailure: words were sent that turned out to be none.
        """
        if not (think or "").startswith(self._think) or not text.startswith(self._text):
            raise SystemFailure(
                "words were sent before a mark made think text of them; ask for the reply without a stream"
            )
        return self._new(think or "", text)

    def _new(self, think: str, text: str) -> tuple[str, str]:
        new_think = think[len(self._think) :] if think.startswith(self._think) else ""
        new_text = text[len(self._text) :] if text.startswith(self._text) else ""
        self._think, self._text = self._think + new_think, self._text + new_text
        return new_think, new_text
