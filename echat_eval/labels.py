"""Cue labels of the benchmark, and the table that maps other spellings to them.

The label sets are those of OSUM-EChat. The spellings of emotion2vec, SenseVoice and the training data are
aliases.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from echat_eval.errors import BadData

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "ALIASES",
    "CUES",
    "LABELS",
    "TRAITS",
    "UNKNOWN",
    "check_label",
    "check_labels",
    "gold_label",
    "is_right",
    "labels_of_tags",
    "only_traits",
    "split_tags",
    "to_label",
]

#: Cue name -> labels, in the order of tables.
LABELS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "emotion": ("anger", "disgust", "fear", "happy", "neutral", "sad", "surprise", "other"),
        "age": ("child", "adult", "old"),
        "gender": ("female", "male"),
        "event": ("laugh", "cough", "cry", "scream", "sigh", "throat clearing", "sneeze", "none", "other"),
    }
)
CUES: tuple[str, ...] = tuple(LABELS)
#: Cues that say who speaks. A reply that suits them may stereotype, so that more is not better.
TRAITS: tuple[str, ...] = ("age", "gender")

#: Label of an undecided instrument; never a gold label.
UNKNOWN = "unknown"

#: Cue name -> other spelling (lower case, without <> and <||>) -> label.
ALIASES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "emotion": {
            "angry": "anger", "生气": "anger", "愤怒": "anger",
            "disgusted": "disgust", "厌恶": "disgust",
            "fearful": "fear", "恐惧": "fear", "害怕": "fear",
            "happiness": "happy", "joy": "happy", "开心": "happy", "高兴": "happy", "快乐": "happy",
            "calm": "neutral", "中立": "neutral", "平静": "neutral",
            "sadness": "sad", "难过": "sad", "悲伤": "sad", "伤心": "sad",
            "surprised": "surprise", "吃惊": "surprise", "惊讶": "surprise",
            "其他": "other", "unk": UNKNOWN, "unknown": UNKNOWN, "emo_unknown": UNKNOWN,
        },
        "age": {
            "children": "child", "kid": "child", "儿童": "child", "小孩": "child",
            "youth": "adult", "young": "adult", "middle": "adult", "middle_age": "adult", "成年": "adult",
            "成年人": "adult", "elder": "old", "elderly": "old", "senior": "old", "老人": "old", "老年": "old",
        },
        "gender": {
            "f": "female", "woman": "female", "girl": "female", "女": "female", "女性": "female",
            "m": "male", "man": "male", "boy": "male", "男": "male", "男性": "male",
        },
        "event": {
            "laughter": "laugh", "laughing": "laugh", "笑": "laugh", "笑声": "laugh",
            "coughing": "cough", "咳嗽": "cough", "crying": "cry", "sobbing": "cry", "哭": "cry", "哭声": "cry",
            "screaming": "scream", "尖叫": "scream", "sighing": "sigh", "叹气": "sigh",
            "throat_clearing": "throat clearing", "clearing throat": "throat clearing", "清嗓子": "throat clearing",
            "sneezing": "sneeze", "喷嚏": "sneeze", "打喷嚏": "sneeze", "nospeech": "none",
        },
    }
)  # fmt: skip


def to_label(cue: str, spelling: str) -> str | None:
    """Return the benchmark's label for another spelling, or None if it is not in the table.

    >>> to_label("emotion", "<ANGRY>"), to_label("event", "<|Laughter|>"), to_label("age", "dragon")
    ('anger', 'laugh', None)
    """
    plain = spelling.strip().strip("<>|").strip().lower()
    if plain in LABELS[cue]:
        return plain
    return ALIASES[cue].get(plain)


#: A tag of a recogniser or a token of a chat template, such as <|HAPPY|>, <|en|> or <|im_end|>.
_TAG = re.compile(r"<[|｜]\s*([^|｜<>]*?)\s*[|｜]>")


def split_tags(text: str) -> tuple[str, list[str]]:
    """Return a text without tags of the form <|...|>, and the names of the tags.

    >>> split_tags("<|en|><|SAD|><|Speech|><|woitn|>so sorry")
    ('so sorry', ['en', 'SAD', 'Speech', 'woitn'])
    """
    tags = _TAG.findall(text)
    return (_TAG.sub("", text).strip() if tags else text), tags


def labels_of_tags(tags: Iterable[str]) -> dict[str, str]:
    """Return cue -> label of the tags that name a label of exactly one cue; the first tag of a cue counts.

    >>> labels_of_tags(["zh", "HAPPY", "Speech", "Laughter", "withitn"])
    {'emotion': 'happy', 'event': 'laugh'}
    """
    found: dict[str, str] = {}
    for tag in tags:
        if tag.lower() == "nospeech":  # no speech was recognised, which is no sound event
            continue
        named = [(cue, label) for cue in CUES if (label := to_label(cue, tag)) and label != UNKNOWN]
        if len(named) == 1:
            found.setdefault(*named[0])
    return found


def is_right(gold: str, named: str | None) -> bool:
    """Return whether a named label is the gold label.

    A reply that names no label (None or "unknown") is wrong, in every recall, accuracy and confusion.

    >>> is_right("sad", "sad"), is_right("sad", "happy"), is_right("sad", None), is_right("sad", UNKNOWN)
    (True, False, False, False)
    """
    return named is not None and named != UNKNOWN and named == gold


def gold_label(cues: Mapping[str, str], asks: str | None) -> str | None:
    """Return the gold label of a sample that macro means average over.

    It is the label of the cue that the sample asks about, else of its only cue; None if it has several.

    >>> gold_label({"age": "old", "emotion": "sad"}, "age"), gold_label({"emotion": "sad"}, None)
    ('old', 'sad')
    >>> gold_label({"age": "old", "emotion": "sad"}, None) is None
    True
    """
    if asks is not None and asks in cues:
        return cues[asks]
    return next(iter(cues.values())) if len(cues) == 1 else None


def only_traits(cues: Iterable[str]) -> bool:
    """Return whether all cues of a sample say who speaks.

    >>> only_traits(["age"]), only_traits(["age", "gender"]), only_traits(["age", "emotion"]), only_traits([])
    (True, True, False, False)
    """
    found = set(cues)
    return bool(found) and found <= set(TRAITS)


def check_label(cue: str, label: str) -> None:
    """Raise BadData unless `label` is one of the benchmark's own spellings.

    >>> check_label("emotion", "angry")
    Traceback (most recent call last):
    echat_eval.errors.BadData: emotion 'angry' is an alias; write 'anger'
    """
    if cue not in LABELS:
        raise BadData(f"unknown cue '{cue}'; cues are {', '.join(CUES)}")
    if label in LABELS[cue]:
        return
    alias = to_label(cue, label)
    if alias and alias != UNKNOWN:
        raise BadData(f"{cue} '{label}' is an alias; write '{alias}'")
    raise BadData(f"unknown {cue} '{label}'; labels are {', '.join(LABELS[cue])}")


def check_labels(labels: Mapping[str, str], location: str) -> None:
    """Raise BadData, starting with the location, unless every cue and label is valid."""
    for cue, label in labels.items():
        try:
            check_label(cue, label)
        except BadData as error:
            raise BadData(f"{location}: {error}") from error
