"""The judge's scores: states of the ledger, the voice apart, the contrast, repeats, what a verdict is kept under."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from echat_eval.clients.chat import ChatClient
from echat_eval.concurrency import event_loop
from echat_eval.errors import JudgeFailure, NotApplicable, Unavailable, UsageError
from echat_eval.judge import JudgeClient, load_judge
from echat_eval.ports import Case
from echat_eval.records import Annotation, AudioRef, Reply, Response, Sample, Score
from echat_eval.scorers.judged import Judged, JudgedContrast, judged_scorers
from tests.support.scripted_judge import ScriptedJudge, parts_of, serving, verdict

AUDIO = AudioRef(path=Path("x.wav"), sha256="0" * 64, seconds=1.0)


def heard(label: str, confidence: float = 0.9, **more: Any) -> Annotation:
    return Annotation(
        key="k",
        system="s",
        task="emotion",
        sample_id="a",
        annotator="emotion2vec",
        **{"state": "value", "values": {"emotion": label, "confidence": confidence}, **more},
    )


def case(
    label: str = "sad",
    words: str | None = "I'm sorry.",
    *,
    ident: str = "a",
    group: str | None = "g",
    annotations: Mapping[str, Annotation] | None = None,
    **response: Any,
) -> Case:
    sample = Sample(
        task="emotion",
        id=ident,
        audio=AUDIO,
        transcript="The letter came.",
        cues={"emotion": label},
        language="en",
        source="synthetic",
        contrast_group=group,
    )
    settled = {"state": "value", "reply": Reply(text=words, audio=AUDIO), **response}
    return Case(
        sample=sample,
        response=Response(key="r", system="s", task="emotion", sample_id=ident, **settled),
        annotations=annotations or {},
    )


def fitting(prompt: str, request: dict[str, Any]) -> str:
    """Grade 5 a reply that names the gold label's word; 1 any other; the voice 4 if there is one."""
    found = parts_of(prompt)
    label = found["cues"].partition(": ")[2]
    cue = 5 if {"sad": "sorry", "happy": "lovely"}[label] in found["reply"].lower() else 1
    return verdict(4, cue, 3, **({} if found["heard"] == "not heard" else {"voice": 4}))


def scored(answer: Any, scorer: str, cases: list[Case], **settings: Any) -> tuple[list[Score], ScriptedJudge]:
    with serving(ScriptedJudge(answer)) as judge:
        made = judged_scorers("m-2026-01-01", judge.url, **settings)
        try:
            return list(event_loop.run(made[0 if scorer == "judged" else 1].score(cases))), judge
        finally:
            made[0].close()


def test_words_are_scored_and_without_an_ear_the_voice_is_not_applicable() -> None:
    (text, voice), judge = scored(fitting, "judged", [case()])
    assert (text.state, text.value) == ("value", pytest.approx(81))  # 25 x 4/5 + 40 + 35 x 3/5
    assert (voice.state, voice.value) == ("not applicable", None)
    assert text.evidence["models"] == ["m-2026-01-01-served"]
    assert text.evidence["servers"] == ["fp_scripted"]
    assert parts_of(judge.prompts()[0])["heard"] == "not heard"


def test_the_voice_is_scored_apart_and_never_mixed_in() -> None:
    def by_voice(prompt: str, request: dict[str, Any]) -> str:
        return verdict(4, 4, 4, voice=0 if "anger" in parts_of(prompt)["heard"] else 5)

    points = {}
    for label in ("anger", "sad"):
        (text, voice), _ = scored(by_voice, "judged", [case(annotations={"emotion2vec": heard(label)})])
        points[label] = (text.value, voice.value)
    assert points == {"anger": (80.0, 0.0), "sad": (80.0, 100.0)}


@pytest.mark.parametrize(
    ("annotation", "state", "shown"),
    [
        (heard("sad", 0.71), "value", "sad (confidence 0.71)"),
        (heard("unknown", 0.2), "not applicable", "not heard"),
        (heard("sad", state="missing", values={}, reason="the server was away"), "missing", "not heard"),
        (heard("sad", state="not applicable", values={}, reason="too short"), "not applicable", "not heard"),
    ],
)
def test_what_was_heard_of_the_voice(annotation: Annotation, state: str, shown: str) -> None:
    (text, voice), judge = scored(fitting, "judged", [case(annotations={"emotion2vec": annotation})])
    assert (text.state, voice.state) == ("value", state)
    assert parts_of(judge.prompts()[0])["heard"] == shown


