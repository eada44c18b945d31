"""The judge's scores: states, voice, cue contrast, repeats, keys of verdicts and the served model."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from echat_eval.clients.chat import ChatClient
from echat_eval.concurrency import event_loop
from echat_eval.errors import JudgeFailure, NotApplicable, Unavailable, UsageError
from echat_eval.io.hashing import digest
from echat_eval.judge import JudgeClient, Question, Ruling, Verdict, load_judge
from echat_eval.ports import Case
from echat_eval.records import Annotation, AudioRef, JudgeEvidence, Reply, Response, Sample, Score
from echat_eval.scorers.judged import Judged, JudgedContrast, judged_scorers
from echat_eval.store.serialize import content_of_score, row_of_score, score_from
from echat_eval.testing import ScriptedChatServer, judge_verdict, shown_to_judge
from tests.support.present import present

AUDIO = AudioRef(path=Path("x.wav"), sha256="0" * 64, seconds=1.0)


def emotion_annotation(label: str, confidence: float = 0.9, **more: Any) -> Annotation:
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
    response = {"state": "value", "reply": Reply(text=words, audio=AUDIO), **response}
    return Case(
        sample=sample,
        response=Response(key="r", system="s", task="emotion", sample_id=ident, **response),
        annotations=annotations or {},
    )


def fitting(request: dict[str, Any]) -> str:
    """Grade cue awareness 5 if the reply has the gold label's word, else 1; grade any voice 4."""
    parts = shown_to_judge(request)
    label = parts["cues"].partition(": ")[2]
    cue = 5 if {"sad": "sorry", "happy": "lovely"}[label] in parts["reply"].lower() else 1
    return judge_verdict(4, cue, 3, **({} if parts["voice_emotion"] == "not heard" else {"voice": 4}))


def evidence_of(score: Score) -> JudgeEvidence:
    assert isinstance(score.evidence, JudgeEvidence)
    return score.evidence


def scored(
    answer: Any, scorer: str, cases: list[Case], **settings: Any
) -> tuple[list[Score], ScriptedChatServer]:
    with ScriptedChatServer(answer) as judge:
        scorers = judged_scorers("m-2026-01-01", judge.url, **settings)
        try:
            return list(event_loop.run(scorers[0 if scorer == "judged" else 1].score(cases))), judge
        finally:
            scorers[0].close()


def test_without_an_emotion_annotator_only_words_are_scored() -> None:
    (text, voice), judge = scored(fitting, "judged", [case()])
    assert text.state == "value"
    assert text.value == pytest.approx(81)  # 25 x 4/5 + 40 + 35 x 3/5
    assert (voice.state, voice.value) == ("not applicable", None)
    assert evidence_of(text).models == ("m-2026-01-01-served",)
    assert evidence_of(text).servers == ("fp_scripted",)
    assert shown_to_judge(judge.prompts[0])["voice_emotion"] == "not heard"


def test_voice_score_does_not_affect_the_text_score() -> None:
    def by_voice(request: dict[str, Any]) -> str:
        return judge_verdict(4, 4, 4, voice=0 if "anger" in shown_to_judge(request)["voice_emotion"] else 5)

    points = {}
    for label in ("anger", "sad"):
        (text, voice), _ = scored(
            by_voice, "judged", [case(annotations={"emotion2vec": emotion_annotation(label)})]
        )
        points[label] = (text.value, voice.value)
    assert points == {"anger": (80.0, 0.0), "sad": (80.0, 100.0)}


@pytest.mark.parametrize(
    ("annotation", "state", "shown"),
    [
        (emotion_annotation("sad", 0.71), "value", "sad (confidence 0.71)"),
        (emotion_annotation("unknown", 0.2), "not applicable", "not heard"),
        (
            emotion_annotation("sad", state="missing", values={}, reason="the server was away"),
            "missing",
            "not heard",
        ),
        (
            emotion_annotation("sad", state="not applicable", values={}, reason="too short"),
            "not applicable",
            "not heard",
        ),
    ],
)
def test_state_of_the_voice_score_follows_the_annotation(
    annotation: Annotation, state: str, shown: str
) -> None:
    (text, voice), judge = scored(fitting, "judged", [case(annotations={"emotion2vec": annotation})])
    assert (text.state, voice.state) == ("value", state)
    assert shown_to_judge(judge.prompts[0])["voice_emotion"] == shown


