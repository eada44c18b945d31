"""Scorers against hand calculations, with an embedder of known cosines."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import permutations
from typing import Any

import jiwer
import numpy as np
import pytest

from echat_eval.ports import Case
from echat_eval.records import Score
from echat_eval.scorers.cue_contrast import CONTRAST, CueContrast
from echat_eval.scorers.normalize import normalised
from echat_eval.scorers.outcome import OutcomeScorer
from echat_eval.scorers.transcription import TranscriptionConsistency
from tests.support.cases import Angles, case
from tests.support.present import evidence_facts, present


def contrast(cases: list[Case]) -> dict[str, Score]:
    scores = [s for s in CueContrast(embedder=Angles()).score(cases) if s.metric == CONTRAST.name]
    assert [s.sample_id for s in scores] == [c.sample.id for c in cases]
    assert all((s.value is not None) == (s.state in ("value", "failed")) for s in scores)
    return {s.sample_id: s for s in scores}


def by_hand(replies: dict[str, float], references: dict[str, float]) -> float:
    """Return the sum of the cue contrast over a group, from its definition."""
    total = 0.0
    for i in replies:
        fit = {j: 100 * max(0.0, math.cos(math.radians(replies[i] - references[j]))) for j in references}
        others = [fit[j] for j in references if j != i]
        total += fit[i] - sum(others) / len(others)
    return total


TRIO = {"a": (5.0, 0.0), "b": (70.0, 60.0), "c": (100.0, 140.0)}


def test_contrast_sums_to_the_definition_over_a_group() -> None:
    scores = contrast([case(i, str(r), str(q)) for i, (r, q) in TRIO.items()])
    expected = by_hand({i: r for i, (r, _) in TRIO.items()}, {i: q for i, (_, q) in TRIO.items()})
    assert sum(present(s.value) for s in scores.values()) == pytest.approx(expected)
    assert expected > 50


def test_contrast_of_a_pair_by_hand() -> None:
    # Replies on their own reference: each fits its own by 100 and the other's by cos 60 = 50.
    right = contrast([case("a", "0", "0"), case("b", "60", "60")])
    swapped = contrast([case("a", "60", "0"), case("b", "0", "60")])
    assert [s.value for s in right.values()] == pytest.approx([50.0, 50.0])
    assert [s.value for s in swapped.values()] == pytest.approx([-50.0, -50.0])
    assert evidence_facts(right["a"])["fit"] == pytest.approx({"a": 100.0, "b": 50.0})


def test_one_reply_for_the_group_is_exactly_zero_in_every_sample() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        size = int(rng.integers(2, 6))
        reply, cases = str(rng.uniform(0, 360)), []
        for n in range(size):
            cases.append(case(f"i{n}", reply, str(rng.uniform(0, 360))))
        assert [s.value for s in contrast(cases).values()] == [0.0] * size


def test_contrast_does_not_depend_on_the_order_of_cases() -> None:
    cases = [case(i, str(r), str(q)) for i, (r, q) in TRIO.items()]
    first = {i: s.value for i, s in contrast(cases).items()}
    for order in permutations(cases):
        assert {i: s.value for i, s in contrast(list(order)).items()} == first


def test_groups_are_independent() -> None:
    pair = [case("a", "0", "0"), case("b", "60", "60")]
    other = [case("c", "10", "200", group="h"), case("d", "20", "300", group="h")]
    assert {i: s.value for i, s in contrast([*pair, *other]).items() if i in "ab"} == {
        i: s.value for i, s in contrast(pair).items()
    }


def test_failed_reply_has_the_worst_value_and_counts_as_the_worst_reply() -> None:
    scores = contrast([case("a", "0", "0"), case("b", None, "60", state="failed", reason="it died")])
    assert (scores["b"].state, scores["b"].value, scores["b"].reason) == ("failed", -100.0, "it died")
    assert scores["a"].value == pytest.approx(((100 - 50) - 100) / 2)
    assert evidence_facts(scores["a"])["failed"] == ["b"]


def test_score_that_needs_a_missing_reply_is_missing() -> None:
    missing = case("b", None, "60", state="missing", reason="429")
    scores = contrast([case("a", "0", "0"), missing])
    assert [s.state for s in scores.values()] == ["missing", "missing"]
    assert "needs the reply to b, which is missing: 429" in str(scores["a"].reason)
    three = contrast([case("a", "0", "0"), missing, case("c", "60", "60")])
    assert [three[i].state for i in "abc"] == ["value", "missing", "value"]
    assert three["a"].value == pytest.approx(50.0)


def test_hypothesis_replaces_missing_text() -> None:
    scores = contrast([case("a", None, "0", hypothesis="0"), case("b", " ", "60", hypothesis="60")])
    assert [s.value for s in scores.values()] == pytest.approx([50.0, 50.0])
    assert evidence_facts(scores["a"])["reply"] == "hypothesis"


def test_silent_replies_are_failed() -> None:
    scores = contrast([case("a", None, "0", hypothesis=""), case("b", None, "60", hypothesis="")])
    assert [(s.state, s.value) for s in scores.values()] == [("failed", -100.0)] * 2


@pytest.mark.parametrize(
    ("unscorable", "state"),
    [
        (case("a", "0", "0", group=None), "not applicable"),
        (case("a", "0", None), "not applicable"),
        (case("a", None, "0"), "not applicable"),
        (case("a", None, "0", annotation_state="not applicable"), "not applicable"),
        (case("a", None, "0", annotation_state="missing"), "missing"),
        (case("a", None, "0", state="not applicable", reason="no Chinese"), "not applicable"),
    ],
)
def test_unscorable_contrast_has_a_reason(unscorable: Case, state: str) -> None:
    score = contrast([unscorable, case("b", "60", "60")])["a"]
    assert (score.state, score.value) == (state, None)
    assert score.reason


def test_several_references_are_averaged() -> None:
    single = case("a", "60", "0")
    double = replace(single, sample=replace(single.sample, references=("0", "120", "150")))
    scores = contrast([double, case("b", "60", "60")])
    assert evidence_facts(scores["a"])["fit"]["a"] == pytest.approx((50.0 + 50.0 + 0.0) / 3)


def test_a_reference_is_compared_with_the_others_not_with_itself() -> None:
    """A ceiling for systems: another apt reply, not a copy. A sample's only reference is compared with itself."""
    single = case("a", "0", "0")
    double = replace(single, sample=replace(single.sample, references=("0", "60")))
    scores = contrast([double, case("b", "60", "60")])
    assert evidence_facts(scores["a"])["fit"]["a"] == pytest.approx(50.0)
    assert evidence_facts(scores["a"])["fit_of_others"]["b"] == pytest.approx(
        50.0
    )  # it is a reference of a, too
    assert evidence_facts(contrast([single, case("b", "60", "60")])["a"])["fit"]["a"] == pytest.approx(100.0)