def test_second_opinions_are_shown_and_the_first_ear_is_believed() -> None:
    both = {"emotion2vec": heard("sad"), "sensevoice": replace(heard("happy"), annotator="sensevoice")}
    (text, _), judge = scored(fitting, "judged", [case(annotations=both)])
    assert text.evidence["opinions"] == {"emotion2vec": "sad", "sensevoice": "happy"}
    assert parts_of(judge.prompts()[0])["heard"].startswith("sad ")


@pytest.mark.parametrize(
    ("response", "states", "value"),
    [
        ({"state": "failed", "reason": "empty reply", "reply": None}, ("failed", "not applicable"), 0),
        ({"state": "missing", "reason": "429", "reply": None}, ("missing", "missing"), None),
        (
            {"state": "not applicable", "reason": "no references", "reply": None},
            ("not applicable",) * 2,
            None,
        ),
    ],
)
def test_without_a_reply_no_judge_is_asked(
    response: dict[str, Any], states: tuple[str, str], value: Any
) -> None:
    found, judge = scored(fitting, "judged", [case(**response)])
    assert tuple(s.state for s in found) == states
    assert found[0].value == value
    assert judge.asked == []


def test_an_answer_to_a_probing_question_is_not_judged() -> None:
    one = case()
    probed = replace(one, sample=replace(one.sample, asks="emotion"))
    found, judge = scored(fitting, "judged", [probed])
    assert {s.state for s in [*found, *scored(fitting, "contrast", [probed])[0]]} == {"not applicable"}
    assert judge.asked == []


@pytest.mark.parametrize("answer", ["I like it.", verdict(9, 9, 9), verdict(1, 1, 1) * 2, ""])
def test_an_answer_that_is_no_verdict_raises_and_is_never_a_score(answer: str) -> None:
    with pytest.raises(JudgeFailure):
        scored(lambda prompt, request: answer, "judged", [case()])


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_does_not_answer_is_the_networks_doing(status: int) -> None:
    with pytest.raises(Unavailable):
        scored(lambda prompt, request: status, "judged", [case()])


def test_a_reply_without_text_needs_an_ear() -> None:
    with pytest.raises(NotApplicable, match="no annotator heard its words"):
        scored(fitting, "judged", [case(words=None)])
    spoken = replace(heard("sad"), annotator="whisper", values={"hypothesis": "so sorry"})
    (text, _), judge = scored(fitting, "judged", [case(words=None, annotations={"whisper": spoken})])
    assert parts_of(judge.prompts()[0])["reply"] == "so sorry"
    assert text.state == "value"


@pytest.mark.parametrize("words", ["", None, " \n"])
def test_a_reply_in_which_no_word_is_heard_has_failed_and_is_no_score(words: str | None) -> None:
    silent = replace(heard("sad"), annotator="whisper", values={"hypothesis": " "})
    empty = case(words=words, ident="b", annotations={"whisper": silent})
    (text, voice), judge = scored(fitting, "judged", [empty])
    assert (text.state, text.value, voice.state) == ("failed", 0, "not applicable")
    assert "whisper heard no words" in (text.reason or "")
    contrast, asked = scored(fitting, "contrast", [case("happy"), empty])
    assert [(s.state, s.value) for s in contrast] == [("not applicable", None), ("failed", -100)]
    assert judge.prompts() == asked.prompts() == []


# -- cue contrast -------------------------------------------------------------


def group(sad_words: str, happy_words: str) -> list[Case]:
    return [case("sad", sad_words, ident="a"), case("happy", happy_words, ident="b")]


def test_a_reply_that_meets_its_cue_contrasts_with_the_other_label() -> None:
    found, _ = scored(fitting, "contrast", group("So sorry.", "How lovely!"))
    # Own label: 20 + 40 + 21 = 81. The other's: 20 + 8 + 21 = 49, capped at 40.
    assert [s.value for s in found] == [pytest.approx(41), pytest.approx(41)]