def test_first_annotator_counts_and_second_opinions_are_evidence() -> None:
    both = {
        "emotion2vec": emotion_annotation("sad"),
        "sensevoice": replace(emotion_annotation("happy"), annotator="sensevoice"),
    }
    (text, _), judge = scored(fitting, "judged", [case(annotations=both)])
    assert evidence_of(text).opinions == {"emotion2vec": "sad", "sensevoice": "happy"}
    assert shown_to_judge(judge.prompts[0])["voice_emotion"].startswith("sad ")


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
def test_without_a_reply_the_judge_is_not_called(
    response: dict[str, Any], states: tuple[str, str], value: Any
) -> None:
    found, judge = scored(fitting, "judged", [case(**response)])
    assert tuple(s.state for s in found) == states
    assert found[0].value == value
    assert judge.requests == []


def test_an_answer_to_a_probing_question_is_not_judged() -> None:
    dialogue = case()
    probed = replace(dialogue, sample=replace(dialogue.sample, asks="emotion"))
    found, judge = scored(fitting, "judged", [probed])
    assert {s.state for s in [*found, *scored(fitting, "contrast", [probed])[0]]} == {"not applicable"}
    assert judge.requests == []


@pytest.mark.parametrize("answer", ["I like it.", judge_verdict(9, 9, 9), judge_verdict(1, 1, 1) * 2, ""])
def test_invalid_verdict_raises_judge_failure(answer: str) -> None:
    with pytest.raises(JudgeFailure):
        scored(lambda request: answer, "judged", [case()])


@pytest.mark.parametrize("status", [429, 500, 503])
def test_server_error_raises_unavailable(status: int) -> None:
    with pytest.raises(Unavailable):
        scored(lambda request: status, "judged", [case()])


def test_reply_without_text_needs_an_asr_annotator() -> None:
    with pytest.raises(NotApplicable, match="no annotator transcribed it"):
        scored(fitting, "judged", [case(words=None)])
    spoken = replace(emotion_annotation("sad"), annotator="whisper", values={"hypothesis": "so sorry"})
    (text, _), judge = scored(fitting, "judged", [case(words=None, annotations={"whisper": spoken})])
    assert shown_to_judge(judge.prompts[0])["reply"] == "so sorry"
    assert text.state == "value"


@pytest.mark.parametrize("words", ["", None, " \n"])
def test_reply_without_words_is_failed(words: str | None) -> None:
    silent = replace(emotion_annotation("sad"), annotator="whisper", values={"hypothesis": " "})
    empty = case(words=words, ident="b", annotations={"whisper": silent})
    (text, voice), judge = scored(fitting, "judged", [empty])
    assert (text.state, text.value, voice.state) == ("failed", 0, "not applicable")
    assert "whisper found no words" in (text.reason or "")
    contrast, contrast_judge = scored(fitting, "contrast", [case("happy"), empty])
    # The other reply says sorry to happy news: 40 under its own labels, 81 under the failed reply's.
    assert [(s.state, s.value) for s in contrast] == [
        ("value", pytest.approx((40 - 81 - 100) / 2)),
        ("failed", -100),
    ]
    assert judge.prompts == []
    assert {shown_to_judge(prompt)["reply"] for prompt in contrast_judge.prompts} == {"I'm sorry."}


# -- cue contrast -------------------------------------------------------------


def group(sad_words: str, happy_words: str) -> list[Case]:
    return [case("sad", sad_words, ident="a"), case("happy", happy_words, ident="b")]


def test_fitting_replies_have_a_positive_contrast() -> None:
    found, _ = scored(fitting, "contrast", group("So sorry.", "How lovely!"))
    # Own label: 20 + 40 + 21 = 81. The other's: 20 + 8 + 21 = 49, capped at 40.
    assert [s.value for s in found] == [pytest.approx(41), pytest.approx(41)]


def test_swapped_replies_have_a_negative_contrast() -> None:
    found, _ = scored(fitting, "contrast", group("How lovely!", "So sorry."))
    assert [s.value for s in found] == [pytest.approx(-41), pytest.approx(-41)]


