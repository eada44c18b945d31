"""Readability: written replies are readable; gibberish, repetition, silence and other alphabets are not."""

from __future__ import annotations

import pytest

from echat_eval.checks.golden import golden_replies
from echat_eval.judge import judge_names, load_judge
from echat_eval.scorers.readability import COMMON, LEAST_UNITS, Readability, unreadable_because
from echat_eval.systems.canned import SENTENCES
from echat_eval.task import known_tasks, load_task
from tests.support.cases import case


def test_shipped_references_transcripts_and_canned_replies_are_readable() -> None:
    texts = [
        (text, sample.language)
        for name in known_tasks()
        for sample in load_task(name).samples
        for text in (*sample.references, sample.transcript)  # echo replies with the query
    ]
    texts += [(text, language) for language, text in SENTENCES.items()]
    texts = [(text, language) for text, language in texts if language in COMMON]
    assert len(texts) > 200
    assert [(t, why) for t, language in texts if (why := unreadable_because(t, language))] == []


@pytest.mark.parametrize(
    ("text", "language", "rule"),
    [
        ("asdf qwer zxcv uiop hjkl", "en", "no common word"),
        ("asdf qwer zxcv uiop hjkl", "zh", "no common word"),
        ("Привет, как твои дела?", "en", "no common word"),
        ("今天天气真好，明天再见。", "en", "no common word"),
        ("Congratulations, that is great!", "zh", "no common word"),
        ("aaaaaaaaaaaaaaaa", "en", "repeated letters"),
        ("哈哈哈哈哈哈哈哈哈哈哈哈", "zh", "repeated letters"),
        ("bla bla bla bla", "en", "repeated words"),
        ("the the the the", "en", "repeated words"),
        ("... !!! 🙂", "en", "no letters"),
        ("12345 67", "zh", "no letters"),
        ("\x00\x00\x00", "en", "no letters"),
    ],
)
def test_nonsense_is_unreadable_by_a_named_rule(text: str, language: str, rule: str) -> None:
    assert unreadable_because(text, language) == rule


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Congratulations!", "en"),
        ("Oh no.", "en"),
        ("Nooo!", "en"),
        ("asdf qwer zxcv", "en"),  # too short to tell
        ("I’m here for you.", "en"),
        ("ＯＫ，　ｌｅｔ＇ｓ　ｇｏ", "en"),
        ("恭喜恭喜!", "zh"),
        ("我喜欢Taylor Swift的歌", "zh"),
        ("哈哈哈", "zh"),
    ],
)
def test_short_and_mixed_replies_are_readable(text: str, language: str) -> None:
    assert unreadable_because(text, language) is None


def test_the_rule_on_common_words_starts_at_the_stated_length() -> None:
    for language, least in LEAST_UNITS.items():
        unit = {"en": "xq{} ", "zh": "{}"}[language]
        fill = ["鱻", "龘", "靐", "齉", "爩", "麤"] if language == "zh" else list("abcd")
        units = [unit.format(fill[n]) for n in range(least)]
        assert unreadable_because("".join(units[:-1]), language) is None
        assert unreadable_because("".join(units), language) == "no common word"


def test_common_words_are_written_as_the_normaliser_leaves_them() -> None:
    from echat_eval.scorers.normalize import characters, normalised

    assert all(normalised(word) == word for word in COMMON["en"])
    assert all(characters(word) == [word] for word in COMMON["zh"])


def values(*args: object, **settings: object) -> dict[str, tuple[str, float | None]]:
    scores = Readability().score([case("a", *args, **settings)])  # type: ignore[arg-type]
    assert [s.metric for s in scores] == ["empty_reply", "unreadable_reply"]
    assert all(s.reason for s in scores if s.state not in {"value", "failed"})
    return {s.metric: (s.state, s.value) for s in scores}


def test_states_follow_the_reply_its_voice_and_the_language() -> None:
    good, bad, none = ("value", 0.0), ("value", 100.0), ("not applicable", None)
    assert values("I am glad to hear it.") == {"empty_reply": good, "unreadable_reply": good}
    assert values("asdf qwer zxcv uiop") == {"empty_reply": good, "unreadable_reply": bad}
    assert values(None, hypothesis="asdf qwer zxcv uiop")["unreadable_reply"] == bad
    assert values(" ", hypothesis=" ") == {"empty_reply": bad, "unreadable_reply": bad}
    assert values(None) == {"empty_reply": none, "unreadable_reply": none}  # no annotator transcribed it
    assert values(None, annotation_state="missing")["unreadable_reply"] == ("missing", None)
    assert values(None, state="failed", reason="it died") == dict.fromkeys(
        ("empty_reply", "unreadable_reply"), ("failed", 100.0)
    )
    assert values(None, state="missing", reason="429")["empty_reply"] == ("missing", None)


def test_languages_without_a_list_are_not_applicable() -> None:
    good, none = ("value", 0.0), ("not applicable", None)
    assert values("Das tut mir leid.", language="de") == {"empty_reply": good, "unreadable_reply": none}
    assert values("", hypothesis="", language="de") == {
        "empty_reply": ("value", 100.0),
        "unreadable_reply": none,
    }


def test_only_empty_and_foreign_golden_replies_of_the_judges_are_unreadable() -> None:
    kinds: dict[bool, set[str]] = {True: set(), False: set()}
    reading = [name for name in judge_names() if not load_judge(name).listens]
    for reply in (reply for name in reading for reply in golden_replies(name)):
        if reply.question.reply.strip():
            why = unreadable_because(reply.question.reply, reply.question.language)
            kinds[why is not None].add(reply.kind)
    assert len(kinds[False]) > 5
    assert kinds[True] <= {"empty", "wrong language"}  # the empty ones have punctuation only
