"""How texts are made comparable before words or characters are counted: one named, versioned rule."""

from __future__ import annotations

import unicodedata

__all__ = ["CHARACTER_LANGUAGES", "MAX_TEXT", "NORMALISER", "characters", "normalised", "words"]

#: Goes into fingerprints and reports; any change of the rule below changes this name.
NORMALISER = "echat-norm-1"
#: Languages written without spaces: error rates count characters.
CHARACTER_LANGUAGES = frozenset({"zh", "yue", "ja", "th"})
#: Characters; a longer text is no reply, and counting its errors would take hours.
MAX_TEXT = 20_000

_APOSTROPHES = frozenset("'’‘ʼ`´")


def normalised(text: str) -> str:
    """Return the text as echat-norm-1 compares it.

    NFKC; lower case; an apostrophe between letters goes without a trace (it's, its); every other
    punctuation mark, symbol or control character becomes a space; runs of space become one.
    Numbers stay as they are written: 7 and seven differ, so an error rate of replies that hold
    digits is an upper bound. Traditional and simplified characters differ too.

    >>> normalised("It’s well-known…  ＹＥＳ!")
    'its well known yes'
    """
    plain = unicodedata.normalize("NFKC", text).lower()
    kept: list[str] = []
    for place, sign in enumerate(plain):
        if sign in _APOSTROPHES and _between_letters(plain, place):
            continue
        kind = unicodedata.category(sign)
        if kind == "Cf":  # joiners and other marks nobody sees
            continue
        kept.append(sign if kind[0] in "LNM" else " ")
    return " ".join("".join(kept).split())


def words(text: str, language: str) -> list[str]:
    """Return the units an error rate counts: words, or characters where a language has no spaces.

    >>> words("I'm here.", "en"), words("我在。", "zh")
    (['im', 'here'], ['我', '在'])
    """
    return characters(text) if language in CHARACTER_LANGUAGES else normalised(text).split()


def characters(text: str) -> list[str]:
    """Return the characters of the normalised text, spaces left out.

    >>> characters("Hi, 你好!")
    ['h', 'i', '你', '好']
    """
    return list(normalised(text).replace(" ", ""))


def _between_letters(text: str, place: int) -> bool:
    before, after = text[max(place - 1, 0) : place], text[place + 1 : place + 2]
    return before.isalnum() and after.isalnum()
