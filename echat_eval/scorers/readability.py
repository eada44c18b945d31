"""Readability: is a reply empty, or no words at all? A floor under every other score, not a grade.

A cue contrast compares a reply with the other replies of its group, so it cannot tell words from noise. Two
metrics per reply can:

    empty_reply       the reply has no text, and its ASR annotator found no words in its voice
    unreadable_reply  the reply is empty, or not words, by the first rule that holds:
                      no letters         "...!!!", "12345"
                      repeated letters   at least 10 letters, at most 2 different ones: "aaaaaaaaaa"
                      repeated words     at least `LEAST_UNITS`, all equal: "bla bla bla bla"
                      no common word     at least `LEAST_UNITS`, none of them in `COMMON`

The lists of common words are short: function words and the words of everyday replies in English, function
characters in Chinese, both written for this purpose. Running text in these languages has one in nearly every
sentence; gibberish, another alphabet and another language have none. The rules do not detect short gibberish,
gibberish with a common word in it, or sentences without meaning. Other languages have no list:
`unreadable_reply` is then not applicable.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from echat_eval.errors import NotApplicable, SystemFailure, Unavailable
from echat_eval.io.hashing import fingerprint_of
from echat_eval.languages import lookup
from echat_eval.records import Metric
from echat_eval.scorers.normalize import NORMALISER, characters, normalised
from echat_eval.scorers.transcripts import ASR_ANNOTATORS, words_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from echat_eval.ports import Case
    from echat_eval.records import Score, State

__all__ = ["COMMON", "EMPTY", "LEAST_UNITS", "UNREADABLE", "Readability", "unreadable_because"]

EMPTY = Metric(
    name="empty_reply",
    title="Empty reply",
    unit="%",
    low=0.0,
    high=100.0,
    higher_is_better=False,
    worst=100.0,
)
UNREADABLE = Metric(
    name="unreadable_reply",
    title="Unreadable reply",
    unit="%",
    low=0.0,
    high=100.0,
    higher_is_better=False,
    worst=100.0,
)

_ENGLISH = (
    "a about after all also always am an and any anything are as at be because been before being "
    "both but by can cant could couldnt did didnt do does doesnt doing dont down even every "
    "everything few for from get go going good got great had has have havent having he hear her "
    "here hes him his how i id if ill im in into is isnt it its ive just keep know lets like "
    "little lovely make many maybe me more most much must my never no nice not nothing now of off "
    "oh okay on once one only or other our out over own please really right shall she should so "
    "some someone something sorry sounds still such sure take talk tell than thank thanks that "
    "thats the their them then there theres these they theyre thing things think this those to "
    "too two until up us very want was wasnt way we well were weve what whats when where which "
    "while who why will wish with without wont would wouldnt yes yet you youd youll your youre "
    "yours youve "
)
_CHINESE = (
    "的一是不了在人有我他她它这那个们中来上大为和国地到以说时要就出会可也你对生能而子得着下自之年过发"
    "后里用道行所然家事成方多么去好看起把还没很都吗呢吧啊呀哦嗯给让听想吃先真心别太再快怎什样谢哪做天"
    "高难开"
)

#: Language -> common words (characters in Chinese), as `normalised` leaves them: without apostrophes.
COMMON: Mapping[str, frozenset[str]] = {
    "en": frozenset(_ENGLISH.split()),
    "zh": frozenset(_CHINESE),
}
#: Language -> number of words (characters in Chinese) from which a reply without a common one is unreadable.
LEAST_UNITS: Mapping[str, int] = {"en": 4, "zh": 6}
#: Number of letters from which one or two different ones are unreadable.
LEAST_LETTERS = 10


def unreadable_because(text: str, language: str) -> str | None:
    """Return the rule by which a reply's words are unreadable; None if none holds.

    Args:
        text: words of the reply, not empty.
        language: a language of `COMMON`.

    >>> unreadable_because("asdf qwer zxcv hjkl", "en"), unreadable_because("I'm here for you.", "en")
    ('no common word', None)
    >>> unreadable_because("Привет, как дела?", "en"), unreadable_because("Congratulations!", "en")
    ('no common word', None)
    """
    letters = [c for c in unicodedata.normalize("NFKC", text).lower() if unicodedata.category(c)[0] == "L"]
    if not letters:
        return "no letters"
    if len(letters) >= LEAST_LETTERS and len(set(letters)) <= 2:
        return "repeated letters"
    units = _units(text, language)
    if len(units) < LEAST_UNITS[language]:
        return None
    if len(set(units)) == 1:
        return "repeated words"
    return None if COMMON[language] & set(units) else "no common word"


@dataclass(slots=True, kw_only=True)
class Readability:
    """Shares of empty and of unreadable replies, from the reply's words."""

    name: str = field(default="readability", init=False)
    version: str = field(default="1", init=False)
    metrics: tuple[Metric, ...] = field(default=(EMPTY, UNREADABLE), init=False)
    needs: tuple[str, ...] = field(default=ASR_ANNOTATORS, init=False)
    scope: Literal["sample", "contrast group"] = field(default="sample", init=False)

    def score(self, cases: Sequence[Case]) -> Sequence[Score]:
        """Return, per case in order, the scores `empty_reply` and `unreadable_reply`."""
        return [score for case in cases for score in _scores(case)]

    def fingerprint(self) -> str:
        """Return the hash of the rules and the lists."""
        lists = {language: sorted(words) for language, words in COMMON.items()}
        rules = [lists, dict(LEAST_UNITS), LEAST_LETTERS, NORMALISER]
        return fingerprint_of([self.name, self.version, rules])

    def settings(self) -> Mapping[str, Any]:
        """Return no settings."""
        return {}


def _units(text: str, language: str) -> list[str]:
    """Return words; characters of scripts that the language does not use, and of Chinese, are units."""
    if language == "zh":
        return characters(text)
    return [
        unit
        for word in normalised(text).split()
        for unit in ([word] if "LATIN" in unicodedata.name(word[0], "") or word[0].isdigit() else word)
    ]


def _scores(case: Case) -> tuple[Score, Score]:
    language = lookup(case.sample.language, COMMON) or case.sample.language
    if case.no_reply is not None:
        state, reason = case.no_reply
        return case.score(EMPTY, state, reason=reason), case.score(UNREADABLE, state, reason=reason)
    empty, unreadable, reason = 0.0, 0.0, ""
    try:
        words = words_of(case)
        rule = unreadable_because(words, language) if language in COMMON else None
        unreadable, reason = 100.0 * (rule is not None), rule or ""
    except SystemFailure as error:
        empty, unreadable, reason = 100.0, 100.0, str(error)
    except (NotApplicable, Unavailable) as error:
        unknown: State = "missing" if isinstance(error, Unavailable) else "not applicable"
        return (
            case.score(EMPTY, unknown, reason=str(error)),
            case.score(UNREADABLE, unknown, reason=str(error)),
        )
    first = case.score(EMPTY, "value", value=empty, evidence={"because": reason} if empty else None)
    if language not in COMMON:
        no_list = f"no list of common words for '{language}'; it exists for {', '.join(sorted(COMMON))}"
        return first, case.score(UNREADABLE, "not applicable", reason=no_list)
    evidence = {"because": reason} if unreadable else None
    return first, case.score(UNREADABLE, "value", value=unreadable, evidence=evidence)
