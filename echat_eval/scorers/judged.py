"""A judge's scores: of the reply's words, of its voice apart from them, and of how much the cue mattered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, variance
from typing import Any, Literal

from echat_eval.clients.chat import ChatClient
from echat_eval.errors import NotApplicable, RowError, SystemFailure, Unavailable
from echat_eval.judge import Judge, JudgeClient, Question, Ruling, load_judge, text_score, voice_score
from echat_eval.ports import Case
from echat_eval.records import Metric, Score, State
from echat_eval.scorers.judge_scorer import (
    JudgeScorer,
    blank_score,
    failed_scores,
    question_of,
    question_under,
    settled_scores,
    voice_of,
)
from echat_eval.scorers.transcripts import ASR_ANNOTATORS, EMOTION_ANNOTATORS, opinions_of, words_of

__all__ = ["Judged", "JudgedContrast", "judged_scorers", "question_of"]


class Judged(JudgeScorer):
    """Asks for a verdict on every reply.

    Two metrics: the score of the words, and the score of the voice where an annotator heard an
    emotion in it. The voice has no part in the first.
    """

    name = "judged"
    version = "2"
    scope: Literal["sample", "contrast group"] = "sample"
    needs = (*ASR_ANNOTATORS, *EMOTION_ANNOTATORS)

    def __init__(self, jury: JudgeClient, *, repeats: int = 1, calls_at_once: int = 4) -> None:
        super().__init__(jury, repeats=repeats, calls_at_once=calls_at_once)
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
        """Return two scores a case; a judge that does not keep to the form raises JudgeFailure."""
        return [score for case in cases for score in await self._both(case)]

    def question_of(self, case: Case) -> Question:
        """Return what the judge is asked of a reply.

        Raises:
            SystemFailure, Unavailable, NotApplicable: its words are empty, missing or not to be had.
        """
        return question_of(case)

    async def _both(self, case: Case) -> list[Score]:
        text, voice = (blank_score(case, metric) for metric in self.metrics)
        if settled := settled_scores(case, [(text, self.metrics[0]), (voice, self.metrics[1])]):
            return settled
        _, lacking = voice_of(case)
        try:
            question = self.question_of(case)
        except SystemFailure as error:
            return failed_scores([(text, self.metrics[0]), (voice, self.metrics[1])], str(error))
        rulings = await self.rulings(question)
        evidence = _evidence(self.judge, question, rulings) | {"opinions": opinions_of(case)}
        points = [text_score(self.judge, r.verdict.grades, question.task) for r in rulings]
        made = [replace(text, state="value", value=fmean(points), reason=None, evidence=evidence)]
        if lacking is not None:
            made.append(replace(voice, **lacking))
        else:
            voices = [v for r in rulings if (v := voice_score(self.judge, r.verdict)) is not None]
            made.append(
                replace(voice, state="value", value=fmean(voices), reason=None, evidence={"voices": voices})
            )
        return made


class JudgedContrast(JudgeScorer):
    """How much better the judge finds a reply under its own labels than under those of its group.

    Every reply of a contrast group is judged under every set of labels of the group. A row's value is
    the mean over the group's replies to other labels of

        (fit(own reply, own labels) - fit(own reply, its labels)
         + fit(its reply, its labels) - fit(its reply, own labels)) / 2,

    which over the group is the mean of fit(own, own) - fit(own, other), and in which a judge's liking
    for one label cancels: one reply to the whole group is exactly 0 in every row. The emotion of the
    voice is withheld, so that only words count.
    """

    name = "judged-contrast"
    version = "1"
    scope: Literal["sample", "contrast group"] = "contrast group"

    def __init__(self, jury: JudgeClient, *, repeats: int = 1, calls_at_once: int = 4) -> None:
        super().__init__(jury, repeats=repeats, calls_at_once=calls_at_once)
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
        """Return one score a case of one contrast group."""
        words: dict[str, str | RowError] = {}
        for case in cases:
            if case.response.state == "value":
                try:
                    words[case.sample.id] = words_of(case)
                except (SystemFailure, NotApplicable, Unavailable) as error:
                    words[case.sample.id] = error
        return [await self._one(case, cases, words) for case in cases]

    async def _one(self, case: Case, cases: Sequence[Case], words: Mapping[str, str | RowError]) -> Score:
        metric = self.metrics[0]
        blank = blank_score(case, metric)
        if settled := settled_scores(case, [(blank, metric)]):
            return settled[0]
        own = words[case.sample.id]
        if isinstance(own, SystemFailure):
            return failed_scores([(blank, metric)], str(own))[0]
        if not isinstance(own, str):
            state: State = "not applicable" if isinstance(own, NotApplicable) else "missing"
            return replace(blank, state=state, reason=str(own))
        others = [
            (other, said)
            for other in cases
            if case.sample.contrast_group is not None
            and _labels(other) != _labels(case)
            and isinstance(said := words.get(other.sample.id), str)
        ]
        if not others:
            reason = "no other reply in its contrast group answers other labels"
            return replace(blank, state="not applicable", reason=reason)
        value = fmean([await self._pair(case, own, other, said) for other, said in others])
        return replace(blank, state="value", value=value, reason=None, evidence={"against": len(others)})

    async def _pair(self, case: Case, own: str, other: Case, said: str) -> float:
        async def fit(words: str, labels: Case) -> float:
            return await self._points(question_under(case, words, labels.sample.cues, None))

        gain_of_own = await fit(own, case) - await fit(own, other)
        return (gain_of_own + await fit(said, other) - await fit(said, case)) / 2


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
) -> tuple[Judged, JudgedContrast]:
    """Return both scorers of one judge; they share its connection and its verdicts.

    Args:
        model: None asks for the rubric's own dated model.
        url: base URL of an OpenAI-compatible server; None: OpenAI's own.
        rubric: a folder of `judges/`.
        repeats: verdicts per question; the spread is in the evidence.
        schema: the server can hold answers to a JSON schema.
        calls_at_once: calls in flight at most, over both scorers.
        store: file of verdicts that outlives the process.
        timeout: seconds until a question is given up.
        tries: how often a question is asked at most, over both scorers; None: as often as they want.
    """
    judge = load_judge(rubric)
    client = ChatClient(
        model=model or judge.model, base_url=url, timeout=timeout, calls_at_once=calls_at_once
    )
    jury = JudgeClient(judge, client, holds_schema=schema, temperature=temperature, store=store, tries=tries)
    return (
        Judged(jury, repeats=repeats, calls_at_once=calls_at_once),
        JudgedContrast(jury, repeats=repeats, calls_at_once=calls_at_once),
    )


def _stem(judge: Judge) -> str:
    return f"judge_{judge.name}".replace("-", "_")


def _labels(case: Case) -> str:
    return ", ".join(f"{cue}: {label}" for cue, label in sorted(case.sample.cues.items()))


def _evidence(judge: Judge, question: Question, rulings: Sequence[Ruling]) -> dict[str, Any]:
    points = [text_score(judge, r.verdict.grades, question.task) for r in rulings]
    return {
        "grades": {d: fmean(r.verdict.grades[d] for r in rulings) for d in judge.dimensions},
        "points": points,
        "variance": variance(points) if len(points) > 1 else None,
        "reasons": [r.verdict.reason for r in rulings],
        "models": sorted({r.model for r in rulings}),
        "servers": sorted({r.server or "" for r in rulings}),
        "verdicts": [r.key for r in rulings],
        "prompt_sha256": [r.prompt_sha256 for r in rulings],
        "heard": [question.heard.emotion, question.heard.confidence] if question.heard else None,
        "tokens": [sum(r.tokens[n] for r in rulings) for n in (0, 1)],
    }
