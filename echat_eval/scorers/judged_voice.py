"""The grade of a reply's voice by a judge that listens to its recording.

The judge gets the recording, and the words and labels of the query; the recording of the query on request. It
gets no words of the reply, so that kind words cannot carry a flat voice.
"""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from echat_eval.errors import UsageError
from echat_eval.judge import Recording, text_score
from echat_eval.judge.recordings import limit_fault
from echat_eval.ports import Destination
from echat_eval.records import AudioRef, Metric
from echat_eval.scorers.judge_scorer import (
    JudgeScorer,
    build_question,
    pending_score,
    scores_without_judge,
)
from echat_eval.scorers.judged import evidence_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from echat_eval.judge import JudgeClient, Question
    from echat_eval.ports import Case
    from echat_eval.records import Score

__all__ = ["NO_AUDIO", "JudgedVoice", "recordings_of_reply", "require_listening"]

NO_AUDIO = "the reply has no audio, and this judge listens"


class JudgedVoice(JudgeScorer):
    """Grade of the voice of every reply, 0 to 100 points.

    Args:
        query_audio: send the recording of the query, too.
    """

    kind = "judged-voice"
    version = "1"
    scope: Literal["sample", "contrast group"] = "sample"
    needs: tuple[str, ...] = ()

    def __init__(
        self,
        judge_client: JudgeClient,
        *,
        repeats: int = 1,
        calls_at_once: int = 4,
        judge_name: str | None = None,
        query_audio: bool = False,
    ) -> None:
        super().__init__(judge_client, repeats=repeats, calls_at_once=calls_at_once, judge_name=judge_name)
        self.query_audio = query_audio

    def _metrics(self) -> tuple[Metric, ...]:
        return (
            Metric(
                name=f"{self.stem}_voice",
                title=f"Judge {self.title}, voice",
                unit="points",
                low=0,
                high=100,
                higher_is_better=True,
                worst=0,
                by_voice=True,
            ),
        )

    def settings(self) -> Mapping[str, Any]:
        """Return the settings of the judge, and what it listens to."""
        audio_in = self.judge_client.parameters.audio_in
        return {**super().settings(), "audio_in": audio_in, "query_audio": self.query_audio}

    def destinations(self) -> Sequence[Destination]:
        """Return the judge's server, which gets recordings."""
        query = ("query audio",) if self.query_audio else ()
        contents = ("audio of replies", *query, "transcripts", "gold labels")
        return [Destination(url=self.judge_client.client.address, contents=contents)]

    async def score(self, cases: Sequence[Case]) -> Sequence[Score]:
        """Return one score per case.

        Raises:
            JudgeFailure: an answer of the judge is not a verdict.
        """
        return [await self._one(case) for case in cases]

    def questions(self, cases: Sequence[Case]) -> Iterator[Question]:
        """Yield the question about each reply that is judged."""
        for case in cases:
            pending = [(pending_score(case, metric), metric) for metric in self.metrics]
            question = None if scores_without_judge(case, pending) else self._question(case)
            if question is not None and limit_fault(self.judge, question.recordings or ()) is None:
                yield question

    def _question(self, case: Case) -> Question | None:
        """Return the question about the voice of a reply; None: it has no audio."""
        recordings = recordings_of_reply(case)
        if not recordings:
            return None
        if self.query_audio:
            recordings = (*recordings, Recording(name="query", audio=case.sample.audio))
        question = build_question(case, "", case.sample.cues, None)
        return replace(question, recordings=recordings, history=())

    async def _one(self, case: Case) -> Score:
        (metric,) = self.metrics
        pending = [(pending_score(case, metric), metric)]
        if scores := scores_without_judge(case, pending):
            return scores[0]
        question = self._question(case)
        if question is None:
            return case.score(metric, "not applicable", reason=NO_AUDIO)
        if (fault := limit_fault(self.judge, question.recordings or ())) is not None:
            return case.score(metric, "not applicable", reason=fault)
        rulings = await self.rulings(question)
        points = [text_score(self.judge, r.verdict.grades, question.task) for r in rulings]
        evidence = evidence_of(self.judge, question, rulings, {})
        return case.score(metric, "value", value=fmean(points), evidence=evidence)


def recordings_of_reply(case: Case) -> tuple[Recording, ...]:
    """Return the recording of a reply; empty if it has none."""
    reply = case.response.reply
    if reply is None or not isinstance(reply.audio, AudioRef):
        return ()
    return (Recording(name="reply", audio=reply.audio),)


def require_listening(rubric: str, *, rubric_listens: bool, listens: bool) -> None:
    """Raise UsageError unless a judge listens if and only if its rubric is for one that does."""
    if listens and not rubric_listens:
        raise UsageError(
            f"rubric '{rubric}' is for a judge that reads; leave out listens: true, or leave out the rubric "
            "for the one of a judge that listens"
        )
    if rubric_listens and not listens:
        raise UsageError(
            f"rubric '{rubric}' is for a judge that listens; set listens: true (--set judge.listens=true), "
            "and name a model that takes audio"
        )