def test_one_reply_to_the_whole_group_scores_exactly_zero_with_a_random_judge() -> None:
    dice = random.Random(7)

    def rolling(request: dict[str, Any]) -> str:
        return judge_verdict(*(dice.randrange(6) for _ in range(3)))

    cases = [
        case(label, "Thank you for telling me.", ident=label) for label in ("sad", "happy", "anger", "fear")
    ]
    for seed in range(10):
        dice.seed(seed)
        found, judge = scored(rolling, "contrast", cases)
        assert [s.value for s in found] == [0.0] * 4  # exactly, not approximately
        assert len(judge.requests) == 4  # four labels, one text: one question each


def test_group_mean_is_own_minus_other_for_any_preference_of_the_judge() -> None:
    """Against the definition: mean over i and j != i of fit(reply i, labels i) - fit(reply i, labels j)."""
    labels = ("sad", "happy", "fear")
    fit: dict[tuple[str, str], int] = {}
    dice = random.Random(3)

    def drawn(request: dict[str, Any]) -> str:
        parts = shown_to_judge(request)
        grade = fit.setdefault((parts["reply"], parts["cues"].partition(": ")[2]), dice.randrange(1, 6))
        return judge_verdict(grade, 5, grade)

    cases = [case(label, f"Reply to {label}.", ident=label) for label in labels]
    found, judge = scored(drawn, "contrast", cases)
    points = {k: 60 * g / 5 + 40 for k, g in fit.items()}  # 25 + 35 percent vary, cue awareness is full
    expected = [
        points[f"Reply to {i}.", i] - points[f"Reply to {i}.", j] for i in labels for j in labels if i != j
    ]
    assert sum(present(s.value) for s in found) / 3 == pytest.approx(sum(expected) / 6)
    assert len(judge.requests) == 9


def test_voice_does_not_affect_the_contrast_of_words() -> None:
    cases = [
        replace(case("sad", "Okay.", ident="a"), annotations={"emotion2vec": emotion_annotation("sad")}),
        replace(case("happy", "Okay.", ident="b"), annotations={"emotion2vec": emotion_annotation("happy")}),
    ]
    found, judge = scored(fitting, "contrast", cases)
    assert [s.value for s in found] == [0.0, 0.0]
    assert {shown_to_judge(p)["voice_emotion"] for p in judge.prompts} == {"not heard"}


def test_contrast_without_other_labels_is_not_applicable() -> None:
    for cases in ([case(group=None)], [case()], [case(ident="a"), case(ident="b")]):
        found, judge = scored(fitting, "contrast", cases)
        assert {s.state for s in found} == {"not applicable"}
        assert judge.requests == []


def test_failed_reply_counts_as_the_worst_reply_in_the_terms_of_its_group() -> None:
    cases = [*group("So sorry.", "How lovely!"), case("sad", "Sorry!", ident="c")]
    broken = replace(
        cases[2], response=replace(cases[2].response, state="failed", reason="empty reply", reply=None)
    )
    found, _ = scored(fitting, "contrast", [*cases[:2], broken])
    with_failed = (41 - 100) / 2
    assert [(s.state, s.value) for s in found] == [
        ("value", pytest.approx(41)),  # the failed sample has its labels
        ("value", pytest.approx((41 + with_failed) / 2)),
        ("failed", -100),
    ]
    assert [s.evidence for s in found[:2]] == [{"against": 1, "failed": 0}, {"against": 2, "failed": 1}]
    alone, judge = scored(fitting, "contrast", [cases[1], broken])
    assert [(s.state, s.value) for s in alone] == [("value", pytest.approx(with_failed)), ("failed", -100)]
    assert len(judge.prompts) == 2


def test_contrast_that_needs_a_missing_reply_is_missing() -> None:
    away = case("sad", None, ident="b", state="missing", reason="429", reply=None)
    found, judge = scored(fitting, "contrast", [case("happy"), away])
    assert [s.state for s in found] == ["missing", "missing"]
    assert "needs the reply to b, which is missing: 429" in str(found[0].reason)
    assert judge.prompts == []


def test_contrast_has_its_own_version_in_the_fingerprint() -> None:
    scorers = judged_scorers("m-2026-01-01", "http://127.0.0.1:9/v1")
    try:
        contrast, before = scorers[1], scorers[1].fingerprint()
        assert before != scorers[0].fingerprint()
        contrast.version = "1"
        assert contrast.fingerprint() != before
    finally:
        scorers[0].close()


# -- repeats ------------------------------------------------------------------


