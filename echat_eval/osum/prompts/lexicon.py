"""A Chinese and English lexicon that finds cues in free-form think text.

Only clauses about the speaker count; clauses about the coming reply are skipped, since "answer gently" is not
a perceived emotion. The lexicon makes errors and is not ground truth. tests/osum/prompts/test_lexicon.py
measures its error on a hand-written set; docs/osum-echat.md reports it.
"""

# ruff: noqa: E501 - a table of words

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from echat_eval.io.negation import negated

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LEXICON", "find_cues"]

#: Cue -> label -> pattern. Chinese words match anywhere; English words match as whole words.
LEXICON: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "emotion": {
            "anger": r"愤怒|生气|气愤|恼火|恼怒|发火|暴躁|angry|anger|furious|irritated|annoyed|mad at",
            "disgust": r"厌恶|恶心|反感|嫌弃|disgust(?:ed)?|revulsion|repulsed",
            "fear": r"害怕|恐惧|惊恐|惧怕|恐慌|afraid|fear(?:ful)?|scared|frightened|terrified|panic(?:ked)?",
            "happy": r"开心|高兴|快乐|喜悦|愉快|兴奋|欢快|欣喜|happy|happiness|joy(?:ful)?|cheerful|excited|delighted",
            "sad": r"悲伤|难过|伤心|沮丧|失落|忧伤|悲痛|低落|委屈|sad(?:ness)?|upset|sorrow(?:ful)?|depressed|heartbroken|grief",
            "surprise": r"惊讶|吃惊|惊奇|意外|震惊|surprised?|astonished|amazed|shocked",
            "neutral": r"平静|中性|中立|平淡|平和|淡定|neutral|calm(?:ly)?|matter-of-fact|even tone",
        },
        "age": {
            "child": r"小女孩|小男孩|小朋友|儿童|孩童|孩子|童声|稚嫩|小学生|child(?:like)?|kid|little (?:girl|boy)|young (?:girl|boy)",
            "old": r"老人|老年|年迈|年长|老奶奶|老爷爷|长者|奶奶|爷爷|苍老|elderly|old (?:man|woman|person|lady|gentleman)|senior|aged",
            "adult": r"成年|青年|中年|年轻人|年轻女性|年轻男性|大人|adult|young (?:man|woman)|middle-aged|grown-up",
        },
        "gender": {
            "female": r"女性|女士|女孩|女生|女声|女子|女人|奶奶|阿姨|female|woman|girl|lady",
            "male": r"男性|男士|男孩|男生|男声|男子|男人|爷爷|叔叔|male|man|boy|gentleman",
        },
        "event": {
            "laugh": r"笑声|大笑|发笑|笑着|笑了|轻笑|laugh(?:s|ing|ter|ed)?|giggl(?:e|es|ing)|chuckl(?:e|es|ing)",
            "cough": r"咳嗽|咳|cough(?:s|ing|ed)?",
            "cry": r"哭声|哭泣|哭腔|哭着|抽泣|啜泣|哽咽|大哭|cr(?:y|ies|ying)|sobs?|sobbing|weep(?:s|ing)?|tears",
            "scream": r"尖叫|惊叫|喊叫声|scream(?:s|ing|ed)?|shriek(?:s|ing)?",
            "sigh": r"叹气|叹息|叹了口气|sigh(?:s|ing|ed)?",
            "throat clearing": r"清嗓|清了清嗓|清喉咙|throat[ -]clearing|clear(?:s|ing|ed)? (?:his|her|their|the) throat",
            "sneeze": r"喷嚏|sneez(?:e|es|ing|ed)",
        },
    }
)  # fmt: skip

#: A clause with one of these words is about the reply, not about the speaker.
_ABOUT_REPLY = re.compile(
    r"回复|回应|回答|应该|应当|我应|我要|我会|我需要|建议|安慰|\b(?:reply|respond|response|answer|I should|I will|I need)\b",
    re.I,
)
#: Possessives: directly before an age or gender word, they refer to another person.
_POSSESSIVE = re.compile(
    r"(?:他|她|自己|我|你|您|家里|他们|她们)的?$|\b(?:his|her|my|your|their|our)\s+$", re.I
)
_SENTENCES = re.compile(r"[。；;.!?！？\n]+")
_CLAUSES = re.compile(r"[,，]+")


def _pattern(words: str) -> re.Pattern[str]:
    alternatives = re.split(r"\|(?![^(]*\))", words)
    chinese = [w for w in alternatives if not w.isascii()]
    english = [w for w in alternatives if w.isascii()]
    return re.compile("|".join([*chinese, rf"\b(?:{'|'.join(english)})\b"]), re.I)


_COMPILED = {
    cue: {label: _pattern(words) for label, words in labels.items()} for cue, labels in LEXICON.items()
}


def _about_speaker(sentence: str) -> str:
    """Return the clauses of a sentence before the first one about the reply; a list may span several."""
    clauses = _CLAUSES.split(sentence)
    stop = next((n for n, clause in enumerate(clauses) if _ABOUT_REPLY.search(clause)), len(clauses))
    return ",".join(clauses[:stop])


def find_cues(think: str) -> dict[str, str]:
    """Return cue -> label for every cue named in the text: the most frequent label, or the first of equals.

    >>> find_cues("用户是一位年迈的女性,语气悲伤,还叹了口气。我应该用温和开心的语气回复。")
    {'emotion': 'sad', 'age': 'old', 'gender': 'female', 'event': 'sigh'}
    """
    clauses = [_about_speaker(sentence) for sentence in _SENTENCES.split(think)]
    found: dict[str, str] = {}
    for cue, labels in _COMPILED.items():
        votes: dict[str, int] = {}
        for clause in clauses:
            hits = sorted((*h.span(), label) for label, p in labels.items() for h in p.finditer(clause))
            no = negated(clause, [(start, end) for start, end, _ in hits])
            for (start, _, label), is_negated in zip(hits, no, strict=True):
                if is_negated or (cue in ("age", "gender") and _POSSESSIVE.search(clause[:start])):
                    continue
                votes[label] = votes.get(label, 0) + 1
        if votes:
            found[cue] = max(votes, key=lambda label: votes[label])
    return found