def test_swapped_replies_contrast_the_other_way() -> None:
    found, _ = scored(fitting, "contrast", group("How lovely!", "So sorry."))
    assert [s.value for s in found] == [pytest.approx(-41), pytest.approx(-41)]


def test_one_reply_to_the_whole_group_scores_exactly_zero_even_under_a_judge_of_dice() -> None:
    dice = random.Random(7)

    def rolling(prompt: str, request: dict[str, Any]) -> str:
        return verdict(*(dice.randrange(6) for _ in range(3)))

    cases = [
        case(label, "Thank you for telling me.", ident=label) for label in ("sad", "happy", "anger", "fear")
    ]
    for seed in range(10):
        dice.seed(seed)
        found, judge = scored(rolling, "contrast", cases)
        assert [s.value for s in found] == [0.0] * 4  # whatever it likes: not nearly, exactly
        assert len(judge.asked) == 4  # four labels, one text: asked once each


def test_the_mean_over_a_group_is_own_less_other_whatever_label_the_judge_likes() -> None:
    """Against the definition: mean over i and j != i of fit(reply i, labels i) - fit(reply i, labels j)."""
    labels, fit = ("sad", "happy", "fear"), {}
    dice = random.Random(3)

    def drawn(prompt: str, request: dict[str, Any]) -> str:
        found = parts_of(prompt)
        grade = fit.setdefault((found["reply"], found["cues"].partition(": ")[2]), dice.randrange(1, 6))
        return verdict(grade, 5, grade)

    cases = [case(label, f"Reply to {label}.", ident=label) for label in labels]
    found, judge = scored(drawn, "contrast", cases)
    points = {k: 60 * g / 5 + 40 for k, g in fit.items()}  # 25 + 35 percent vary, cue awareness is full
    expected = [
        points[f"Reply to {i}.", i] - points[f"Reply to {i}.", j] for i in labels for j in labels if i != j
    ]
    assert sum(s.value for s in found) / 3 == pytest.approx(sum(expected) / 6)
    assert len(judge.asked) == 9


def test_how_a_reply_was_voiced_does_not_move_the_contrast_of_its_words() -> None:
    cases = [
        replace(case("sad", "Okay.", ident="a"), annotations={"emotion2vec": heard("sad")}),
        replace(case("happy", "Okay.", ident="b"), annotations={"emotion2vec": heard("happy")}),
    ]
    found, judge = scored(fitting, "contrast", cases)
    assert [s.value for s in found] == [0.0, 0.0]
    assert {parts_of(p)["heard"] for p in judge.prompts()} == {"not heard"}


def test_a_sample_without_a_group_has_no_contrast() -> None:
    for cases in ([case(group=None)], [case()], [case(ident="a"), case(ident="b")]):
        found, judge = scored(fitting, "contrast", cases)
        assert {s.state for s in found} == {"not applicable"}
        assert judge.asked == []


def test_a_failed_reply_fails_and_leaves_the_rest_of_its_group_to_contrast() -> None:
    cases = [*group("So sorry.", "How lovely!"), case("sad", "Sorry!", ident="c")]
    broken = replace(
        cases[2], response=replace(cases[2].response, state="failed", reason="empty reply", reply=None)
    )
    found, _ = scored(fitting, "contrast", [*cases[:2], broken])
    assert [(s.state, s.value) for s in found] == [
        ("value", pytest.approx(41)),
        ("value", pytest.approx(41)),
        ("failed", -100),
    ]
    alone, _ = scored(fitting, "contrast", [cases[1], broken])
    assert [s.state for s in alone] == ["not applicable", "failed"]


# -- repeats ------------------------------------------------------------------


def test_repeats_are_averaged_and_their_variance_is_kept() -> None:
    turns = iter([verdict(0, 5, 5), verdict(5, 5, 5), verdict(5, 5, 0)])
    (text, _), judge = scored(lambda p, r: next(turns), "judged", [case()], repeats=3)
    assert text.evidence["points"] == [75.0, 100.0, 65.0]
    assert text.value == pytest.approx(80)
    assert text.evidence["variance"] == pytest.approx(325)  # (25 + 400 + 225) / 2
    assert len(set(judge.prompts())) == 3  # each in another order
    assert [r["seed"] for r in judge.asked] == [0, 1, 2]