def test_repeats_are_averaged_with_their_variance_as_evidence() -> None:
    turns = iter([judge_verdict(0, 5, 5), judge_verdict(5, 5, 5), judge_verdict(5, 5, 0)])
    (text, _), judge = scored(lambda request: next(turns), "judged", [case()], repeats=3)
    assert evidence_of(text).points == (75.0, 100.0, 65.0)
    assert text.value == pytest.approx(80)
    assert evidence_of(text).variance == pytest.approx(325)  # (25 + 400 + 225) / 2
    assert len(set(judge.prompts)) == 3  # each in another order
    assert [r["seed"] for r in judge.requests] == [0, 1, 2]


def test_one_repeat_has_no_variance_and_zero_is_rejected() -> None:
    (text, _), _ = scored(fitting, "judged", [case()])
    assert evidence_of(text).variance is None
    with pytest.raises(UsageError, match="repeats is 0"):
        judged_scorers("m", "http://127.0.0.1:9/v1", repeats=0)


# -- keys of verdicts ---------------------------------------------------------


def ask(judge: ScriptedChatServer, store: Path, model: str = "m", **settings: Any) -> int:
    """Send two questions with new scorers, as a new process does; return the number of calls."""
    before = len(judge.requests)
    scorer = judged_scorers(model, judge.url, store=store, **settings)[0]
    event_loop.run(scorer.score([case("sad", ident="a"), case("happy", ident="b")]))
    scorer.close()
    return len(judge.requests) - before


def test_stored_verdicts_are_reused_while_the_server_is_the_same(tmp_path: Path) -> None:
    store = tmp_path / "verdicts.jsonl"
    with ScriptedChatServer(fitting) as judge:
        assert ask(judge, store) == 2
        # One one-token request for the identity; both verdicts are reused.
        assert ask(judge, store) == 1
        assert (judge.requests[-1]["max_tokens"], "response_format" in judge.requests[-1]) == (1, False)
        judge.fingerprint = "fp_other"
        assert ask(judge, store) == 3
        assert ask(judge, store, model="m2") == 3
        assert ask(judge, store, temperature=0.5) == 3


def test_two_addresses_do_not_share_verdicts(tmp_path: Path) -> None:
    store = tmp_path / "verdicts.jsonl"
    for _ in range(2):
        with ScriptedChatServer(fitting) as judge:
            ask(judge, store)
            assert len(judge.prompts) == 2


def test_invalid_verdict_is_not_stored(tmp_path: Path) -> None:
    store = tmp_path / "verdicts.jsonl"
    answers = iter(["no verdict", judge_verdict(1, 1, 1), judge_verdict(1, 1, 1)])
    with ScriptedChatServer(lambda request: next(answers)) as judge:
        with pytest.raises(JudgeFailure):
            ask(judge, store)
        assert not store.exists()
        assert ask(judge, store) == 2
        assert len(store.read_text().splitlines()) == 2


def identity(scorer: Judged | JudgedContrast) -> str:
    try:
        return repr([scorer.settings(), scorer.fingerprint()])
    finally:
        scorer.close()


def test_score_keys_depend_on_rubric_model_address_and_repeats() -> None:
    with ScriptedChatServer(fitting) as first, ScriptedChatServer(fitting) as second:
        variants = [
            judged_scorers("m", first.url),
            judged_scorers("m2", first.url),
            judged_scorers("m", second.url),
            judged_scorers("m", first.url, repeats=3),
            judged_scorers("m", first.url, schema=False),
        ]
        assert len({identity(scorer) for scorer, _ in variants}) == len(variants)
        scorer = variants[0][0]
        before = scorer.fingerprint()
        scorer.judge = replace(load_judge("echat-r1"), version=2)
        assert scorer.fingerprint() != before


# -- the served model ---------------------------------------------------------


def test_score_keys_depend_on_the_served_model_and_fingerprint() -> None:
    with ScriptedChatServer(fitting) as judge:
        first = judged_scorers("m", judge.url)
        of_first = [identity(scorer) for scorer in first]
        assert len(judge.requests) == 1  # once per process, and both scorers share it
        assert [identity(scorer) for scorer in judged_scorers("m", judge.url)] == of_first
        judge.fingerprint = "fp_other"
        assert not set(of_first) & {identity(scorer) for scorer in judged_scorers("m", judge.url)}
        # Another machine of one service is comparable; another model is not.
        fingerprints = [judged_scorers("m", judge.url)[0].fingerprint()]
        judge.served_suffix = "-q4"
        fingerprints.append(judged_scorers("m", judge.url)[0].fingerprint())
    assert first[0].fingerprint() == fingerprints[0] != fingerprints[1]


