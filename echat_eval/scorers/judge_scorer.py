"""What a judge's scorers share: the jury, whose identity a score carries, and replies nobody has to judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from statistics import fmean
from typing import Any

from echat_eval.clients.chat import ChatClient
from echat_eval.errors import NotApplicable, Unavailable, UsageError
from echat_eval.io.hashing import digest
from echat_eval.judge import Judge, JudgeClient, Question, Ruling, VoiceEmotion, text_score
from echat_eval.ports import Case
from echat_eval.records import Metric, Score
from echat_eval.scorers.transcripts import ASR_ANNOTATORS, emotion_of, words_of

__all__ = [
    "JudgeScorer",
    "blank_score",
    "failed_scores",
    "question_of",
    "question_under",
    "settled_scores",
    "voice_of",
]


class JudgeScorer:
    """What both scorers share: the jury, how often it is asked, and whose identity a score carries."""

    needs: tuple[str, ...] = ASR_ANNOTATORS

    def __init__(self, jury: JudgeClient, *, repeats: int = 1, calls_at_once: int = 4) -> None:
        if repeats < 1:
            raise UsageError(f"repeats is {repeats}; expected at least 1")
        self.jury = jury
        self.judge: Judge = jury.judge
        self.repeats = repeats
        self.calls_at_once = calls_at_once

    async def rulings(self, question: Question) -> list[Ruling]:
        """Return one ruling per repeat."""
        return [await self.jury.ruling(question, repeat=n) for n in range(self.repeats)]

    @property
    def billed_client(self) -> ChatClient:
        """Return who asks the judge's server."""
        return self.jury.client

    def fingerprint(self) -> str:
        """Return the hash of the rubric, of the model as the server names it, and of how it is asked.

        Runs whose judges differ in it are not put side by side. The server's own fingerprint is in the
        settings: it is in every score's key, but services that answer from several machines in turn
        name several.
        """
        served, jury = self.jury.served(), self.jury
        model = served.model if served is not None else None
        return digest(
            "judge as served",
            [self.judge.fingerprint(), jury.client.model, model, jury.holds_schema, jury.temperature],
        )

    def settings(self) -> Mapping[str, Any]:
        """Return the model, where and by whom it is served, and how it is asked."""
        client, served = self.jury.client, self.jury.served()
        return {
            "model": client.model,
            "url": client.base_url,
            "rubric": self.judge.name,
            "repeats": self.repeats,
            "schema": self.jury.holds_schema,
            "temperature": self.jury.temperature,
            "served": asdict(served) if served is not None else None,
        }

    def close(self) -> None:
        """Close connections."""
        self.jury.close()

    async def _points(self, question: Question) -> float:
        rulings = await self.rulings(question)
        return fmean(text_score(self.judge, r.verdict.grades, question.task) for r in rulings)


def question_of(case: Case) -> Question:
    """Return what a judge is asked of a reply: its words under its own labels, and the emotion heard in it.

    Raises:
        SystemFailure, Unavailable, NotApplicable: its words are empty, missing or not to be had.
    """
    return question_under(case, words_of(case), case.sample.cues, voice_of(case)[0])


def question_under(case: Case, words: str, cues: Mapping[str, str], heard: VoiceEmotion | None) -> Question:
    """Return what a judge is asked of some words under some labels."""
    return Question(
        task=case.sample.task,
        language=case.sample.language,
        transcript=case.sample.transcript,
        cues=cues,
        reply=words,
        heard=heard,
    )


def voice_of(case: Case) -> tuple[VoiceEmotion | None, dict[str, Any] | None]:
    """Return what was heard, and otherwise which state and reason the voice's score has."""
    try:
        heard = emotion_of(case)
    except NotApplicable as error:
        return None, {"state": "not applicable", "reason": str(error)}
    except Unavailable as error:
        return None, {"state": "missing", "reason": str(error)}
    if heard is None:
        return None, {"state": "not applicable", "reason": "the annotator could not tell the emotion"}
    return heard, None


def blank_score(case: Case, metric: Metric) -> Score:
    """Return a case's score before anything is known of it."""
    return Score(
        key="",
        system=case.response.system,
        task=case.sample.task,
        sample_id=case.sample.id,
        metric=metric.name,
        state="missing",
        reason="the response is missing",
    )


def settled_scores(case: Case, blanks: Sequence[tuple[Score, Metric]]) -> list[Score]:
    """Return the scores of a case without a reply; none if there is one to judge."""
    response = case.response
    if case.sample.asks is not None:
        asked = "the sample asks what is heard, not for a reply"
        return [replace(blank, state="not applicable", reason=asked) for blank, _ in blanks]
    if response.state == "value" and response.reply is not None:
        return []
    if response.state == "failed":
        return failed_scores(blanks, response.reason or "the system failed")
    if response.state == "not applicable":
        return [replace(blank, state="not applicable", reason=response.reason) for blank, _ in blanks]
    return [blank for blank, _ in blanks]


def failed_scores(blanks: Sequence[tuple[Score, Metric]], reason: str) -> list[Score]:
    """Return the scores of a failed reply: the worst value, or not applicable where a metric has none."""
    return [
        replace(blank, state="not applicable", reason="the system failed")
        if metric.worst is None
        else replace(blank, state="failed", value=metric.worst, reason=reason)
        for blank, metric in blanks
    ]
