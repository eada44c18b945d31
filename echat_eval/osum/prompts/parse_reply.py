"""Parsing of replies: think text, perceived cues, emotion of the reply, and the spoken words.

Label-based think text (tag-think) follows a template and is parsed. Natural-language think text is searched
with the lexicon of `lexicon.py`; tests measure its error and docs/osum-echat.md reports it.

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

__all__ = [
    "REPLY_EMOTIONS",
    "Reading",
    "read_answer",
    "read_labels",
    "read_reply",
    "split_think",
    "take_leading_tag",
]

#: Emotion tags at the start of a tag-think reply -> English names; they are written, not spoken.
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

#: Fields of the think template -> cue names.
FIELDS: Mapping[str, str] = MappingProxyType(
    {"年龄为": "age", "性别为": "gender", "情感为": "emotion", "声音事件为": "event"}
)

#: Values of a field without a label.
NO_LABEL = {"&&", "none", "null", ""}

# The prompt uses `</think end>`, the training text `<think end>`; models may generate either. Other models
# write <thinking>, [THINK] or ◁think▷.
_MARK = re.compile(
    r"(?P<close></?\s*think\s+end\s*>|<\s*/\s*think(?:ing)?\s*>|\[/THINK\]|◁/think▷)"
    r"|<\s*think(?:ing)?\s*>|\[THINK\]|◁think▷",
    re.I,
)
# After 回复 the same words name the emotion planned for the reply, which is not a perceived one.
_FIELD = re.compile(rf"(?<!回复)({'|'.join(FIELDS)})\s*[:：]\s*<([^<>]*)>")
_REPLY_FIELD = re.compile(r"回复情感为\s*[:：]\s*<([^<>]*)>")
_LEADING_TAG = re.compile(r"\s*<([^<>]{1,12})>\s*")
_TAG = re.compile(r"<([^<>]*)>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A parsed reply; see `engine.OsumReply` for the fields."""

    text: str
    think: str | None = None
    perceived: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    reply_emotion: str | None = None


def split_think(text: str) -> tuple[str | None, str]:
    """Return (think text, reply); think text is None if there are no think marks.

    Marks may be nested or repeated, in any case. Everything before a closing mark without an opening one is
    think text. A think text that never ends is no reply: text that was not meant as the reply must not be
    judged as one.

    >>> split_think("<think>a sad child<think end>Oh dear.")
    ('a sad child', 'Oh dear.')
    >>> split_think("a sad child</think>Oh <THINK>poor<think>thing</think></THINK>dear.")
    ('a sad child\\npoor\\nthing', 'Oh dear.')
    """
    if not _MARK.search(text):
        return None, text.strip()
    think, reply, is_open = _split_at_marks(text, nested=True)
    if is_open:  # an opening mark inside a think text may be a word of the thought
        think, reply, _ = _split_at_marks(text, nested=False)
    return "\n".join(part.strip() for part in think if part.strip()), "".join(reply).strip()


def _split_at_marks(text: str, *, nested: bool) -> tuple[list[str], list[str], bool]:
    """Return the pieces of think text, the pieces of the reply, and whether a think text never ends."""
    think: list[str] = []
    reply: list[str] = []
    depth = start = 0
    for mark in _MARK.finditer(text):
        piece = text[start : mark.start()]
        start = mark.end()
        (think if depth else reply).append(piece)
        if not mark["close"]:
            depth = depth + 1 if nested else 1
        elif depth:
            depth -= 1
        else:
            think, reply = [*think, *reply], []
    (think if depth else reply).append(text[start:])
    return think, reply, bool(depth)


def read_labels(think: str) -> dict[str, str]:
    """Return cue -> label from a template think text; fields without a known label are omitted.

    >>> read_labels("用户说的话是:你好,年龄为:<ADULT>,性别为:<&&>,情感为:<ANGRY>,声音事件为:<LAUGH>")
    {'age': 'adult', 'emotion': 'anger', 'event': 'laugh'}
    """
    # The transcript comes first and holds the user's words: a field in it must not win.
    found: dict[str, str] = {}
    for name, tag in _FIELD.findall(think):
        label = None if tag.strip().lower() in NO_LABEL else to_label(FIELDS[name], tag)
        found.pop(FIELDS[name], None)
        if label:
            found[FIELDS[name]] = label
    return found


def take_leading_tag(reply: str) -> tuple[str | None, str]:
    """Return (emotion, reply without its leading emotion tag)."""
    hit = _LEADING_TAG.match(reply)
    emotion = REPLY_EMOTIONS.get(hit[1].strip().lower()) if hit else None
    return (emotion, reply[hit.end() :]) if hit and emotion else (None, reply)


def read_reply(text: str) -> Reading:
    """Parse a chat reply.

    >>> read_reply("<think>年龄为:<OLD>,回复情感为:<悲伤><think end><悲伤>我很抱歉。").reply_emotion
    'sad'
    """
    think, reply = split_think(text)
    emotion, reply = take_leading_tag(reply)
    if think is None:
        return Reading(text=reply, reply_emotion=emotion)
    by_template = bool(_FIELD.search(think))
    planned = _REPLY_FIELD.search(think)
    if emotion is None and planned:
        emotion = REPLY_EMOTIONS.get(planned[1].strip().lower())
    perceived = read_labels(think) if by_template else find_cues(think)
    return Reading(text=reply, think=think, perceived=MappingProxyType(perceived), reply_emotion=emotion)


def read_answer(text: str, *, task: str) -> Reading:
    """Parse an understanding answer: the transcript becomes the text, the tags become the perceived cues.

    Tags are read from the end, in the order of the task's cues. A tag that does not match the cue at its
    position is matched by label.

    >>> reading = read_answer("你好<ADULT><FEMALE>", task="asr+age+gender")
    >>> reading.text, dict(reading.perceived)
    ('你好', {'age': 'adult', 'gender': 'female'})
    """
    text = text.strip()
    known_task = TASKS.get(task)
    cues = known_task.cues if known_task else ()
    if not cues:
        return Reading(text=text)
    tags = list(_TAG.finditer(text))[-len(cues) :]
    labels = [hit[1] for hit in tags] if tags else [text]
    perceived: dict[str, str] = {}
    for position, tag in enumerate(labels):
        for cue in (cues[position + len(cues) - len(labels)], *cues):
            if cue in CUES and cue not in perceived and (label := to_label(cue, tag)):
                perceived[cue] = label
                break
    words = text[: tags[0].start()].strip() if tags and known_task and known_task.transcript else text
    return Reading(text=words, perceived=MappingProxyType(perceived))