def test_one_repeat_has_no_variance_and_none_is_refused() -> None:
    (text, _), _ = scored(fitting, "judged", [case()])
    assert text.evidence["variance"] is None
    with pytest.raises(UsageError, match="repeats is 0"):
        judged_scorers("m", "http://127.0.0.1:9/v1", repeats=0)


# -- what a verdict is kept under -----------------------------------------------


def ask(judge: ScriptedJudge, store: Path, model: str = "m", **settings: Any) -> int:
    """Ask two questions in a fresh process, as it were; return how often the server was called."""
    before = len(judge.asked)
    scorer = judged_scorers(model, judge.url, store=store, **settings)[0]
    event_loop.run(scorer.score([case("sad", ident="a"), case("happy", ident="b")]))
    scorer.close()
    return len(judge.asked) - before


def test_verdicts_outlive_the_process_while_the_server_is_the_same(tmp_path: Path) -> None:
    store = tmp_path / "verdicts.jsonl"
    with serving(ScriptedJudge(fitting)) as judge:
        assert ask(judge, store) == 2
        # Who is served is asked for one token; both verdicts are known.
        assert ask(judge, store) == 1
        assert (judge.asked[-1]["max_tokens"], "response_format" in judge.asked[-1]) == (1, False)
        judge.server_name = "fp_other"
        assert ask(judge, store) == 3
        assert ask(judge, store, model="m2") == 3
        assert ask(judge, store, temperature=0.5) == 3


def test_two_addresses_do_not_share_verdicts(tmp_path: Path) -> None:
    store = tmp_path / "verdicts.jsonl"
    for _ in range(2):
        with serving(ScriptedJudge(fitting)) as judge:
            ask(judge, store)
            assert len(judge.prompts()) == 2


def test_what_is_no_verdict_is_never_kept(tmp_path: Path) -> None:
    store = tmp_path / "verdicts.jsonl"
    answers = iter(["no verdict", verdict(1, 1, 1), verdict(1, 1, 1)])
    with serving(ScriptedJudge(lambda p, r: next(answers))) as judge:
        with pytest.raises(JudgeFailure):
            ask(judge, store)
        assert not store.exists()
        assert ask(judge, store) == 2
        assert len(store.read_text().splitlines()) == 2


def identity(scorer: Judged) -> str:
    try:
        return repr([scorer.settings(), scorer.fingerprint()])
    finally:
        scorer.close()


def test_the_scores_key_holds_rubric_model_address_and_repeats() -> None:
    with serving(ScriptedJudge(fitting)) as one, serving(ScriptedJudge(fitting)) as two:
        made = [
            judged_scorers("m", one.url),
            judged_scorers("m2", one.url),
            judged_scorers("m", two.url),
            judged_scorers("m", one.url, repeats=3),
            judged_scorers("m", one.url, schema=False),
        ]
        assert len({identity(scorer) for scorer, _ in made}) == len(made)
        before = made[0][0].fingerprint()
        made[0][0].judge = replace(load_judge("echat-r1"), version=2)
        assert made[0][0].fingerprint() != before


# -- who is served --------------------------------------------------------------


def test_another_served_model_or_fingerprint_is_another_key_of_every_score() -> None:
    with serving(ScriptedJudge(fitting)) as judge:
        first = judged_scorers("m", judge.url)
        of_first = [identity(scorer) for scorer in first]
        assert len(judge.asked) == 1  # once per process, and both scorers share it
        assert [identity(scorer) for scorer in judged_scorers("m", judge.url)] == of_first
        judge.server_name = "fp_other"
        assert not set(of_first) & {identity(scorer) for scorer in judged_scorers("m", judge.url)}
        # Runs judged by other machines of one service may stand side by side; other models' may not.
        prints = [judged_scorers("m", judge.url)[0].fingerprint()]
        judge.served_suffix = "-q4"
        prints.append(judged_scorers("m", judge.url)[0].fingerprint())
    assert first[0].fingerprint() == prints[0] != prints[1]


