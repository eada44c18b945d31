"""Finds names and places in texts that others wrote: replies, verdicts, transcripts, titles.

A name is compared part by part, so that `Qwen-Omni` is found as `qwen_omni`, `QwenOmni`, `qwen omni_v2` and
in full-width letters. docs/publish.md lists the forms.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["BLOT", "ORDINARY", "SHORTEST", "NameSearch", "long_enough", "words_of"]

BLOT = "[withheld]"
_TOP = (
    "com|org|net|edu|gov|int|io|ai|cn|uk|de|fr|jp|kr|tw|hk|eu|ch|nl|se|ru|lab|lan|local|localdomain|internal"
)
_TOP += "|intranet|corp|example|invalid|dev|app|cloud|tech|xyz"
_LABEL = "[a-z0-9-]{1,63}"
_HOST_END = r"(?![a-z0-9_])(?::\d{1,5})?(?:/[^\s\"'<>]+)?"
#: Addresses, paths, e-mail and hosts, wherever they stand. Every repetition before a fixed character is
#: bounded, so that the time grows with the length of a text and not with its square.
_PLACES = (
    r"(?<![a-z0-9])[a-z][a-z0-9+.-]{0,30}://[^\s\"'<>]+",
    r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}",
    r"(?<![\w.:/<-])~?(?:/[\w.@+-]{1,255}){2,}/?",
    r"(?<=[\u3000-\u9fff])~?(?:/[a-z0-9_.@+-]{1,255}){2,}/?",
    r"~/[\w.@+-]+",
    r"(?<![a-z0-9])[a-z]:\\[^\s\"'<>]+",
    r"\\\\[\w.$-]{1,64}\\[^\s\"'<>]+",
    r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.]?\d)(?::\d{1,5})?",
    r"\[[0-9a-f.]{0,4}:[0-9a-f:.]{1,45}(?:%\w{1,15})?\](?::\d{1,5})?",
    r"(?<![a-z0-9_:])[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){0,6}::(?:[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){0,6})?(?![a-z0-9_:])",
    r"(?<![a-z0-9_:])[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){7}(?![a-z0-9_:])",
    rf"(?<![a-z0-9-])(?:[a-z0-9-]{{2,63}}\.){{2,8}}[a-z]{{2,24}}{_HOST_END}",
    rf"(?<![a-z0-9-]){_LABEL}\.(?:{_TOP}){_HOST_END}",
    rf"(?<![a-z0-9-])(?=[0-9-]{{0,63}}[a-z])(?=[a-z-]{{0,63}}[0-9]){_LABEL}\.[a-z]{{2,24}}{_HOST_END}",
    r"(?<![a-z0-9_-])[a-z][\w-]{0,62}(?:\.[\w-]{1,63}){0,8}:\d{4,5}(?!\d)",
)
#: Between two parts of a name stands one of these, or nothing.
_BETWEEN = r"[\s_.·/\\+:@‐-―-]?"
_PART = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![^\W\d_A-Z])|[A-Z]|\d+")
#: A name of Latin letters and digits is a word of at least so many; other characters count twice.
SHORTEST = 3
#: Words that name no system in particular.
ORDINARY = frozenset(
    re.findall(
        r"\w+",
        "about adapter after again agent all also and angry answer any are asr assistant audio bad base "
        "baseline before best better big bin bot but calm can candidate caring chat check checkpoint "
        "child ckpt comfort config control could current data decoder default demo dev dialog dialogue "
        "echo emotion emotional empathetic empathic empathy encoder end epoch error eval even every "
        "failed fast feel feeling final fine first floor for friend from full generate get good gpt gray "
        "great group happy hear help helper hidden home human input instruct job just kind know label "
        "labels language large last latest lead like line listen listener listening little live llm "
        "local long love low main mean medium mine mini model models more most much name neutral new "
        "next none normal not now off old omni one only open other our ours out output over own pass "
        "people pilot plain point points preview pro prompt proxy query quiet real realtime reasoning "
        "replies reply request response result results root run runs sad safetensors same sample samples "
        "score scores second see self sense server short silent simple slow small sound source speak "
        "speaker speech stage start state step stop strong student style support system talk task "
        "teacher test text than that the them then there they think thinking this time tiny tone tool "
        "train trained true try tts tune tuned turbo turn turns two under understand user value version "
        "very voice voices want warm was way weak weight weights well were what when which who why will "
        "with word words work would yes you young your ",
    )
)


class NameSearch:
    """Replaces names and places in texts.

    Args:
        names: name -> what stands there instead; the longest that fits is replaced.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        found = {parts: text for name, text in names.items() if (parts := tuple(words_of(name)))}
        longest = sorted(found, key=lambda parts: (len("".join(parts)), parts), reverse=True)
        ordered = [_pattern(parts) for parts in longest]
        self._printed = [found[parts] for parts in longest]
        groups = (f"(?P<n{number}>{pattern})" for number, pattern in enumerate(ordered))
        self._names = re.compile("|".join(groups)) if ordered else None
        self._all = re.compile("|".join([*_PLACES, *(f"(?P<n{n}>{p})" for n, p in enumerate(ordered))]))

    def text(self, text: str) -> str:
        """Return a text without names and places."""
        composed = unicodedata.normalize("NFC", text)
        folded, places = _folded(composed)
        parts, end = [], 0
        for match in self._all.finditer(folded):
            start, stop = places[match.start()], places[match.end() - 1] + 1
            shown = BLOT if match.lastgroup is None else self._printed[int(match.lastgroup[1:])]
            parts += [composed[end:start], shown]
            end = stop
        return "".join([*parts, composed[end:]]) if parts else text

    def has_name(self, text: str) -> bool:
        """Return whether a name stands in a text."""
        folded, _ = _folded(unicodedata.normalize("NFC", text))
        return self._names is not None and self._names.search(folded) is not None


def long_enough(name: str) -> bool:
    """Return whether a name is long enough to search texts for it.

    >>> long_enough("r1"), long_enough("osu"), long_enough("小语"), long_enough("语")
    (False, True, True, False)
    """
    return sum(1 + (c >= "\u2e80") for c in unicodedata.normalize("NFKC", name) if c.isalnum()) >= SHORTEST


def words_of(name: str) -> list[str]:
    """Return the folded parts of a name: at separators, capitals and digits.

    >>> words_of("Qwen2.5-OmniChat_v2")
    ['qwen', '2', '5', 'omni', 'chat', 'v', '2']
    """
    composed = "".join(c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) != "Cf")
    return [part.casefold() for part in _PART.findall(composed)]


def _pattern(parts: Sequence[str]) -> str:
    """Return the pattern of a name in folded text."""
    before = "(?<![a-z0-9])" if parts[0][0].isascii() else ""
    last = parts[-1][-1]
    version = r"(?:[_.-]?v?\d{1,8}(?:\.\d{1,8}){0,3})?" if last.isascii() and last.isalpha() else ""
    after = "(?![a-z0-9])" if last.isascii() else ""
    return before + _BETWEEN.join(map(re.escape, parts)) + version + after


def _folded(text: str) -> tuple[str, Sequence[int]]:
    """Return the text in small letters and compatible characters, and the place of each in the text."""
    if text.isascii():
        return text.lower(), range(len(text))
    letters: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        for letter in _letters(character):
            letters.append(letter)
            places.append(place)
    return "".join(letters), places


@lru_cache(maxsize=16384)
def _letters(character: str) -> str:
    """Return what a character is compared as; marks of format, such as a zero-width space, are nothing."""
    if unicodedata.category(character) == "Cf":
        return ""
    return unicodedata.normalize("NFKC", character).casefold()
