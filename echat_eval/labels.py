"""Cue labels of the benchmark, and the table that maps other spellings to them.

The label sets are those of OSUM-EChat. The spellings of emotion2vec, SenseVoice and the training data are
aliases.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from echat_eval.errors import BadData

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ALIASES",
    "CUES",
    "LABELS",
    "UNKNOWN",
    "check_label",
    "check_labels",
    "gold_label",
    "is_right",
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