def test_scores_stay_valid_while_the_server_does_not_answer(tmp_path: Path) -> None:
    store = tmp_path / "verdicts.jsonl"
    with ScriptedChatServer(fitting) as judge:
        ask(judge, store)
        before = identity(judged_scorers("m", judge.url, store=store)[0])
    later = judged_scorers("m", judge.url, store=store)[0]
    assert identity(later) == before
    assert later.judge_client.identity_error is not None
    never = judged_scorers("m", judge.url, store=tmp_path / "other.jsonl")[0]
    assert never.settings()["served"] is None


def test_server_that_comes_back_with_another_identity_is_rejected(
    tmp_path: Path,
) -> None:
    store = tmp_path / "verdicts.jsonl"
    with ScriptedChatServer(fitting) as judge:
        ask(judge, store)
        later = judged_scorers("m", judge.url, store=store)[0]
        judge.identity = 503
        assert later.settings()["served"]["server"] == "fp_scripted"
        judge.identity, judge.fingerprint = "Yes.", "fp_other"
        with pytest.raises(Unavailable, match="came back as another one"):
            event_loop.run(later.score([case("sad", "New words.")]))
        assert len(store.read_text().splitlines()) == 3  # it was paid for
        later.close()
        judge.fingerprint = "fp_scripted"
        assert ask(judge, store) == 1


def test_alternating_machines_of_one_service_are_one_judge(tmp_path: Path) -> None:
    store = tmp_path / "verdicts.jsonl"
    turns = [0]

    def alternating(request: dict[str, Any]) -> str:
        turns[0] += 1
        judge.fingerprint = f"fp_{turns[0] % 2}"
        return fitting(request)

    with ScriptedChatServer(alternating) as judge:
        scorer = judged_scorers("m", judge.url, store=store)[0]
        before = identity(scorer)
        for label, ident in (("sad", "a"), ("happy", "b")):
            event_loop.run(scorer.score([case(label, ident=ident)]))
        scorer.close()
        for judge.fingerprint in ("fp_0", "fp_1"):  # either of the two may answer first
            assert identity(judged_scorers("m", judge.url, store=store)[0]) == before
            assert ask(judge, store) == 1


def test_judges_of_one_service_share_its_machines(tmp_path: Path) -> None:
    store = tmp_path / "verdicts.jsonl"
    with ScriptedChatServer(fitting, fingerprint="fp_0") as judge:
        first, second = (judged_scorers("m", judge.url, store=store)[0] for _ in range(2))
        second.judge_client.share_identities(first.judge_client)
        event_loop.run(first.score([case("sad")]))
        judge.fingerprint = "fp_1"
        event_loop.run(second.score([case("happy", ident="b")]))
        first.close()
        second.close()
        assert ask(judge, store) == 1  # for the served model; the verdict of fp_0 counts


def test_another_model_during_a_run_is_rejected(tmp_path: Path) -> None:
    with ScriptedChatServer(fitting) as judge:
        scorer = judged_scorers("m", judge.url, store=tmp_path / "verdicts.jsonl")[0]
        event_loop.run(scorer.score([case("sad")]))
        judge.served_suffix = "-other"
        with pytest.raises(Unavailable, match="now reports 'm-other'"):
            event_loop.run(scorer.score([case("happy")]))
        scorer.close()


def test_default_model_is_the_dated_model_of_the_rubric() -> None:
    (_, _), judge = scored_default()
    assert judge.requests[0]["model"] == "gpt-6-luna-2026-09-22"
    assert judge.requests[0]["response_format"]["json_schema"]["strict"] is True
    assert judge.requests[0]["temperature"] == 0


def scored_default() -> tuple[list[Score], ScriptedChatServer]:
    with ScriptedChatServer(fitting) as judge:
        scorer = judged_scorers(None, judge.url)[0]
        found = list(event_loop.run(scorer.score([case()])))
        scorer.close()
        return found, judge


def test_both_scorers_share_one_client_and_its_verdicts() -> None:
    with ScriptedChatServer(fitting) as judge:
        text, contrast = judged_scorers("m", judge.url)
        cases = group("So sorry.", "How lovely!")
        event_loop.run(text.score(cases))
        event_loop.run(contrast.score(cases))
        text.close()
        assert (
            len(judge.requests) == 4
        )  # two replies x two labels; verdicts under their own labels are reused
    assert isinstance(text, Judged)
    assert isinstance(contrast, JudgedContrast)
    assert isinstance(text.judge_client, JudgeClient)
    assert isinstance(text.judge_client.client, ChatClient)


