"""The three stages side by side: a reply is heard and scored while others are still being asked."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from echat_eval.concurrency.work_queue import Workflow
from echat_eval.ports import Case
from echat_eval.records import Annotation, Response
from echat_eval.runner.annotate import AnnotationStage
from echat_eval.runner.respond import PendingRequest, ResponseStage
from echat_eval.runner.score import ScoringStage
from echat_eval.store.keys import case_digest
from echat_eval.store.serialize import row_of_annotation, row_of_response, row_of_score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echat_eval.concurrency.retry import RetryPolicy
    from echat_eval.ports import Annotator, Oracle, Progress, Scorer, System
    from echat_eval.records import Sample, Score
    from echat_eval.store.reuse import ReuseIndex
    from echat_eval.store.run_folder import ResponseId, RunFolder

__all__ = ["Pipeline"]


@dataclass(slots=True)
class _Known:
    """A response and what is heard of it so far."""

    case: Case
    digest: str
    heard: dict[str, Annotation] = field(default_factory=dict)


class Pipeline:
    """Asks systems in turn, and hears and scores what they answer.

    Made off the event loop (a fingerprint may ask a server), then run on it.

    Args:
        systems: none where only what is there is heard and scored.
        samples: what the systems are asked.
        recall: what other runs found out.
        overlap: hear and score while systems are being asked; otherwise only once all have answered, so
            that nothing runs beside a system whose time is measured.
    """

    def __init__(
        self,
        run: RunFolder,
        *,
        systems: Sequence[System | Oracle],
        samples: Sequence[Sample],
        annotators: Sequence[Annotator],
        scorers: Sequence[Scorer],
        retry_policy: RetryPolicy,
        progress: Progress,
        recall: ReuseIndex,
        overlap: bool,
    ) -> None:
        self.flow = Workflow()
        self._run, self._progress, self._recall = run, progress, recall
        self._samples = {(sample.task, sample.id): sample for sample in run.samples()}
        self._responses = {
            ident: response for ident, response in run.responses().items() if ident[1:] in self._samples
        }
        self._annotations, self._scores = run.annotations(), run.scores()
        self._open: dict[ResponseId, _Known] = {}
        self._done: Counter[str] = Counter()
        self._begun = False
        configured = {annotator.name for annotator in annotators}
        self._ears_before = {ident[3] for ident in self._annotations} - configured
        self._stage_of = {m.name: f"score: {scorer.name}" for scorer in scorers for m in scorer.metrics}
        self._expected = self._expected_of([system.name for system in systems], samples)
        self._asking = [
            ResponseStage(system, run=run, retry_policy=retry_policy, told=self._answered)
            for system in systems
        ]
        self._todo = [list(one.questions(samples, self._responses)) for one in self._asking]
        questions = (row for rows in self._todo for row in rows if isinstance(row, PendingRequest))
        self._kept = {question.blank.key for question in questions if question.kept}
        self._hearing = [
            AnnotationStage(
                annotator,
                flow=self.flow,
                known=dict(self._annotations),
                retry_policy=retry_policy,
                told=self._was_heard,
                recall=recall,
                held=not overlap,
            )
            for annotator in annotators
        ]
        self._scoring = [
            ScoringStage(
                scorer,
                flow=self.flow,
                expected=self._expected,
                known=dict(self._scores),
                heard_by=configured,
                retry_policy=retry_policy,
                told=self._was_scored,
                held=not overlap,
            )
            for scorer in scorers
        ]

    async def go(self) -> None:
        """Do all that is missing, then put the rows in order.

        Raises:
            whatever is wrong for every row alike; all that was done is kept.
        """
        with self._run.logs() as self._logs:
            try:
                await self._stages()
            finally:
                await self.flow.settle()
        if not self.flow.stopped:
            self._run.put_in_order(self._responses, self._annotations, self._scores)

    async def stop(self) -> int:
        """Begin nothing new; return how many jobs are still in flight."""
        self.flow.stop()
        return self.flow.in_flight

    async def _stages(self) -> None:
        questions = [row.blank for rows in self._todo for row in rows if isinstance(row, PendingRequest)]
        again = {(blank.system, blank.task, blank.sample_id) for blank in questions}
        for ident, response in list(self._responses.items()):
            if ident not in again:
                self._answered(response, new=False)
        self._announce()
        for one, known_or_not in zip(self._asking, self._todo, strict=True):
            to_ask = [row for row in known_or_not if isinstance(row, PendingRequest)]
            self._progress.stage(one.name, len(known_or_not), len(known_or_not) - len(to_ask))
            lane = one.lane(self.flow)
            for question in to_ask:
                if (found := await self._recalled(question)) is not None:
                    self._answered(found)
                else:
                    lane.put(question)
            await self.flow.drain(lane)
            # One system's weights make room for the next one's.
            await lane.close()
        for hearing in self._hearing:
            await self.flow.drain(hearing.lane)
        for scoring in self._scoring:
            await self.flow.drain(scoring.lane)

    async def _recalled(self, question: PendingRequest) -> Response | None:
        """Return what another run was answered; copying its voice takes a thread, not the loop."""
        if not question.kept or not self._recall.knows(question.blank):
            return None
        return await asyncio.to_thread(self._recall.response, question.blank)

    def _expected_of(self, systems: Sequence[str], asked: Sequence[Sample]) -> dict[ResponseId, Sample]:
        """Return every response there will be, system by system, in the order of the samples."""
        about = {(sample.task, sample.id) for sample in asked}
        names = sorted({ident[0] for ident in self._responses} | set(systems))
        return {
            (name, *ident): sample
            for name in names
            for ident, sample in self._samples.items()
            if (name in systems and ident in about) or (name, *ident) in self._responses
        }

    def _announce(self) -> None:
        """Say how much there is to do, beyond what was there already."""
        total = len(self._expected)
        for hearing in self._hearing:
            self._progress.stage(hearing.name, total, self._done[hearing.name])
        for scoring in self._scoring:
            rows = total * len(scoring.scorer.metrics)
            self._progress.stage(scoring.name, rows, self._done[scoring.name])
        self._begun = True

    # -- what the stages tell ------------------------------------------------------

    def _answered(self, response: Response, new: bool = True) -> None:
        ident = response.system, response.task, response.sample_id
        sample = self._samples[ident[1:]]
        case = Case(sample=sample, response=response, annotations={})
        known = self._open[ident] = _Known(case=case, digest=case_digest(sample, response))
        if new:
            self._logs.responses.append(row_of_response(response, self._run.path))
            self._responses[ident] = response
            if response.key in self._kept:
                self._recall.keep_response(response)
            self._advance(f"respond: {response.system}")
        else:
            # Of an instrument that is not configured today, what it heard in an earlier command counts.
            known.heard = {
                name: self._annotations[*ident, name]
                for name in self._ears_before
                if (*ident, name) in self._annotations
            }
        self._grew(ident, known)
        for hearing in self._hearing:
            hearing.hear(response, sample.language)

    def _was_heard(self, annotation: Annotation, new: bool) -> None:
        if new:
            self._logs.annotations.append(row_of_annotation(annotation))
        ident = annotation.system, annotation.task, annotation.sample_id
        self._annotations[*ident, annotation.annotator] = annotation
        self._advance(f"annotate: {annotation.annotator}")
        known = self._open[ident]
        known.heard[annotation.annotator] = annotation
        self._grew(ident, known)

    def _grew(self, ident: ResponseId, known: _Known) -> None:
        case = replace(known.case, annotations=known.heard)
        for scoring in self._scoring:
            scoring.grew(ident, case, known.digest)

    def _was_scored(self, score: Score, new: bool) -> None:
        if new:
            self._logs.scores.append(row_of_score(score))
        self._scores[score.system, score.task, score.sample_id, score.metric] = score
        self._advance(self._stage_of[score.metric])

    def _advance(self, stage: str) -> None:
        if self._begun:
            self._progress.advance(stage=stage)
        else:
            self._done[stage] += 1
