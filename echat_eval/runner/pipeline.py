"""Runs the three stages concurrently: replies are annotated and scored while others are still requested."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from echat_eval.concurrency.work_queue import Workflow
from echat_eval.io.collector import collector_paused
from echat_eval.ports import Case
from echat_eval.records import Annotation, Response
from echat_eval.runner.annotate import AnnotationStage
from echat_eval.runner.respond import PendingRequest, ResponseStage
from echat_eval.runner.score import ScoringStage
from echat_eval.store.keys import case_digest
from echat_eval.store.repeats import repeated, repeats_in
from echat_eval.store.serialize import row_of_annotation, row_of_response, row_of_score

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from echat_eval.ports import Annotator, Oracle, Progress, Scorer, System
    from echat_eval.records import Sample, Score
    from echat_eval.store.manifest import RunSettings
    from echat_eval.store.reuse import ReuseIndex
    from echat_eval.store.run_folder import ResponseId, RunFolder

__all__ = ["Pipeline"]


@dataclass(slots=True)
class _Known:
    """A response and its annotations so far."""

    case: Case
    digest: str
    annotations: dict[str, Annotation] = field(default_factory=dict)


class Pipeline:
    """Requests replies from one system after the other, and annotates and scores them.

    Construct it outside the event loop, because a fingerprint may need a server; then run it on the loop.

    Args:
        systems: empty to annotate and score the existing responses only.
        samples: sent to every system.
        repeats: name of a system -> number of its replies to each sample; 1 by default.
        reuse: rows of other runs.
        settings: without `overlap`, annotators and scorers start once all systems have answered, so that
            nothing else runs while latency is measured.
    """

    def __init__(
        self,
        run: RunFolder,
        *,
        systems: Sequence[System | Oracle],
        samples: Sequence[Sample],
        annotators: Sequence[Annotator],
        scorers: Sequence[Scorer],
        settings: RunSettings,
        progress: Progress,
        reuse: ReuseIndex,
        repeats: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        retry_policy, held = settings.retry_policy, not settings.overlap
        self.workflow = Workflow()
        self._run, self._progress, self._reuse = run, progress, reuse
        responses = run.every_response()
        most = max([1, *repeats.values(), *repeats_in(responses).values()])
        self._samples = {
            (sample.task, sample.id): sample
            for number in range(1, most + 1)
            for sample in (repeated(sample, number) for sample in run.samples())
        }
        self._responses = {ident: row for ident, row in responses.items() if ident[1:] in self._samples}
        self._annotations, self._scores = run.every_annotation(), run.every_score()
        self._open: dict[ResponseId, _Known] = {}
        self._done: Counter[str] = Counter()
        self._stages_shown = False
        configured = {annotator.name for annotator in annotators}
        self._earlier_annotators = {ident[3] for ident in self._annotations} - configured
        self._stage_of = {m.name: f"score: {scorer.name}" for scorer in scorers for m in scorer.metrics}
        requested = {
            system.name: [
                repeated(sample, number)
                for number in range(1, repeats.get(system.name, 1) + 1)
                for sample in samples
            ]
            for system in systems
        }
        self._expected = self._expected_of(requested)
        self._response_stages = [
            ResponseStage(system, run=run, retry_policy=retry_policy, on_result=self._on_response)
            for system in systems
        ]
        #: For each system, the known response or the pending request of each sample.
        self._work = [
            list(stage.responses_and_requests(requested[stage.system.name], self._responses))
            for stage in self._response_stages
        ]
        requests = (item for items in self._work for item in items if isinstance(item, PendingRequest))
        self._cacheable = {request.pending.key for request in requests if request.cacheable}
        self._annotation_stages = [
            AnnotationStage(
                annotator,
                workflow=self.workflow,
                known=dict(self._annotations),
                retry_policy=retry_policy,
                on_result=self._on_annotation,
                reuse=reuse,
                held=held,
            )
            for annotator in annotators
        ]
        self._scoring_stages = [
            ScoringStage(
                scorer,
                workflow=self.workflow,
                expected=self._expected,
                known=dict(self._scores),
                annotator_names=configured,
                retry_policy=retry_policy,
                on_result=self._on_score,
                held=held,
            )
            for scorer in scorers
        ]

    async def go(self) -> None:
        """Make all missing rows, then put the rows in order.

        Raises:
            Any error that affects every row; finished rows are kept.
        """
        with self._run.logs() as self._logs:
            try:
                self._take_over_known_responses()
                await self._respond()
                await self._annotate()
                await self._score()
            finally:
                await self.workflow.settle()
        if not self.workflow.stopped:
            self._run.put_in_order(self._responses, self._annotations, self._scores)

    async def stop(self) -> int:
        """Start no more jobs; return the number of jobs in flight."""
        self.workflow.stop()
        return self.workflow.in_flight

    def _take_over_known_responses(self) -> None:
        """Hand the responses of earlier commands that still hold to the annotators and scorers."""
        rows = [item.pending for items in self._work for item in items if isinstance(item, PendingRequest)]
        requested = {(row.system, row.task, row.sample_id) for row in rows}
        with collector_paused():
            for ident, response in list(self._responses.items()):
                if ident not in requested:
                    self._on_response(response, new=False)
        self._show_stages()

    async def _respond(self) -> None:
        """Request the missing replies from one system after the other.

        Every reply goes to the annotators, and with its annotations to the scorers, as soon as it exists.
        """
        for stage, items in zip(self._response_stages, self._work, strict=True):
            requests = [item for item in items if isinstance(item, PendingRequest)]
            self._progress.stage(stage.name, len(items), len(items) - len(requests))
            queue = stage.open_queue(self.workflow)
            for request in requests:
                if (reused := await self._reused(request)) is not None:
                    self._on_response(reused)
                else:
                    queue.put(request)
            await self.workflow.drain(queue)
            # Free one system's weights before the next one's are loaded.
            await queue.close()

    async def _annotate(self) -> None:
        """Start the annotators if they were held, and wait until every reply is annotated."""
        for annotation_stage in self._annotation_stages:
            await self.workflow.drain(annotation_stage.queue)

    async def _score(self) -> None:
        """Start the scorers if they were held, and wait until every reply is scored."""
        for scoring_stage in self._scoring_stages:
            await self.workflow.drain(scoring_stage.queue)

    async def _reused(self, request: PendingRequest) -> Response | None:
        """Return the response of another run; a thread copies its audio, so that the loop is not blocked."""
        if not request.cacheable or not self._reuse.contains(request.pending):
            return None
        return await asyncio.to_thread(self._reuse.response, request.pending)

    def _expected_of(self, requested: Mapping[str, Sequence[Sample]]) -> dict[ResponseId, Sample]:
        """Return every response of the finished run, system by system, in the order of the samples."""
        idents = {(name, sample.task, sample.id) for name, samples in requested.items() for sample in samples}
        names = sorted({ident[0] for ident in self._responses} | set(requested))
        return {
            (name, *ident): sample
            for name in names
            for ident, sample in self._samples.items()
            if (name, *ident) in idents or (name, *ident) in self._responses
        }

    def _show_stages(self) -> None:
        """Report the number of rows of each stage, and how many exist already."""
        total = len(self._expected)
        for annotation_stage in self._annotation_stages:
            self._progress.stage(annotation_stage.name, total, self._done[annotation_stage.name])
        for scoring_stage in self._scoring_stages:
            rows = total * len(scoring_stage.scorer.metrics)
            self._progress.stage(scoring_stage.name, rows, self._done[scoring_stage.name])
        self._stages_shown = True

    # -- results of the stages -----------------------------------------------------

    def _on_response(self, response: Response, new: bool = True) -> None:
        ident = response.system, response.task, response.sample_id
        sample = self._samples[ident[1:]]
        case = Case(sample=sample, response=response, annotations={})
        known = self._open[ident] = _Known(case=case, digest=case_digest(sample, response))
        if new:
            self._logs.responses.append(row_of_response(response, self._run.path))
            self._responses[ident] = response
            if response.key in self._cacheable:
                self._reuse.store_response(response)
            self._advance(f"respond: {response.system}")
        else:
            # Annotations by unconfigured annotators still hold for an unchanged response.
            known.annotations = {
                name: self._annotations[*ident, name]
                for name in self._earlier_annotators
                if (*ident, name) in self._annotations
            }
        self._update_scoring(ident, known)
        for annotation_stage in self._annotation_stages:
            annotation_stage.add(response, sample.language)

    def _on_annotation(self, annotation: Annotation, new: bool) -> None:
        if new:
            self._logs.annotations.append(row_of_annotation(annotation))
        ident = annotation.system, annotation.task, annotation.sample_id
        self._annotations[*ident, annotation.annotator] = annotation
        self._advance(f"annotate: {annotation.annotator}")
        known = self._open[ident]
        known.annotations[annotation.annotator] = annotation
        self._update_scoring(ident, known)

    def _update_scoring(self, ident: ResponseId, known: _Known) -> None:
        case = Case(sample=known.case.sample, response=known.case.response, annotations=known.annotations)
        for scoring_stage in self._scoring_stages:
            scoring_stage.update(ident, case, known.digest)

    def _on_score(self, score: Score, new: bool) -> None:
        if new:
            self._logs.scores.append(row_of_score(score))
        self._scores[score.system, score.task, score.sample_id, score.metric] = score
        self._advance(self._stage_of[score.metric])

    def _advance(self, stage: str) -> None:
        if self._stages_shown:
            self._progress.advance(stage=stage)
        else:
            self._done[stage] += 1
