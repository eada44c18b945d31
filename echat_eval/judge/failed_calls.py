"""Calls to a judge that gave no verdict: their number per question, and why an answer holds none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.errors import Unavailable, Withheld, writable
from echat_eval.io.display import one_line

if TYPE_CHECKING:
    from echat_eval.clients.chat import ChatAnswer

__all__ = ["FailedCalls", "missing_cause"]

#: Finish reasons of servers whose filter stopped an answer, and of answers cut at the token limit.
_FILTERED = frozenset(
    ["content_filter", "content_filtered", "safety", "prohibited_content", "blocklist", "recitation"]
)
_CUT = frozenset(["length", "max_tokens", "max_output_tokens", "model_length"])


class FailedCalls:
    """Number of calls per question that gave no verdict but were, or may have been, billed.

    Args:
        limit: failed calls after which a question is not sent again; None: no limit.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self._failed: dict[str, tuple[int, Unavailable]] = {}

    def record(self, question_key: str, error: BaseException | None) -> None:
        """Count a failed call, unless the server refused it or it was withheld."""
        if isinstance(error, Unavailable) and not error.refused and not isinstance(error, Withheld):
            count, _ = self._failed.get(question_key, (0, error))
            self._failed[question_key] = count + 1, type(error)(str(error))

    def check(self, question_key: str) -> None:
        """Raise the last error of a question that has reached the limit."""
        if self.limit is not None and question_key in self._failed:
            count, error = self._failed[question_key]
            if count >= self.limit:
                raise type(error)(str(error))


def missing_cause(answer: ChatAnswer, max_tokens: int | None) -> str | None:
    """Return why an answer holds no verdict, as far as the server reports it."""
    reason = (answer.finish_reason or "").lower()
    if reason in _FILTERED:
        return f"a content filter stopped the judge's answer (finish_reason {answer.finish_reason})"
    if answer.refusal:
        return f"the judge refused to answer: {one_line(writable(answer.refusal), 120)!r}"
    if reason in _CUT:
        limit = f"{max_tokens} tokens" if max_tokens is not None else "the server's limit"
        thought = f", after {len(answer.think):,} characters of thought" if answer.think else ""
        return (
            f"the judge's answer was cut at {limit}{thought} (finish_reason {answer.finish_reason}); "
            "raise it with --judge-set max_tokens=N"
        )
    if answer.think and not answer.text.strip():
        return f"the judge gave a thought of {len(answer.think):,} characters and no answer"
    if answer.finish_reason not in (None, "stop") and not answer.text.strip():
        return f"the judge gave no text (finish_reason {one_line(answer.finish_reason, 40)})"
    return None
