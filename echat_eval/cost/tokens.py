"""How many tokens a question can be, before a server has counted them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from echat_eval.cost.prices import Tokens

__all__ = ["PROXY", "MessageSize"]

#: Tokens that a chat server may add around one message: roles and separators.
PER_MESSAGE = 32
#: Tokens a second of sound. Seen in use: 10 for what is heard and 20 for what is said (OpenAI's guide to the
#: costs of its Realtime API), 25 for what is heard (Qwen2.5-Omni); the bound leaves room above them.
HEARD_PER_SECOND, HEARD_BOUND = 10, 50
SAID_PER_SECOND = 20
#: A spoken answer of two sentences: tokens of its words, and seconds of its voice.
TYPICAL_WORDS, TYPICAL_SECONDS = 60, 10.0

#: How `about` comes to its numbers, for whoever prints them.
PROXY = (
    "tokens are a proxy, as no tokenizer is asked: 4 characters of an alphabet or 1 of Chinese each, "
    f"{HEARD_PER_SECOND} for a second of sound"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSize:
    """One question.

    Attributes:
        texts: of its messages and of a schema.
        heard_seconds: of the sounds that go with it.
        max_tokens: of the answer; None: the server's own limit.
        speaks: the answer may be a voice.
    """

    texts: tuple[str, ...]
    heard_seconds: float = 0.0
    max_tokens: int | None = None
    speaks: bool = False

    def most(self) -> Tokens | None:
        """Return the most it can cost in tokens; None if nothing bounds the answer.

        A token of a byte-level vocabulary stands for at least one byte. An answer may be all words or
        all voice, so both are counted in full.
        """
        if self.max_tokens is None:
            return None
        return Tokens(
            text_in=sum(len(text.encode("utf-8", "surrogatepass")) + PER_MESSAGE for text in self.texts),
            text_out=self.max_tokens,
            audio_in=math.ceil(self.heard_seconds * HEARD_BOUND),
            audio_out=self.max_tokens if self.speaks else 0,
        )

    def used(self, usage: Mapping[str, float]) -> Tokens | None:
        """Return the tokens that a server counted; None if it told nothing.

        Where it does not tell words from sound, all is sound if there was any: a sum is then rather too
        large than too small.
        """
        asked, said = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if asked is None or said is None:
            return None
        heard = usage.get("prompt_audio_tokens", asked if self.heard_seconds else 0)
        voice = usage.get("completion_audio_tokens", said if self.speaks else 0)
        return Tokens(
            text_in=max(0, int(asked - heard)),
            text_out=max(0, int(said - voice)),
            audio_in=int(heard),
            audio_out=int(voice),
        )

    def about(self, said: int = TYPICAL_WORDS) -> Tokens:
        """Return what it will cost in tokens, roughly; see `PROXY`.

        Args:
            said: tokens of the words that are expected in answer.
        """
        limit = self.max_tokens if self.max_tokens is not None else said
        return Tokens(
            text_in=sum(map(_tokens, self.texts)),
            text_out=min(said, limit),
            audio_in=math.ceil(self.heard_seconds * HEARD_PER_SECOND),
            audio_out=math.ceil(TYPICAL_SECONDS * SAID_PER_SECOND) if self.speaks else 0,
        )


def _tokens(text: str) -> int:
    # Chinese, Japanese and Korean begin at U+2E80; what comes before is written with alphabets.
    wide = sum(character >= "\u2e80" for character in text)
    return math.ceil((len(text) - wide) / 4) + wide
