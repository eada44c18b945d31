"""Each rule of a written sentence is broken by one answer, and named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from echat_eval.testset.assign import Assignment
from echat_eval.testset.plan import read_plan
from echat_eval.testset.sentences import REASONS, Member, Sentence, read_sentences
from echat_eval.testset.text_rules import (
    answer_schema,
    duplicate_of,
    fault_of,
    kept_sentences,
    quotation_fault,
    sentence_of,
)

DEMO = Path(__file__).resolve().parents[2] / "examples" / "build-testset" / "demo"
EN = Assignment(id="en-01", language="en", voices=({"emotion": "sad"}, {"emotion": "happy"}))
ZH = Assignment(id="zh-01", language="zh", voices=({"event": "cough"}, {"event": "none"}))
GOOD = {
    "transcript": "She answered my message.",
    "reply_1": "And it is not what you hoped for.",
    "reply_2": "At last! What did she write?",
}


def reason(assignment: Assignment, **changes: object) -> str | None:
    found = sentence_of(json.dumps(GOOD | changes, ensure_ascii=False), assignment)
    if isinstance(found, tuple):
        return found[0]
    fault = fault_of(found, 8)
    return fault and fault[0]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"reply_2": None}, "not-as-asked"),
        ({"reply_1": "  "}, "not-as-asked"),
        ({"transcript": "one two three four five six seven eight nine"}, "too-long"),
        ({"transcript": "I was so sad today."}, "names-the-label"),
        ({"transcript": "Joy came to see me."}, "names-the-label"),
        ({"transcript": "I am so angry it moved."}, "names-the-label"),  # no label of this sentence
        ({"transcript": "She answered\x07 my message."}, "control-character"),
        ({"reply_2": "At last!\u202e What did she write?"}, "control-character"),
        ({"transcript": "她回了我的消息。"}, "other-language"),
        ({"reply_1": "别难过，我陪着你。"}, "other-language"),
        ({"reply_1": GOOD["reply_2"].upper()}, "equal-replies"),
        ({"reply_1": "So sorry."}, "short-reply"),
        ({"transcript": "test_2238 is here."}, "not-speech"),
        ({"reply_2": "Read it at https://example.com now."}, "not-speech"),
        ({"reply_1": "You say: she answered my message. Hm."}, "repeats-the-query"),
    ],
)
def test_rules(changes: dict[str, object], expected: str | None) -> None:
    assert reason(EN, **changes) == expected
    assert expected is None or expected in REASONS


def test_a_sentence_that_stands_in_the_prompt_is_dropped() -> None:
    sentence = sentence_of(json.dumps(GOOD), EN)
    assert isinstance(sentence, Sentence)
    assert quotation_fault(sentence, "Write one sentence. She answered his message.") is None
    for quoted in (GOOD["transcript"], GOOD["reply_2"]):
        prompt = f"Facts, not judgements:\n“{quoted.upper()}” works."
        assert quotation_fault(sentence, prompt) == ("quotes-the-prompt", quoted)
    assert quotation_fault(replace(sentence, transcript="My art is"), "My start is good.") is None
    zh = replace(sentence, language="zh", transcript="姐姐来了")
    assert quotation_fault(zh, "例如“姐姐来了。”可以") == ("quotes-the-prompt", "姐姐来了")
    for chance in (replace(zh, transcript="声音"), replace(sentence, transcript="Yes.")):
        assert quotation_fault(chance, "用声音回答。 Yes or no.") is None
    assert "quotes-the-prompt" in REASONS


def test_other_scripts_and_sounds() -> None:
    zh = {
        "transcript": "我今天还要去上班。",
        "reply_1": "咳成这样还去上班啊？",
        "reply_2": "好的，八点出门就来得及。",
    }
    assert reason(ZH, **zh) is None
    assert reason(ZH, **{**zh, "transcript": "我咳嗽了一天。"}) == "names-the-label"
    assert reason(ZH, **{**zh, "reply_2": "All right then, at eight."}) == "other-language"


def test_schema_and_what_is_no_json() -> None:
    assert answer_schema(EN)["required"] == ["transcript", "reply_1", "reply_2"]
    same = Assignment(id="en-02", language="en", voices=EN.voices, expect="same")
    assert answer_schema(same)["required"] == ["transcript", "reply"]
    sentence = sentence_of('{"transcript": "When do you close?", "reply": "At six on all days."}', same)
    assert isinstance(sentence, Sentence)
    assert [member.reply for member in sentence.members] == ["At six on all days."] * 2
    for text in ("Sure! Here it is", "[1]", '{"transcript": "a"', ""):
        found = sentence_of(text, EN)
        assert isinstance(found, tuple)
        assert found[0] == "not-as-asked"


def test_near_duplicates() -> None:
    def said(words: str, language: str = "en") -> Sentence:
        members = (Member(cues={"emotion": "sad"}, reply="a"), Member(cues={"emotion": "happy"}, reply="b"))
        return Sentence(id=words, language=language, transcript=words, members=members)

    first = said("The letter from the university came.")
    assert duplicate_of(said("The letter from the University came!"), [first]) is first
    assert duplicate_of(said("The letter from my university came."), [first]) is first
    assert duplicate_of(said("The parcel from my aunt came."), [first]) is None
    assert duplicate_of(said(first.transcript, "de"), [first]) is None


@pytest.mark.parametrize("path", sorted(DEMO.glob("*.sentences.yaml")), ids=lambda path: path.name)
def test_the_sentences_of_the_demo_keep_the_rules(path: Path) -> None:
    texts = read_plan(path.with_name(path.name.replace(".sentences", ""))).texts
    assert kept_sentences(read_sentences(path), texts.max_words, texts.allow)[1] == []