class _CountingJudge(JudgeClient):
    """Records every question that is asked, and gives the lowest grades."""

    def __init__(self) -> None:
        super().__init__(load_judge("echat-r1"), ChatClient(model="m", base_url="http://127.0.0.1:9/v1"))
        self.asked: list[tuple[Question, int]] = []

    async def ruling(self, question: Question, *, repeat: int = 0) -> Ruling:
        self.asked.append((question, repeat))
        lowest = dict.fromkeys(self.judge.dimensions, 0)
        verdict = Verdict(grades=lowest, reason="", voice=0 if question.voice_emotion else None)
        return Ruling(key="", verdict=verdict, prompt_sha256="", model="m", server=None, tokens=(1, 1))


CASES_TO_COUNT = {
    "replies": [case(), case("happy", "Lovely.", ident="b")],
    "one reply": [case()],
    "three labels": [case(), case("happy", "Lovely.", ident="b"), case("angry", "Calm down.", ident="c")],
    "same labels": [case(), case(ident="b")],
    "no group": [case(group=None), case("happy", group=None, ident="b")],
    "an empty reply": [case(words=" "), case("happy", "Lovely.", ident="b")],
    "no text and no annotator": [case(words=None), case("happy", "Lovely.", ident="b")],
    "failed and missing": [
        case(state="failed", reply=None, reason="crash"),
        case("happy", state="missing", reply=None, ident="b"),
        case("angry", "Calm down.", ident="c"),
    ],
    "a voice": [case(annotations={"emotion2vec": emotion_annotation("sad")}), case("happy", ident="b")],
    "a probing question": [replace(case(), sample=replace(case().sample, asks="emotion"))],
}


@pytest.mark.parametrize("scorer_class", [Judged, JudgedContrast])
@pytest.mark.parametrize("cases", CASES_TO_COUNT.values(), ids=CASES_TO_COUNT.keys())
def test_questions_are_those_that_scoring_asks(scorer_class: Any, cases: list[Case]) -> None:
    """An estimate counts `questions`; it must not differ from what `score` sends."""
    judge_client = _CountingJudge()
    scorer = scorer_class(judge_client, repeats=2)
    scopes = [cases] if scorer.scope == "contrast group" else [[one] for one in cases]
    for scope in scopes:
        judge_client.asked.clear()
        with suppress(NotApplicable, Unavailable):
            event_loop.run(scorer.score(scope))
        expected = [(question, repeat) for question in scorer.questions(scope) for repeat in range(2)]
        assert judge_client.asked == expected


def test_the_evidence_of_a_judge_survives_its_row() -> None:
    (text, voice), _ = scored(
        fitting, "judged", [case(annotations={"emotion2vec": emotion_annotation("sad")})], repeats=2
    )
    evidence = evidence_of(text)
    assert (evidence.voice_emotion, evidence.opinions) == (("sad", 0.9), {"emotion2vec": "sad"})
    assert len(evidence.points) == len(evidence.verdicts) == len(evidence.reasons) == 2
    row = json.loads(json.dumps(row_of_score(text)))
    # The JSON form is that of a mapping, whatever is None or empty.
    assert set(row["evidence"]) == {
        "grades",
        "points",
        "variance",
        "reasons",
        "models",
        "servers",
        "verdicts",
        "prompt_sha256",
        "heard",
        "tokens",
        "opinions",
        "uncapped",
    }
    assert score_from(row) == text
    # Its hash in provenance is that of a score whose evidence is the mapping.
    as_mapping = replace(text, evidence=row["evidence"])
    assert digest("score row", content_of_score(text)) == digest("score row", as_mapping)
    single, _ = scored(fitting, "judged", [case()])
    row = row_of_score(single[0])
    assert (row["evidence"]["variance"], row["evidence"]["heard"], row["evidence"]["opinions"]) == (
        None,
        None,
        {},
    )
    assert score_from(row) == single[0]
    # Evidence of another scorer that also has grades stays a mapping.
    assert score_from({**row, "evidence": {"grades": {"a": 1}}}).evidence == {"grades": {"a": 1}}
