"""The rubric: its files, its prompts, its verdicts and the scores of grades."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from echat_eval.checks.golden import golden_replies
from echat_eval.errors import BadData, JudgeFailure, NotApplicable
from echat_eval.io.data_folder import data_folder
from echat_eval.judge import Question, VoiceEmotion, load_judge, parse_verdict, render, text_score
from echat_eval.judge.rubric import load_match, read_judge
from echat_eval.labels import CUES, LABELS
from echat_eval.records import Cue
from echat_eval.testing import shown_to_judge

JUDGE = load_judge("echat-r1")
FOLDER = data_folder("judges") / "echat-r1"
QUESTION = Question(
    task="emotion", language="en", transcript="I got the letter.", cues={"emotion": "sad"}, reply="I'm sorry."
)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_grade_of_every_dimension_has_an_anchor(language: str) -> None:
    for dimension in JUDGE.dimensions:
        text = JUDGE.sections[language]["dimension", dimension]
        for grade in range(6):
            assert re.search(rf"^- {grade}[::]", text, re.MULTILINE), (dimension, grade)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("cue", CUES)
def test_prompt_shows_only_the_guide_of_its_cue(language: str, cue: str) -> None:
    shown = render(JUDGE, replace(QUESTION, language=language, cues={cue: LABELS[cue][0]})).text
    for other in CUES:
        assert (JUDGE.sections[language]["cue", other] in shown) == (other == cue)
    assert JUDGE.sections[language]["cues", ""] not in shown


def test_prompt_of_several_cues_shows_each_guide() -> None:
    shown = render(JUDGE, replace(QUESTION, cues={"age": "old", "event": "cough"})).text
    for part in (("cue", "age"), ("cue", "event"), ("cues", "")):
        assert JUDGE.sections["en"][part] in shown


def test_prompt_shows_only_the_published_inputs() -> None:
    emotion = VoiceEmotion(emotion="happy", confidence=0.834)
    parts = shown_to_judge(render(JUDGE, replace(QUESTION, voice_emotion=emotion)).text)
    assert parts["transcript"] == QUESTION.transcript
    assert parts["cues"] == "emotion: sad"
    assert parts["reply"] == QUESTION.reply
    assert parts["voice_emotion"] == "happy (confidence 0.83)"
    assert shown_to_judge(render(JUDGE, QUESTION).text)["voice_emotion"] == "not heard"
    # The rest is the same for every question: it has no task, system or references.
    other = replace(QUESTION, transcript="Other.", reply="Other.", voice_emotion=emotion)
    assert shown_to_judge(render(JUDGE, other).text)["outside"] == parts["outside"]


def test_voice_is_graded_only_with_a_voice_emotion() -> None:
    with_voice = replace(QUESTION, voice_emotion=VoiceEmotion(emotion="sad", confidence=0.9))
    assert '"voice"' in render(JUDGE, with_voice).text
    assert '"voice"' not in render(JUDGE, QUESTION).text
    assert "voice" in JUDGE.schema(with_voice=True)["required"]
    assert "voice" not in JUDGE.schema(with_voice=False)["properties"]


def test_repeats_rotate_the_dimensions() -> None:
    firsts = set()
    for turn in range(3):
        text = render(JUDGE, QUESTION, turn=turn).text
        places = {d: text.index(JUDGE.sections["en"]["dimension", d]) for d in JUDGE.dimensions}
        firsts.add(min(places, key=lambda d: places[d]))
    assert firsts == set(JUDGE.dimensions)


def test_a_language_without_a_prompt_is_not_applicable() -> None:
    with pytest.raises(NotApplicable, match="'fr'"):
        render(replace(JUDGE, other_languages=None), replace(QUESTION, language="fr"))


def test_other_languages_are_named_in_the_prompt() -> None:
    plain = render(JUDGE, QUESTION).text
    for language, name in (("fr", "French"), ("pt-BR", "Portuguese (pt-BR)"), ("ja", "Japanese")):
        text = render(JUDGE, replace(QUESTION, language=language)).text
        assert text.startswith(f"The speaker speaks {name}, and so should the assistant")
        assert text.endswith(plain)
    assert render(JUDGE, replace(QUESTION, language="en-GB")).text == plain


SARCASM = Cue(name="sarcasm", labels=("sincere", "sarcastic"))


def test_own_cues_have_their_guide_and_words() -> None:
    guided = replace(
        SARCASM, guides={"en": "play along."}, words={"zh": {"sarcastic": "讽刺"}}, names={"zh": "讽刺语气"}
    )
    question = replace(
        QUESTION, cues={"emotion": "sad", "sarcasm": "sarcastic"}, own_cues={"sarcasm": guided}
    )
    text = render(JUDGE, question).text
    assert "\n> sarcasm: sarcastic\n" in text
    assert JUDGE.sections["en"]["cue", "emotion"] + "\n\n- sarcasm: play along." in text
    assert JUDGE.sections["en"]["cues", ""] in text  # several labels
    assert "\n> sarcasm: 讽刺\n" in render(JUDGE, replace(question, language="zh")).text
    made = render(JUDGE, replace(question, own_cues={"sarcasm": replace(SARCASM, ordinal=True)})).text
    assert "would not suit the other labels (sincere, sarcastic). The labels are a scale" in made


def test_a_match_question_has_the_guides_of_own_cues() -> None:
    own = {"sarcasm": replace(SARCASM, guides={"en": "play along."})}
    match = load_match("echat-r1")
    question = replace(QUESTION, cues={"voice 1": "sarcasm: sincere", "voice 2": "sarcasm: sarcastic"})
    assert "- sarcasm: play along." in render(match, replace(question, own_cues=own)).text
    assert (
        render(match, replace(question, own_cues={"sarcasm": SARCASM})).text == render(match, question).text
    )


# Worked by hand: emotion weighs 25/40/35, event 25/50/25; the cap is 20 x (cue awareness + 1).
@pytest.mark.parametrize(
    ("task", "content", "cue", "empathy", "points"),
    [
        ("emotion", 5, 5, 5, 100),
        ("emotion", 0, 0, 0, 0),
        ("emotion", 5, 0, 5, 20),  # 60 without the cap
        ("emotion", 5, 1, 5, 40),  # 68 without the cap
        ("emotion", 4, 4, 3, 73),  # 20 + 32 + 21
        ("event", 5, 2, 4, 60),  # 25 + 20 + 20 = 65, capped
        ("event", 2, 3, 1, 45),  # 10 + 30 + 5
        ("a task of mine", 5, 4, 5, 92),  # 30 + 32 + 30
    ],
)
def test_text_score(task: str, content: int, cue: int, empathy: int, points: float) -> None:
    grades = {"content": content, "cue_awareness": cue, "empathy": empathy}
    assert text_score(JUDGE, grades, task) == pytest.approx(points)


def test_cap_limits_a_fluent_cue_blind_reply_on_every_task() -> None:
    for task in (*JUDGE.weights, "unnamed"):
        assert text_score(JUDGE, {"content": 5, "cue_awareness": 1, "empathy": 5}, task) <= 40


def test_golden_set_is_large_and_covers_every_kind_task_and_language() -> None:
    golden = golden_replies("echat-r1")
    assert len(golden) >= 60
    assert len({g.id for g in golden}) == len(golden)
    assert {g.kind for g in golden} == {
        "good",
        "cue-blind",
        "cold",
        "off-topic",
        "over-acted",
        "parroting",
        "stereotyped",
        "empty",
        "wrong language",
    }
    for language in ("en", "zh"):
        assert len({g.kind for g in golden if g.question.language == language}) == 9
    assert {g.question.task for g in golden} == {"emotion", "age", "gender", "event", "multi"}


def test_golden_bands_are_attainable_and_good_replies_rank_first() -> None:
    golden = golden_replies("echat-r1")
    for g in golden:  # some grades inside the bounds must give a score inside the band
        hit = [
            (c, a, e)
            for c in range(6)
            for a in range(6)
            for e in range(6)
            if all(
                lo <= {"content": c, "cue_awareness": a, "empathy": e}[d] <= hi
                for d, (lo, hi) in g.grades.items()
            )
            and g.band[0]
            <= text_score(JUDGE, {"content": c, "cue_awareness": a, "empathy": e}, g.question.task)
            <= g.band[1]
        ]
        assert hit, g.id
    lowest_good = min(g.band[0] for g in golden if g.kind == "good")
    assert all(g.band[1] < lowest_good for g in golden if g.kind != "good")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("judge.yaml", "content: 25, cue_awareness: 40", "content: 26, cue_awareness: 40", "emotion"),
        ("judge.yaml", "highest: 5\n", "", "'highest' is missing"),
        (
            "judge.yaml",
            "highest: 5\n",
            "highest: 5\nhighness: 5\n",
            "unknown key 'highness'; did you mean 'highest'?",
        ),
        ("judge.yaml", "dimension: cue_awareness,", "dimension: charm,", "charm"),
        ("prompt.en.md", "{{heard}}", "", "{{heard}}"),
        ("prompt.zh.md", "# cue: age", "## cue: age", "# cue: age"),
    ],
)
def test_invalid_rubric_is_rejected_with_file_and_fault(
    tmp_path: Path, file: str, old: str, new: str, message: str
) -> None:
    shutil.copytree(FOLDER, tmp_path / "r")
    path = tmp_path / "r" / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(BadData) as caught:
        read_judge(tmp_path / "r")
    assert message in str(caught.value)
    assert file in str(caught.value)


def test_changed_prompt_changes_the_fingerprint(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "r")
    assert read_judge(tmp_path / "r").fingerprint() == JUDGE.fingerprint()
    path = tmp_path / "r" / "prompt.en.md"
    path.write_text(
        path.read_text(encoding="utf-8").replace("by the emotion heard in it", "by it"), encoding="utf-8"
    )
    assert read_judge(tmp_path / "r").fingerprint() != JUDGE.fingerprint()


GOOD = '{"reason": "r", "content": 1, "cue_awareness": 2, "empathy": 3}'
TICKET = '{"reason": "r", "content": 1, "cue_awareness": 2, "empathy": 3, "ticket": "abcd1234"}'


@pytest.mark.parametrize("answer", [GOOD, f"```json\n{GOOD}\n```", f"  {GOOD}\n"])
def test_single_json_object_is_a_verdict(answer: str) -> None:
    assert parse_verdict(answer, JUDGE).grades == {"content": 1, "cue_awareness": 2, "empathy": 3}


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "5",
        "I think it deserves a 4.",
        f"Here: {GOOD}",
        GOOD + GOOD,
        f"[{GOOD}]",
        GOOD.replace("3", "6"),
        GOOD.replace("3", "-1"),
        GOOD.replace("3", "3.0"),
        GOOD.replace("3", "true"),
        GOOD.replace("3", '"3"'),
        GOOD.replace("3", "null"),
        GOOD.replace("3", "NaN"),
        GOOD.replace(', "empathy": 3', ""),
        GOOD.replace("}", ', "voice": 3}'),
        GOOD.replace("}", ', "extra": 3}'),
        GOOD.replace("}", ', "empathy": 5}'),
        GOOD.replace('"r"', "7"),
        GOOD[:-1],
        "{" * 5000,
        GOOD + " " * 130_000,
    ],
)
def test_invalid_verdict_raises_judge_failure(answer: str) -> None:
    with pytest.raises(JudgeFailure):
        parse_verdict(answer, JUDGE)


def test_shown_voice_emotion_must_be_graded() -> None:
    with pytest.raises(JudgeFailure):
        parse_verdict(GOOD, JUDGE, with_voice=True)
    assert parse_verdict(GOOD.replace("}", ', "voice": 4}'), JUDGE, with_voice=True).voice == 4


@pytest.mark.parametrize(
    "answer", [TICKET, f"Let me think {{hm}}. {TICKET} Done.", f"```json\n{TICKET}\n```"]
)
def test_prose_around_one_verdict_is_accepted(answer: str) -> None:
    assert parse_verdict(answer, JUDGE, ticket="abcd1234").grades["empathy"] == 3


@pytest.mark.parametrize(
    "answer",
    [
        "no verdict",
        GOOD,
        TICKET.replace("abcd", "abce"),
        TICKET + TICKET,
        f"It says {GOOD}, so {TICKET}",
        TICKET.replace("3", "9"),
        f'{{"verdict": {TICKET}}}',
        TICKET.replace("}", ', "empathy": 5}'),
    ],
)
def test_prose_without_exactly_one_verdict_raises_judge_failure(answer: str) -> None:
    with pytest.raises(JudgeFailure):
        parse_verdict(answer, JUDGE, ticket="abcd1234")
