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
            "anger": r"愤怒|生气|气愤|恼火|恼怒|发火|暴躁|压着火|火冒三丈|火气|怒气|怒火|怒不可遏|气呼呼|气冲冲|大发雷霆|angry|anger|furious|irritated|annoyed|mad at|enraged|outraged|fuming|livid",
            "disgust": r"厌恶|恶心|反感|嫌弃|作呕|disgust(?:ed)?|revulsion|repulsed|repelled|sickened",
            "fear": r"害怕|恐惧|惊恐|惧怕|恐慌|惊慌|怯生生|胆怯|吓坏|不敢(?!相信|置信)|战战兢兢|terror|petrified|timid(?:ly)?|afraid|fear(?:ful)?|scared|frightened|terrified|panic(?:ked)?",
            "happy": r"开心|高兴|快乐|喜悦|愉快|兴奋|欢快|欣喜|喜气洋洋|兴高采烈|眉开眼笑|乐呵呵|happy|thrilled|elated|overjoyed|happiness|joy(?:ful)?|cheerful|excited|delighted",
            "sad": r"悲伤|难过|伤心|沮丧|失落|忧伤|悲痛|低落|委屈|哀伤|伤感|心酸|心碎|消沉|落寞|忧郁|(?:close to|near|verge of) tears|tearful|mournful|dejected|downcast|miserable|sad(?:ness)?|upset|sorrow(?:ful)?|depressed|heartbroken|grief",
            "surprise": r"惊讶|吃惊|惊奇|意外|震惊|诧异|错愕|surprised?|astonish(?:ed|ment)|amazement|amazed|shocked",
            "neutral": r"平静|中性|中立|平淡|平和|淡定|neutral|calm(?:ly)?|matter-of-fact|even tone",
        },
        "age": {
            "child": r"小女孩|小男孩|小姑娘|小朋友|儿童|孩童|孩子|童声|童音|稚嫩|奶声奶气|小学生|toddler|preschooler|child(?:like)?|kid|little (?:girl|boy)|young (?:girl|boy)",
            "old": r"老人|老年|年迈|年长|老奶奶|老爷爷|老太太|老先生|老大爷|老大娘|长者|奶奶|爷爷|苍老|[六七八九]十(?:多|几|来)?岁(?:左右|上下|出头|的)|in (?:his|her|their) (?:sixties|seventies|eighties|nineties)|elderly|old (?:man|woman|person|lady|gentleman)|senior|aged",
            "adult": r"成年|青年|中年|年轻人|年轻女性|年轻男性|小伙子|大男孩|大人|[二三四五]十(?:多|几|来)?岁(?:左右|上下|出头|的)|in (?:his|her|their) (?:twenties|thirties|forties|fifties)|adult|young (?:man|woman)|middle-aged|grown-up",
        },
        "gender": {
            "female": r"女性|女士|女孩|女生|女声|女子|女人|妇女|妇人|姑娘|奶奶|阿姨|老太太|大妈|大婶|[这一]位(?:妈妈|母亲|太太)|female|grandmother|grandma|woman|girl|lady",
            "male": r"男性|男士|男孩|男生|男声|男子|男人|小伙子|爷爷|叔叔|大叔|大爷|[这一]位(?:爸爸|父亲|先生)|老先生|male|grandfather|grandpa|man|boy|gentleman",
        },
        "event": {
            "laugh": r"笑声|大笑|发笑|笑着|笑了|轻笑|laugh(?:s|ing|ter|ed)?|giggl(?:e|es|ing)|chuckl(?:e|es|ing)",
            "cough": r"咳嗽|咳|cough(?:s|ing|ed)?",
            "cry": r"哭声|哭泣|哭腔|哭着|抽泣|啜泣|哽咽|大哭|cr(?:y|ies|ying)|sobs?|sobbing|weep(?:s|ing)?|(?<!close to )(?<!near )(?<!verge of )tears",
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
#: The speaker, where no one else is mentioned. The Chinese "he" may be any person.
_PRONOUNS = {
    "female": re.compile(r"(?:^|,)\s*(?:(?:and|but|so)\s+)?(?:she\b|她(?!们))", re.I),
    "male": re.compile(r"(?:^|,)\s*(?:(?:and|but|so)\s+)?he\b", re.I),
}
_OTHERS = re.compile(
    r"妈|母|爸|父|爷|奶|女儿|儿子|孙|妻|丈夫|老公|老婆|朋友|同事|同学|老师|老板|姐|妹|哥|弟|男友|女友|她们|他"
    r"|\b(?:mother|mom|mum|father|dad|parents?|grand\w+|daughter|son|wife|husband|sister|brother|aunt|uncle|friend"
    r"|girlfriend|boyfriend|colleague|boss|teacher|neighbou?r|doctor|partner|baby|child|kid)s?\b",
    re.I,
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
        if cue == "gender" and not votes and not _OTHERS.search(think):
            votes = {
                label: count
                for label, pronoun in _PRONOUNS.items()
                if (count := sum(bool(pronoun.search(clause)) for clause in clauses))
            }
        if votes:
            found[cue] = max(votes, key=lambda label: votes[label])
    return found
