"""Text normalisation before error rates are counted: one named, versioned rule."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Literal

from echat_eval.languages import error_rate_of

if TYPE_CHECKING:
    from echat_eval.records import Sample

__all__ = ["NORMALISER", "characters", "normalised", "rate_of", "words"]

#: Part of fingerprints and reports; rename it with any change of the rule below.
NORMALISER = "echat-norm-1"

_APOSTROPHES = frozenset("'’‘ʼ`´")


def normalised(text: str) -> str:
    """Return the text normalised by echat-norm-1.

    NFKC; lower case; apostrophes between letters are removed (it's -> its); every other punctuation
    mark, symbol or control character becomes a space; runs of spaces become one. Numbers stay as
    written: 7 and seven differ, so the error rate of replies with digits is an upper bound.
    Traditional and simplified characters differ too.

    >>> normalised("It’s well-known…  ＹＥＳ!")
    'its well known yes'
    """
    plain = unicodedata.normalize("NFKC", text).lower()
    kept: list[str] = []
    for position, character in enumerate(plain):
        if character in _APOSTROPHES and _between_letters(plain, position):
            continue
        category = unicodedata.category(character)
        if category == "Cf":  # joiners and other invisible marks
            continue
        kept.append(character if category[0] in "LNM" else " ")
    return " ".join("".join(kept).split())


def rate_of(sample: Sample) -> Literal["wer", "cer"]:
    """Return the error rate of a sample: as its task states it, else by the script of its language."""
    return sample.error_rate or error_rate_of(sample.language)


def words(text: str, language: str, rate: Literal["wer", "cer"] | None = None) -> list[str]:
    """Return the units of an error rate: words, or characters for scripts without spaces.

    Args:
        text: any text.
        language: decides where `rate` is None.
        rate: of words or of characters.

    >>> words("I'm here.", "en"), words("我在。", "zh")
    (['im', 'here'], ['我', '在'])
    """
    return characters(text) if (rate or error_rate_of(language)) == "cer" else normalised(text).split()


def characters(text: str) -> list[str]:
    """Return the characters of the normalised text without spaces.

    >>> characters("Hi, 你好!")
    ['h', 'i', '你', '好']
    """
    return list(normalised(text).replace(" ", ""))


def _between_letters(text: str, position: int) -> bool:
    before, after = text[max(position - 1, 0) : position], text[position + 1 : position + 2]
    return before.isalnum() and after.isalnum()
