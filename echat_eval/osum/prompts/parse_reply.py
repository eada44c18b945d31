"""What the model wrote, taken apart: think text, perceived cues, the emotion it answers in, and the words.

Label-based think (tag-think) follows one template and is parsed; natural-language think is searched with the
lexicon of `lexicon.py`, whose error is measured in tests and stated in docs/osum-echat.md.

Source of the strings: OSUM-EChat, commit f2bcfac, wenet/dataset/process/processor_tag_think.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from echat_eval.labels import CUES, to_label
from echat_eval.osum.prompts.lexicon import find_cues
from echat_eval.osum.prompts.prompts import TASKS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["REPLY_EMOTIONS", "Reading", "read_answer", "read_labels", "read_reply", "split_think"]

#: Emotion tags that lead a tag-think reply -> English names; they are written, not spoken.
REPLY_EMOTIONS: Mapping[str, str] = MappingProxyType(
    {
        "愉悦": "pleased",
        "抱歉": "sorry",
        "开心": "happy",
        "愤怒": "anger",
        "惊讶": "surprise",
        "厌恶": "disgust",
        "悲伤": "sad",
        "害怕": "fear",
        "哭腔": "tearful",
        "安慰鼓励": "comforting",
        "中立": "neutral",
        "happy": "happy",
        "anger": "anger",
        "angry": "anger",
        "surprise": "surprise",
        "disgust": "disgust",
        "sad": "sad",
        "fear": "fear",
        "sorry": "sorry",
        "neutral": "neutral",
        "confused": "confused",
        "sarcasm": "sarcasm",
        "embarrassed": "embarrassed",
        "curious": "curious",
        "worried": "worried",
        "shy": "shy",
    }
)

#: Slots of the think template -> cue names.
SLOTS: Mapping[str, str] = MappingProxyType(
    {"年龄为": "age", "性别为": "gender", "情感为": "emotion", "声音事件为": "event"}
)

#: What stands in a slot nobody labelled.
NO_LABEL = {"&&", "none", "null", ""}

_OPEN = re.compile(r"<think>")
# The prompt says `</think end>`, the training text says `<think end>`: models may write either.
_CLOSE = re.compile(r"</?think end>|</think>")
# The emotion planned for the reply stands in the same words behind 回复; it was not heard.
_SLOT = re.compile(rf"(?<!回复)({'|'.join(SLOTS)})\s*[:：]\s*<([^<>]*)>")
_REPLY_SLOT = re.compile(r"回复情感为\s*[:：]\s*<([^<>]*)>")
_LEADING_TAG = re.compile(r"\s*<([^<>]{1,12})>\s*")
_TAG = re.compile(r"<([^<>]*)>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A text taken apart; see `engine.OsumReply` for the fields."""

    text: str
    think: str | None = None
    perceived: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    reply_emotion: str | None = None


def split_think(text: str) -> tuple[str | None, str]:
    """Return (think text, reply); think text is None where there are no marks.

    A think text that never ends is all think, and the reply is empty: words that were not meant to be
    heard must not be judged as the answer.

    >>> split_think("<think>a sad child<think end>Oh dear.")
    ('a sad child', 'Oh dear.')
    """
    opened = _OPEN.search(text)
    closed = _CLOSE.search(text, opened.end() if opened else 0)
    if closed:
        start = opened.end() if opened else 0
        return text[start : closed.start()].strip(), text[closed.end() :].strip()
    if opened:
        return text[opened.end() :].strip(), ""
    return None, text.strip()


def read_labels(think: str) -> dict[str, str]:
    """Return cue -> label out of a template think text; slots without a known label are left out.

    >>> read_labels("用户说的话是:你好,年龄为:<ADULT>,性别为:<&&>,情感为:<ANGRY>,声音事件为:<LAUGH>")
    {'age': 'adult', 'emotion': 'anger', 'event': 'laugh'}
    """
    # The transcript comes first and is the user's own words: a slot in it must not win.
    found: dict[str, str] = {}
    for name, tag in _SLOT.findall(think):
        label = None if tag.strip().lower() in NO_LABEL else to_label(SLOTS[name], tag)
        found.pop(SLOTS[name], None)
        if label:
            found[SLOTS[name]] = label
    return found


def _take_leading_tag(reply: str) -> tuple[str | None, str]:
    """Return (emotion, reply without its leading emotion tag)."""
    hit = _LEADING_TAG.match(reply)
    emotion = REPLY_EMOTIONS.get(hit[1].strip().lower()) if hit else None
    return (emotion, reply[hit.end() :]) if hit and emotion else (None, reply)


def read_reply(text: str) -> Reading:
    """Take a chat reply apart.

    >>> read_reply("<think>年龄为:<OLD>,回复情感为:<悲伤><think end><悲伤>我很抱歉。").reply_emotion
    'sad'
    """
    think, reply = split_think(text)
    emotion, reply = _take_leading_tag(reply)
    if think is None:
        return Reading(text=reply, reply_emotion=emotion)
    by_template = bool(_SLOT.search(think))
    planned = _REPLY_SLOT.search(think)
    if emotion is None and planned:
        emotion = REPLY_EMOTIONS.get(planned[1].strip().lower())
    perceived = read_labels(think) if by_template else find_cues(think)
    return Reading(text=reply, think=think, perceived=MappingProxyType(perceived), reply_emotion=emotion)


def read_answer(text: str, *, task: str) -> Reading:
    """Take an understanding answer apart: the transcript is the text, the tags are what was perceived.

    Tags are read from the end, in the order the task names them; without a match by place, by label.

    >>> reading = read_answer("你好<ADULT><FEMALE>", task="asr+age+gender")
    >>> reading.text, dict(reading.perceived)
    ('你好', {'age': 'adult', 'gender': 'female'})
    """
    text = text.strip()
    known = TASKS.get(task)
    cues = known.cues if known else ()
    if not cues:
        return Reading(text=text)
    tags = list(_TAG.finditer(text))[-len(cues) :]
    bare = [hit[1] for hit in tags] if tags else [text]
    perceived: dict[str, str] = {}
    for place, tag in enumerate(bare):
        for cue in (cues[place + len(cues) - len(bare)], *cues):
            if cue in CUES and cue not in perceived and (label := to_label(cue, tag)):
                perceived[cue] = label
                break
    words = text[: tags[0].start()].strip() if tags and known and known.transcript else text
    return Reading(text=words, perceived=MappingProxyType(perceived))
