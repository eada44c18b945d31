"""The judge's scores: the words of a reply, its voice, and the cue contrast."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import fmean, variance
from typing import TYPE_CHECKING, Literal

from echat_eval.clients.chat import ChatClient
from echat_eval.errors import NotApplicable, RowError, SystemFailure, Unavailable
from echat_eval.judge import Judge, JudgeClient, Question, Ruling, load_judge, text_score, voice_score
from echat_eval.ports import Case
from echat_eval.records import JudgeEvidence, Metric, Score, State
from echat_eval.scorers.judge_scorer import (
    JudgeScorer,
    build_question,
    failed_scores,
    pending_score,
    question_of,
    scores_without_judge,
    voice_emotion_of,
)
from echat_eval.scorers.transcripts import ASR_ANNOTATORS, EMOTION_ANNOTATORS, opinions_of, words_of

if TYPE_CHECKING:
    from echat_eval.store.cache import Cache

__all__ = ["Judged", "JudgedContrast", "judged_scorers", "question_of"]


class Judged(JudgeScorer):
    """Judge's verdict on every reply.

    Two metrics: the score of the words, and the score of the voice if an annotator detected its emotion.
    The voice does not count in the first.
    """

    name = "judged"
    version = "2"
    scope: Literal["sample", "contrast group"] = "sample"
    needs = (*ASR_ANNOTATORS, *EMOTION_ANNOTATORS)

    def __init__(self, judge_client: JudgeClient, *, repeats: int = 1, calls_at_once: int = 4) -> None:
        super().__init__(judge_client, repeats=repeats, calls_at_once=calls_at_once)
        stem = _stem(self.judge)
        self.metrics: tuple[Metric, ...] = (
            Metric(
                name=stem,
                title=f"Judge {self.judge.name}",
                unit="points",
                low=0,
                high=100,
                higher_is_better=True,
                worst=0,
            ),
            Metric(
                name=f"{stem}_voice",
                title=f"Judge {self.judge.name}, voice",
                unit="points",
                low=0,
                high=100,
                higher_is_better=True,
            ),
        )

    async def score(self, cases: Sequence[Case]) -> Sequence[Score]:
        """Return two scores per case.

        Raises:
            JudgeFailure: an answer of the judge is not a verdict.
        """
        return [score for case in cases for score in await self._both(case)]

    def questions(self, cases: Sequence[Case]) -> Iterator[Question]:
        """Yield the question about each reply that is judged."""
        for case in cases:
            if not scores_without_judge(case, self._pending(case)):
                with suppress(SystemFailure, NotApplicable, Unavailable):
                    yield self.question_of(case)

    def _pending(self, case: Case) -> list[tuple[Score, Metric]]:
        return [(pending_score(case, metric), metric) for metric in self.metrics]

    def question_of(self, case: Case) -> Question:
        """Return the question about a reply.

        Raises:
            SystemFailure, Unavailable, NotApplicable: its words are empty, missing or not available.
        """
        return question_of(case)

    async def _both(self, case: Case) -> list[Score]:
        pending = self._pending(case)
        (text, _), (voice, _) = pending
        if scores := scores_without_judge(case, pending):
            return scores
        _, no_emotion = voice_emotion_of(case)
        try:
            question = self.question_of(case)
        except SystemFailure as error:
            return failed_scores(pending, str(error))
        rulings = await self.rulings(question)
        evidence = _evidence(self.judge, question, rulings, opinions_of(case))
        points = [text_score(self.judge, r.verdict.grades, question.task) for r in rulings]
        text = replace(text, state="value", value=fmean(points), reason=None, evidence=evidence)
        if no_emotion is not None:
            return [text, replace(voice, **no_emotion)]
        voices = [v for r in rulings if (v := voice_score(self.judge, r.verdict)) is not None]
        voice = replace(voice, state="value", value=fmean(voices), reason=None, evidence={"voices": voices})
        return [text, voice]


class JudgedContrast(JudgeScorer):
    """Cue contrast by the judge: score under a reply's own labels minus score under its group's others.

    Every reply of a contrast group is judged under every set of labels of the group. A row's value is
    the mean over the group's replies to other labels of

        (fit(own reply, own labels) - fit(own reply, other labels)
         + fit(other reply, other labels) - fit(other reply, own labels)) / 2.

    Its mean over the group is the mean of fit(own, own) - fit(own, other). A judge's preference for one
    label cancels: one reply to the whole group is exactly 0 in every row. The emotion of the voice is
    withheld, so that only words count.
    """

    name = "judged-contrast"
    version = "1"
    scope: Literal["sample", "contrast group"] = "contrast group"

    def __init__(self, judge_client: JudgeClient, *, repeats: int = 1, calls_at_once: int = 4) -> None:
        super().__init__(judge_client, repeats=repeats, calls_at_once=calls_at_once)
        self.metrics: tuple[Metric, ...] = (
            Metric(
                name=f"{_stem(self.judge)}_cue_contrast",
                title="Judge's cue contrast",
                unit="points",
                low=-100,
                high=100,
                higher_is_better=True,
                worst=-100,
            ),
        )

    async def score(self, cases: Sequence[Case]) -> Sequence[Score]:
        """Return one score per case of one contrast group."""
        words = _words_of_replies(cases)
        return [await self._one(case, cases, words) for case in cases]

    def questions(self, cases: Sequence[Case]) -> Iterator[Question]:
        """Yield the questions about every pair of replies of one contrast group."""
        words = _words_of_replies(cases)
        for case in cases:
            own_words = words.get(case.sample.id)
            if isinstance(own_words, str) and not scores_without_judge(case, self._pending(case)):
                for other, other_words in _others(case, cases, words):
                    yield from _pair_questions(case, own_words, other, other_words)

    def _pending(self, case: Case) -> list[tuple[Score, Metric]]:
        return [(pending_score(case, self.metrics[0]), self.metrics[0])]

    async def _one(self, case: Case, cases: Sequence[Case], words: Mapping[str, str | RowError]) -> Score:
        ((pending, metric),) = self._pending(case)
        if scores := scores_without_judge(case, [(pending, metric)]):
            return scores[0]
        own_words = words[case.sample.id]
        if isinstance(own_words, SystemFailure):
            return failed_scores([(pending, metric)], str(own_words))[0]
        if not isinstance(own_words, str):
            state: State = "not applicable" if isinstance(own_words, NotApplicable) else "missing"
            return replace(pending, state=state, reason=str(own_words))
        others = _others(case, cases, words)
        if not others:
            reason = "no other reply in its contrast group answers other labels"
            return replace(pending, state="not applicable", reason=reason)
        value = fmean([await self._pair(case, own_words, *other) for other in others])
        return replace(pending, state="value", value=value, reason=None, evidence={"against": len(others)})

    async def _pair(self, case: Case, own_words: str, other: Case, other_words: str) -> float:
        fits = [await self._points(q) for q in _pair_questions(case, own_words, other, other_words)]
        return (fits[0] - fits[1] + fits[2] - fits[3]) / 2


def judged_scorers(
    model: str | None = None,
    url: str | None = None,
    rubric: str = "echat-r1",
    *,
    repeats: int = 1,
    schema: bool = True,
    temperature: float = 0.0,
    calls_at_once: int = 4,
    store: Path | None = None,
    timeout: float = 60.0,
    tries: int | None = None,
    cache: Cache | None = None,
) -> tuple[Judged, JudgedContrast]:
    """Return both scorers of one judge; they share its connection and its verdicts.

    Args:
        model: None selects the rubric's dated model.
        url: base URL of an OpenAI-compatible server; None: OpenAI.
        rubric: name of a folder in `judges/`.
        repeats: verdicts per question; their variance is in the evidence.
        schema: constrain answers to a JSON schema; the server must support it.
        calls_at_once: maximum concurrent calls, over both scorers.
        store: file of verdicts; they outlive the process.
        timeout: seconds per call.
        tries: maximum calls per question, over both scorers; None: no limit.
        cache: verdicts shared between runs; None: no cache.
    """
    judge = load_judge(rubric)
    client = ChatClient(
        model=model or judge.model, base_url=url, timeout=timeout, calls_at_once=calls_at_once
    )
    judge_client = JudgeClient(
        judge, client, use_schema=schema, temperature=temperature, store=store, tries=tries, cache=cache
    )
    return (
        Judged(judge_client, repeats=repeats, calls_at_once=calls_at_once),
        JudgedContrast(judge_client, repeats=repeats, calls_at_once=calls_at_once),
    )


def _stem(judge: Judge) -> str:
    return f"judge_{judge.name}".replace("-", "_")


def _words_of_replies(cases: Sequence[Case]) -> dict[str, str | RowError]:
    """Return sample id -> the words of its reply, or why there are none, for every case with a reply."""
    words: dict[str, str | RowError] = {}
    for case in cases:
        if case.response.state == "value":
            try:
                words[case.sample.id] = words_of(case)
            except (SystemFailure, NotApplicable, Unavailable) as error:
                words[case.sample.id] = error
    return words


def _others(case: Case, cases: Sequence[Case], words: Mapping[str, str | RowError]) -> list[tuple[Case, str]]:
    """Return the cases of the contrast group with words and with other labels."""
    return [
        (other, other_words)
        for other in cases
        if case.sample.contrast_group is not None
        and _labels(other) != _labels(case)
        and isinstance(other_words := words.get(other.sample.id), str)
    ]


def _pair_questions(case: Case, own_words: str, other: Case, other_words: str) -> list[Question]:
    """Return (own words, own labels), (own, other), (other words, other labels), (other, own)."""
    pairs = [(own_words, case), (own_words, other), (other_words, other), (other_words, case)]
    return [build_question(case, words, labels.sample.cues, None) for words, labels in pairs]


def _labels(case: Case) -> str:
    return ", ".join(f"{cue}: {label}" for cue, label in sorted(case.sample.cues.items()))


def _evidence(
    judge: Judge, question: Question, rulings: Sequence[Ruling], opinions: Mapping[str, str]
) -> JudgeEvidence:
    points = tuple(text_score(judge, r.verdict.grades, question.task) for r in rulings)
    emotion = question.voice_emotion
    return JudgeEvidence(
        grades={d: fmean(r.verdict.grades[d] for r in rulings) for d in judge.dimensions},
        points=points,
        variance=variance(points) if len(points) > 1 else None,
        reasons=tuple(r.verdict.reason for r in rulings),
        models=tuple(sorted({r.model for r in rulings})),
        servers=tuple(sorted({r.server or "" for r in rulings})),
        verdicts=tuple(r.key for r in rulings),
        prompt_sha256=tuple(r.prompt_sha256 for r in rulings),
        heard=(emotion.emotion, emotion.confidence) if emotion else None,
        tokens=(sum(r.tokens[0] for r in rulings), sum(r.tokens[1] for r in rulings)),
        opinions=opinions,
    )
