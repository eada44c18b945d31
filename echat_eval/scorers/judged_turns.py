"""A judge's grade of every reply of a live dialogue, and their mean over the whole dialogue.

The judge is asked about each reply as if the dialogue had ended there; a rubric that shows earlier turns
shows those before it. Its ordinary score is that of the last reply alone.
"""

from __future__ import annotations

from contextlib import suppress
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from echat_eval.errors import NotApplicable, SystemFailure, Unavailable
from echat_eval.io.hashing import digest
from echat_eval.judge import text_score
from echat_eval.records import Metric
from echat_eval.scorers.judge_scorer import (
    JudgeScorer,
    failed_scores,
    pending_score,
    question_of,
    scores_without_judge,
)
from echat_eval.scorers.transcripts import ASR_ANNOTATORS, EMOTION_ANNOTATORS
from echat_eval.store.turns import cases_of_turns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from echat_eval.judge import Question
    from echat_eval.ports import Case
    from echat_eval.records import Sample, Score
    from echat_eval.scorers.judged import Judged

__all__ = ["NO_DIALOGUE", "JudgedTurns", "scorers_of_turns"]

NO_DIALOGUE = "the sample is no live dialogue: it scripts no earlier turns"


class JudgedTurns(JudgeScorer):
    """Mean of the judge's score of the words over all replies of a live dialogue; each counts the same.

    A turn without `cues` is graded with its labels shown as not given. Annotators get the last reply alone,
    so that the words of an earlier one without text are unknown.
    """

    kind = "judged-turns"
    version = "1"
    scope: Literal["sample", "contrast group"] = "sample"
    #: Those of `Judged`: the question about the last reply is the same, so that it is asked once.
    needs = (*ASR_ANNOTATORS, *EMOTION_ANNOTATORS)
    grades_voice = True

    def _metrics(self) -> tuple[Metric, ...]:
        return (
            Metric(
                name=f"{self.stem}_turns",
                title=f"Judge {self.title}, all turns",
                unit="points",
                low=0,
                high=100,
                higher_is_better=True,
                worst=0,
            ),
        )

    def fingerprint(self) -> str:
        """Return the hash of the judge as served and of the rules."""
        return digest("judged turns", [super().fingerprint(), self.version])

    async def score(self, cases: Sequence[Case]) -> Sequence[Score]:
        """Return one score per case.

        Raises:
            JudgeFailure: an answer of the judge is not a verdict.
        """
        return [await self._one(case) for case in cases]

    def questions(self, cases: Sequence[Case]) -> Iterator[Question]:
        """Yield the question about every reply of each dialogue."""
        for case in cases:
            if case.sample.asks is None:
                for turn in cases_of_turns(case):
                    with suppress(SystemFailure, NotApplicable, Unavailable):
                        yield question_of(turn, self.judge)

    async def _one(self, case: Case) -> Score:
        (metric,) = self.metrics
        if case.sample.turns is None:
            return case.score(metric, "not applicable", reason=NO_DIALOGUE)
        pending = [(pending_score(case, metric), metric)]
        if scores := scores_without_judge(case, pending):
            return scores[0]
        points = []
        for number, turn in enumerate(cases_of_turns(case), 1):
            try:
                question = question_of(turn, self.judge)
            except SystemFailure as error:
                return failed_scores(pending, f"turn {number}: {error}")[0]
            rulings = await self.rulings(question)
            points.append(fmean(text_score(self.judge, r.verdict.grades, question.task) for r in rulings))
        return case.score(metric, "value", value=fmean(points), evidence={"points_by_turn": points})


def scorers_of_turns(judged: Iterable[Judged], samples: Iterable[Sample]) -> list[JudgedTurns]:
    """Return a scorer of all turns for each judge, if a sample is a live dialogue."""
    if all(sample.turns is None for sample in samples):
        return []
    return [
        JudgedTurns(
            one.judge_client,
            repeats=one.repeats,
            calls_at_once=one.calls_at_once,
            judge_name=one.judge_name,
        )
        for one in judged
    ]
