"""The words of a reply: every scorer takes them from one function, with one order of annotators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from echat_eval.errors import NotApplicable, SystemFailure, Unavailable
from echat_eval.ports import Case
from echat_eval.records import Annotation, Metric, Score, State
from echat_eval.scorers.cue_contrast import CueContrast
from echat_eval.scorers.judge_scorer import JudgeScorer, question_of
from echat_eval.scorers.transcription import TranscriptionConsistency
from echat_eval.scorers.transcripts import ASR_ANNOTATORS, words_of
from echat_eval.scorers.understanding import Understanding
from tests.support.cases import Angles, case
from tests.support.present import evidence_facts

#: annotator -> (state, hypothesis)
Hypotheses = Mapping[str, tuple[State, str | None]]


def spoken(hypotheses: Hypotheses, *, ident: str = "a", text: str | None = None) -> Case:
    """Return a case whose reply has no text, or this one, and these ASR annotations."""
    silent = case(ident, text, "0")
    annotations = {
        name: Annotation(
            key="a",
            system="s",
            task="emotion",
            sample_id=ident,
            annotator=name,
            state=state,
            reason=None if state == "value" else "why",
            values={} if hypothesis is None else {"hypothesis": hypothesis},
        )
        for name, (state, hypothesis) in hypotheses.items()
    }
    return replace(silent, annotations=annotations)


def by_cue_contrast(found: Case) -> tuple[str, str | None]:
    """Return state and words by the text that the headline metric embeds."""
    embedder = Angles()
    score = CueContrast(embedder=embedder).score([found, case("b", "60", "60")])[0]
    words = [text for text in embedder.seen if text not in ("60", "0")]
    return score.state, words[0] if words else None


def by_understanding(found: Case) -> tuple[str, str | None]:
    """Return state and words by the answer that is compared with the transcript."""
    probe = replace(found, sample=replace(found.sample, asks="transcript", transcript="30"))
    score = next(s for s in Understanding().score([probe]) if s.metric == "understanding_wer")
    return score.state, evidence_facts(score).get("hypothesis")


def by_judge(found: Case) -> tuple[str, str | None]:
    """Return state and words by the question that a judge is asked."""
    try:
        return "value", question_of(found).reply
    except SystemFailure:
        return "failed", None
    except Unavailable:
        return "missing", None
    except NotApplicable:
        return "not applicable", None


@pytest.mark.parametrize("words_by", [by_cue_contrast, by_understanding, by_judge])
@pytest.mark.parametrize(
    ("hypotheses", "state", "words"),
    [
        ({"whisper": ("value", "30")}, "value", "30"),
        ({"funasr": ("value", "30")}, "value", "30"),
        ({"transformers-asr": ("value", "30")}, "value", "30"),
        ({"funasr": ("value", "45"), "whisper": ("value", "30")}, "value", "30"),
        ({"whisper": ("not applicable", None), "funasr": ("value", "30")}, "value", "30"),
        ({"whisper": ("missing", None), "funasr": ("value", "30")}, "missing", None),
        ({"funasr": ("missing", None)}, "missing", None),
        ({"funasr": ("value", " ")}, "failed", None),
        ({"funasr": ("not applicable", None)}, "not applicable", None),
        ({}, "not applicable", None),
    ],
)
def test_every_scorer_takes_the_same_words(
    words_by: Callable[[Case], tuple[str, str | None]],
    hypotheses: Hypotheses,
    state: str,
    words: str | None,
) -> None:
    assert words_by(spoken(hypotheses)) == (state, words)


@pytest.mark.parametrize("words_by", [by_cue_contrast, by_understanding, by_judge])
def test_the_text_of_a_system_precedes_every_hypothesis(
    words_by: Callable[[Case], tuple[str, str | None]],
) -> None:
    assert words_by(spoken({"whisper": ("value", "45")}, text="30")) == ("value", "30")


def test_every_scorer_of_words_needs_the_same_annotators() -> None:
    assert set(ASR_ANNOTATORS) <= set(JudgeScorer.needs)
    assert tuple(CueContrast(embedder=Angles()).needs) == tuple(Understanding().needs) == ASR_ANNOTATORS
    with pytest.raises(NotApplicable, match="no annotator transcribed it"):
        words_of(spoken({}))


def test_the_score_of_a_case() -> None:
    found, worst = (
        case("a", "hi"),
        Metric(name="m", title="M", unit="", low=0, high=9, higher_is_better=True, worst=1),
    )
    facts: dict[str, Any] = {"system": "s", "task": "emotion", "sample_id": "a", "metric": "m", "key": ""}
    assert found.score(worst, "value", value=5, weight=2, evidence={"x": 1}) == Score(
        **facts, state="value", value=5, weight=2, evidence={"x": 1}
    )
    assert found.score(worst, "failed", reason="it broke") == Score(
        **facts, state="failed", value=1, reason="it broke"
    )
    # Without a worst value a failed row has the bad end of the range; a range without one gives no value.
    assert found.score(replace(worst, worst=None), "failed") == Score(**facts, state="failed", value=0)
    assert found.score(replace(worst, worst=None, low=None), "failed") == Score(**facts, state="failed")
    assert found.score(worst, "missing", reason="429") == Score(**facts, state="missing", reason="429")


def test_a_case_without_a_reply_has_one_state_and_reason_in_every_scorer() -> None:
    vanished = case("a", "hi")
    vanished = replace(vanished, response=replace(vanished.response, reply=None))
    assert vanished.no_reply == ("failed", "there is no reply")
    assert case("a", "hi").no_reply is None
    for lost in (vanished, case("a", None, state="missing", reason="429")):
        scorers = (CueContrast(embedder=Angles()), TranscriptionConsistency())
        cases = [replace(lost, sample=replace(lost.sample, references=("0",)))]
        found = [scorer.score(cases)[0] for scorer in scorers]
        assert {(s.state, s.reason) for s in found} == {lost.no_reply}