def test_a_silent_server_leaves_finished_scores_as_they_are(tmp_path: Path) -> None:
    store = tmp_path / "verdicts.jsonl"
    with serving(ScriptedJudge(fitting)) as judge:
        ask(judge, store)
        before = identity(judged_scorers("m", judge.url, store=store)[0])
    later = judged_scorers("m", judge.url, store=store)[0]
    assert identity(later) == before
    assert later.jury.silence is not None
    never = judged_scorers("m", judge.url, store=tmp_path / "other.jsonl")[0]
    assert never.settings()["served"] is None


def test_a_server_that_comes_back_as_another_gives_no_verdict_under_the_first_ones_name(
    tmp_path: Path,
) -> None:
    store = tmp_path / "verdicts.jsonl"
    with serving(ScriptedJudge(fitting)) as judge:
        ask(judge, store)
        later = judged_scorers("m", judge.url, store=store)[0]
        judge.greeting = 503
        assert later.settings()["served"]["server"] == "fp_scripted"
        judge.greeting, judge.server_name = "Yes.", "fp_other"
        with pytest.raises(Unavailable, match="back as another one"):
            event_loop.run(later.score([case("sad", "New words.")]))
        assert len(store.read_text().splitlines()) == 2
        later.close()
        judge.server_name = "fp_scripted"
        assert ask(judge, store) == 1


def test_a_service_of_several_machines_is_one_judge_for_as_long_as_they_take_turns(tmp_path: Path) -> None:
    store = tmp_path / "verdicts.jsonl"
    turns = [0]

    def alternating(prompt: str, request: dict[str, Any]) -> str:
        turns[0] += 1
        judge.server_name = f"fp_{turns[0] % 2}"
        return fitting(prompt, request)

    with serving(ScriptedJudge(alternating)) as judge:
        made = judged_scorers("m", judge.url, store=store)[0]
        mine = identity(made)
        for label, ident in (("sad", "a"), ("happy", "b")):
            event_loop.run(made.score([case(label, ident=ident)]))
        made.close()
        for judge.server_name in ("fp_0", "fp_1"):  # whichever of the two answers first
            assert identity(judged_scorers("m", judge.url, store=store)[0]) == mine
            assert ask(judge, store) == 1


def test_another_model_in_the_middle_of_a_run_is_missing_and_never_mixed_in(tmp_path: Path) -> None:
    with serving(ScriptedJudge(fitting)) as judge:
        made = judged_scorers("m", judge.url, store=tmp_path / "verdicts.jsonl")[0]
        event_loop.run(made.score([case("sad")]))
        judge.served_suffix = "-other"
        with pytest.raises(Unavailable, match="now names 'm-other'"):
            event_loop.run(made.score([case("happy")]))
        made.close()


def test_without_a_name_the_rubrics_dated_model_is_asked_for() -> None:
    (_, _), judge = scored_default()
    assert judge.asked[0]["model"] == "gpt-4o-2024-11-20"
    assert judge.asked[0]["response_format"]["json_schema"]["strict"] is True
    assert judge.asked[0]["temperature"] == 0


def scored_default() -> tuple[list[Score], ScriptedJudge]:
    with serving(ScriptedJudge(fitting)) as judge:
        scorer = judged_scorers(None, judge.url)[0]
        found = list(event_loop.run(scorer.score([case()])))
        scorer.close()
        return found, judge


def test_both_scorers_share_one_connection_and_its_verdicts() -> None:
    with serving(ScriptedJudge(fitting)) as judge:
        text, contrast = judged_scorers("m", judge.url)
        cases = group("So sorry.", "How lovely!")
        event_loop.run(text.score(cases))
        event_loop.run(contrast.score(cases))
        text.close()
        assert len(judge.asked) == 4  # two words x two labels; the own ones were known
    assert isinstance(text, Judged)
    assert isinstance(contrast, JudgedContrast)
    assert isinstance(text.jury, JudgeClient)
    assert isinstance(text.jury.client, ChatClient)
