"""A reply's words are separated from think text and tags before its row is written, for every system."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from echat_eval.errors import SystemFailure
from echat_eval.records import AudioRef, Reply
from echat_eval.runner.check_reply import validate_and_store_reply, visible_reply
from echat_eval.store.run_folder import RunFolder

#: A text-only reply is not stored, so the run is never touched.
NO_RUN = cast("RunFolder", None)
WORDS = "Tell me more."


def stored(text: str, **values: Any) -> Reply:
    return validate_and_store_reply(Reply(text=text, **values), NO_RUN)


@pytest.mark.parametrize(
    ("text", "think"),
    [
        (f"<think>\nThe speaker is sad.\n</think>\n\n{WORDS}", "The speaker is sad."),
        (f"<THINK>sad</Think>{WORDS}", "sad"),
        (f"The speaker is sad.\n</think>\n\n{WORDS}", "The speaker is sad."),
        (f"<think>a<think>b</think>c</think>{WORDS}", "a\nb\nc"),
        (f"<think>I may write <think> here</think>{WORDS}", "I may write\nhere"),
        ("<think>a</think>Tell <think>b</think>me more.", "a\nb"),
        (f"<think>a</think>not this</think>{WORDS}", "a\nnot this"),
        (f"{WORDS}<think>cut off", "cut off"),
        (f"<thinking>a</thinking>{WORDS}", "a"),
        (f"[THINK]a[/THINK]{WORDS}", "a"),
        (f"◁think▷a◁/think▷{WORDS}", "a"),
        (f"<think>sad<think end>{WORDS}", "sad"),
        (f"<think>sad</think end>{WORDS}", "sad"),
        (f"<think></think>{WORDS}", None),
    ],
)
def test_think_text_is_never_the_reply(text: str, think: str | None) -> None:
    reply = stored(text)
    assert (reply.text, reply.think) == (WORDS, think)
    assert visible_reply(reply) == reply


def test_think_text_of_both_places_is_kept() -> None:
    assert stored(f"<think>b</think>{WORDS}", think="a").think == "a\nb"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"text": 5}, "reply text is a int"),
        ({"text": "a\ud800"}, "reply text holds a lone surrogate"),
        ({"think": "\udfff"}, "reply think holds a lone surrogate"),
        ({"finish_reason": "\ud800"}, "reply finish_reason holds a lone surrogate"),
        ({"finish_reason": ["stop"]}, "reply finish_reason is a list"),
        ({"reply_emotion": "\ud800"}, "reply reply_emotion holds a lone surrogate"),
        ({"reply_emotion": {}}, "reply reply_emotion is a dict"),
        ({"perceived": ["sad"]}, "reply perceived is a list"),
        ({"perceived": {"emotion": "\ud800"}}, "not one of the benchmark's labels"),
        ({"perceived": {"\ud800": "sad"}}, "not one of the benchmark's labels"),
        ({"perceived": {"emotion": ["sad"]}}, "not one of the benchmark's labels"),
        ({"usage": 5}, "reply usage is a int"),
        ({"usage": {"n": float("inf")}}, "expected a name and a finite number"),
        ({"usage": {"n": 10**400}}, "expected a name and a finite number"),
        ({"usage": {"n": "3"}}, "expected a name and a finite number"),
        ({"usage": {"\udc00": 1}}, "expected a name and a finite number"),
        ({"usage": {5: 1}}, "expected a name and a finite number"),
        ({"first_audio_seconds": float("nan")}, "expected seconds from 0"),
        ({"first_audio_seconds": -1}, "expected seconds from 0"),
        ({"first_audio_seconds": "1"}, "expected seconds from 0"),
    ],
)
def test_a_field_that_cannot_be_stored_fails_the_reply(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(SystemFailure) as caught:
        validate_and_store_reply(Reply(**{"text": WORDS, **values}), NO_RUN)
    assert reason in str(caught.value)
    str(caught.value).encode()


def test_control_characters_are_removed_and_noted(caplog: pytest.LogCaptureFixture) -> None:
    reply = stored(
        "Tell\x00 me\n\x1b[31mmore.\x9b", think="a\x07b", finish_reason="stop\x00", reply_emotion="sad\x7f"
    )
    assert (reply.text, reply.think) == ("Tell me\n[31mmore.", "ab")
    assert (reply.finish_reason, reply.reply_emotion) == ("stop", "sad")
    assert "3 control characters were removed from a reply's text" in caplog.text


@pytest.mark.parametrize(
    "text", ["<think>\nThe speaker sounds", "<think>a</think>", "a</think> \n", "<THINK>"]
)
def test_a_text_without_visible_words_fails(text: str) -> None:
    with pytest.raises(SystemFailure, match="no visible reply"):
        stored(text)


def test_a_thought_cut_off_names_the_limit() -> None:
    with pytest.raises(SystemFailure, match="cut off by the token limit"):
        stored("<think>The speaker", finish_reason="length")


def test_a_voice_remains_where_all_text_is_think_text() -> None:
    voice = AudioRef(path=Path("x.wav"), sha256="0" * 64, seconds=1.0)
    reply = visible_reply(Reply(text="<think>sad</think>", audio=voice))
    assert (reply.text, reply.think, reply.audio) == (None, "sad", voice)


@pytest.mark.parametrize(
    ("text", "perceived"),
    [
        (f"<|HAPPY|><|Speech|><|withitn|>{WORDS}", {"emotion": "happy"}),
        (f"<|zh|><|SAD|><|Cough|><|woitn|>{WORDS}", {"emotion": "sad", "event": "cough"}),
        (f"<|startoftranscript|><|en|><|0.00|>{WORDS}<|im_end|>", {}),
        (f"<think>a</think><|ANGRY|>{WORDS}", {"emotion": "anger"}),
        (f"<｜end▁of▁sentence｜>{WORDS}", {}),
    ],
)
def test_tags_become_labels(text: str, perceived: dict[str, str]) -> None:
    reply = stored(text)
    assert (reply.text, dict(reply.perceived)) == (WORDS, perceived)


def test_an_answer_of_tags_alone_names_its_label_and_other_tags_alone_fail() -> None:
    assert stored("<|HAPPY|>").text == "happy"
    assert stored("<ANGRY>").text == "<ANGRY>"
    with pytest.raises(SystemFailure, match="only tags"):
        stored("<|zh|><|Speech|>")


def test_marks_of_osum_echat_are_read_from_any_system() -> None:
    reply = stored("<think>年龄为:<OLD>,情感为:<SAD>,回复情感为:<安慰鼓励><think end><安慰鼓励>别难过。")
    assert reply.text == "别难过。"
    assert reply.reply_emotion == "comforting"
    assert dict(reply.perceived) == {"age": "old", "emotion": "sad"}