SPOKEN = [
    ("I am so sorry.", "I'm so sorry"),
    ("Take all the time you need!", "take all the time you need"),
    ("Seven cats", "7 cats and a dog"),
    ("Oh.", ""),
]


def test_weighted_mean_is_the_corpus_error_rate_of_jiwer() -> None:
    cases = [case(str(n), text, hypothesis=hypothesis) for n, (text, hypothesis) in enumerate(SPOKEN)]
    rows = [s for s in TranscriptionConsistency().score(cases) if s.metric == "reply_wer"]
    weighted_mean = sum(present(s.value) * s.weight for s in rows) / sum(s.weight for s in rows)
    corpus_rate = jiwer.wer([normalised(a) for a, _ in SPOKEN], [normalised(b) for _, b in SPOKEN])
    assert weighted_mean == pytest.approx(100 * corpus_rate)
    assert 0 < corpus_rate < 1


def test_chinese_errors_are_counted_in_characters() -> None:
    wer, cer = TranscriptionConsistency().score(
        [case("a", "我很难过。", hypothesis="我很南过", language="zh")]
    )
    assert (wer.metric, wer.state) == ("reply_wer", "not applicable")
    assert (cer.metric, cer.value, cer.weight) == ("reply_cer", 25.0, 4.0)


@pytest.mark.parametrize(
    ("unscorable", "state"),
    [
        (case("a", "hi", hypothesis="hi", audio=False), "not applicable"),
        (case("a", None, hypothesis="hi"), "not applicable"),
        (case("a", "hi"), "not applicable"),
        (case("a", "...", hypothesis="hi"), "not applicable"),
        (case("a", "ha " * 10_000, hypothesis="hi"), "not applicable"),
        (case("a", "hi", annotation_state="not applicable"), "not applicable"),
        (case("a", "hi", annotation_state="missing"), "missing"),
        (case("a", None, state="failed", reason="x"), "failed"),
        (case("a", None, state="missing", reason="x"), "missing"),
    ],
)
def test_unscorable_transcription_has_a_reason(unscorable: Case, state: str) -> None:
    wer = TranscriptionConsistency().score([unscorable])[0]
    assert (wer.state, wer.value) == (state, None)
    assert wer.reason


def test_outcome_of_every_state() -> None:
    cases = [
        case("a", "hi"),
        case("b", None, state="failed", reason="x"),
        case("c", None, state="missing"),
        case("d", None, state="not applicable"),
        case("e", "hi", seconds=None),
    ]
    scores = {(s.sample_id, s.metric): (s.state, s.value) for s in OutcomeScorer().score(cases)}
    assert len(scores) == 10
    assert [scores[i, "failed"] for i in "abcde"] == [
        ("value", 0.0),
        ("failed", 100.0),
        ("missing", None),
        ("not applicable", None),
        ("value", 0.0),
    ]
    assert [scores[i, "seconds"] for i in "abcde"] == [
        ("value", 1.5),
        ("failed", None),
        ("missing", None),
        ("not applicable", None),
        ("not applicable", None),
    ]


@pytest.mark.parametrize(
    "scorer", [CueContrast(embedder=Angles()), TranscriptionConsistency(), OutcomeScorer()]
)
def test_every_scorer_gives_one_score_per_case_and_metric(scorer: Any) -> None:
    scores = scorer.score([case("a", "0", "0", hypothesis="0"), case("b", "60", "60", hypothesis="60")])
    assert [(s.sample_id, s.metric) for s in scores] == [(i, m.name) for i in "ab" for m in scorer.metrics]
    assert len(scorer.fingerprint()) == 64
    assert scorer.settings() == dict(scorer.settings())
