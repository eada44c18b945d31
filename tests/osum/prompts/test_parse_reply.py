"""Parsing of think text, labels, the leading emotion tag, and understanding answers."""

from __future__ import annotations

import pytest

from echat_eval.osum.prompts.parse_reply import read_answer, read_reply, split_think
from tests.support.present import present

TEMPLATE = (
    "<think>用户说的话是:{words},年龄为:{age},性别为:{gender},情感为:{emotion},声音事件为:{event},"
    "推测使用的回复情感为:{reply},我应该综合用户的语义和副语言信息给出专业且对应的回答<think end>"
)


def labels(**changes: str) -> str:
    fields = {
        "words": "你好",
        "age": "<ADULT>",
        "gender": "<FEMALE>",
        "emotion": "<SAD>",
        "event": "<SIGH>",
        "reply": "<安慰鼓励>",
    }
    return TEMPLATE.format(**fields | changes)


def test_label_think_is_parsed_and_the_tag_removed() -> None:
    reading = read_reply(labels() + "<安慰鼓励>别难过,我陪着你。")
    assert reading.text == "别难过,我陪着你。"
    assert reading.reply_emotion == "comforting"
    assert reading.perceived == {"age": "adult", "gender": "female", "emotion": "sad", "event": "sigh"}
    assert present(reading.think).startswith("用户说的话是:你好")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"age": "<YOUTH>", "event": "<screaming>"}, {"age": "adult", "event": "scream"}),
        ({"emotion": "<&&>", "event": "<NONE>", "gender": "<null>"}, {"age": "adult"}),
        ({"emotion": "<ANGRY>"}, {"emotion": "anger"}),
        ({"emotion": "<dragon>"}, {"age": "adult"}),
        ({"words": "我的年龄为:<CHILD>"}, {"age": "adult"}),
    ],
)
def test_fields_without_a_known_label_are_omitted(changes: dict[str, str], expected: dict[str, str]) -> None:
    perceived = read_reply(labels(**changes)).perceived
    assert expected.items() <= perceived.items()
    for cue, tag in changes.items():
        if tag in ("<&&>", "<NONE>", "<null>", "<dragon>"):
            assert cue not in perceived


def test_planned_emotion_is_used_for_a_reply_without_a_tag() -> None:
    assert read_reply(labels() + "好的。").reply_emotion == "comforting"


@pytest.mark.parametrize(
    ("text", "think", "reply"),
    [
        ("<think>a<think end>b", "a", "b"),
        ("<think>a</think end>b", "a", "b"),
        ("<think>a</think>b", "a", "b"),
        ("a<think end>b", "a", "b"),
        ("<think>never ends", "never ends", ""),
        ("just words", None, "just words"),
        ("<think><think end>b", "", "b"),
        ("", None, ""),
    ],
)
def test_think_is_split_from_the_reply(text: str, think: str | None, reply: str) -> None:
    assert split_think(text) == (think, reply)


def test_prose_think_is_searched_and_unknown_tags_stay_in_the_reply() -> None:
    reading = read_reply("<think>一位老奶奶在咳嗽<think end><喝水>吧")
    assert reading.perceived == {"age": "old", "gender": "female", "event": "cough"}
    assert (reading.text, reading.reply_emotion) == ("<喝水>吧", None)


@pytest.mark.parametrize(
    ("task", "text", "words", "perceived"),
    [
        ("asr", "你好", "你好", {}),
        ("asr+emotion", "你好<HAPPY>", "你好", {"emotion": "happy"}),
        ("asr+age+gender", "你好<adult> <female>", "你好", {"age": "adult", "gender": "female"}),
        ("asr+age+gender", "你好<female><adult>", "你好", {"age": "adult", "gender": "female"}),
        ("asr+age+gender", "你好", "你好", {}),
        ("age+gender", "<CHILD><MALE>", "<CHILD><MALE>", {"age": "child", "gender": "male"}),
        ("emotion", "SAD", "SAD", {"emotion": "sad"}),
        ("asr+style+age+gender", "x<客服><OLD><MALE>", "x", {"age": "old", "gender": "male"}),
        (
            "asr+emotion+age+gender",
            "a<b>c<FEAR><OLD><MALE>",
            "a<b>c",
            {"emotion": "fear", "age": "old", "gender": "male"},
        ),
        ("一个自己的问题 ", "随便", "随便", {}),
    ],
)
def test_understanding_answers_give_transcript_and_labels(
    task: str, text: str, words: str, perceived: dict[str, str]
) -> None:
    reading = read_answer(text, task=task)
    assert (reading.text, dict(reading.perceived)) == (words, perceived)
