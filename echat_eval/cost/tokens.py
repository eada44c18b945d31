"""Token counts of a request before it is sent: an estimate and an upper bound."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from echat_eval.cost.prices import Tokens

__all__ = ["PROXY", "MessageSize"]

#: Tokens that a chat server may add to one message for roles and separators.
OVERHEAD_PER_MESSAGE = 32
#: Tokens per second of audio. Sources: 10 for input and 20 for output (OpenAI's guide to the costs of its
#: Realtime API), 25 for input (Qwen2.5-Omni). The bound leaves room above these.
AUDIO_IN_PER_SECOND, AUDIO_IN_BOUND = 10, 50
AUDIO_OUT_PER_SECOND = 20
#: A spoken reply of two sentences: text tokens, and seconds of audio.
TYPICAL_TEXT_TOKENS, TYPICAL_SECONDS = 60, 10.0

#: How `MessageSize.estimate` counts tokens, for output.
PROXY = (
    "token counts are estimates without a tokenizer: 1 token per 4 alphabetic characters or per Chinese "
    f"character, {AUDIO_IN_PER_SECOND} per second of audio"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSize:
    """The size of one request.

    Attributes:
        texts: texts of the messages and of a schema.
        audio_seconds: total duration of the input audio.
        max_tokens: limit on the answer; None: the server's own limit.
        spoken_reply: the answer may contain audio.
    """

    texts: tuple[str, ...]
    audio_seconds: float = 0.0
    max_tokens: int | None = None
    spoken_reply: bool = False

    def upper_bound(self) -> Tokens | None:
        """Return an upper bound of the tokens of request and answer; None if the answer has no limit.

        A token of a byte-level vocabulary covers at least one byte. An answer may be text only or audio only,
        so each counts in full.
        """
        if self.max_tokens is None:
            return None
        return Tokens(
            text_in=sum(
                len(text.encode("utf-8", "surrogatepass")) + OVERHEAD_PER_MESSAGE for text in self.texts
            ),
            text_out=self.max_tokens,
            audio_in=math.ceil(self.audio_seconds * AUDIO_IN_BOUND),
            audio_out=self.max_tokens if self.spoken_reply else 0,
        )

    def used(self, usage: Mapping[str, float]) -> Tokens | None:
        """Return the tokens that a server counted; None if it reported none.

        If the server does not separate text from audio, all tokens count as audio where there is any, so that
        the sum is too large rather than too small.
        """
        total_in, total_out = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if total_in is None or total_out is None:
            return None
        audio_in = usage.get("prompt_audio_tokens", total_in if self.audio_seconds else 0)
        audio_out = usage.get("completion_audio_tokens", total_out if self.spoken_reply else 0)
        return Tokens(
            text_in=max(0, math.ceil(total_in - audio_in)),
            text_out=max(0, math.ceil(total_out - audio_out)),
            audio_in=math.ceil(audio_in),
            audio_out=math.ceil(audio_out),
        )

    def estimate(self, reply_tokens: int = TYPICAL_TEXT_TOKENS) -> Tokens:
        """Return an estimate of the tokens of request and answer; see `PROXY`.

        Args:
            reply_tokens: expected text tokens of the answer.
        """
        limit = self.max_tokens if self.max_tokens is not None else reply_tokens
        return Tokens(
            text_in=sum(map(_estimate_tokens, self.texts)),
            text_out=min(reply_tokens, limit),
            audio_in=math.ceil(self.audio_seconds * AUDIO_IN_PER_SECOND),
            audio_out=math.ceil(TYPICAL_SECONDS * AUDIO_OUT_PER_SECOND) if self.spoken_reply else 0,
        )


def _estimate_tokens(text: str) -> int:
    # Chinese, Japanese and Korean scripts start at U+2E80; alphabets are below.
    wide = sum(character >= "\u2e80" for character in text)
    return math.ceil((len(text) - wide) / 4) + wide
