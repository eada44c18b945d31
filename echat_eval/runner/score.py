"""Stage 3: turn replies and annotations into scores, one row per response and metric."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from echat_eval.concurrency.retry import RetryPolicy, Timed, call_with_retries, timed
from echat_eval.io.schema import is_number
from echat_eval.ports import Case, families_of, family_of
from echat_eval.records import Score
from echat_eval.runner.queues import queue_for
from echat_eval.store.cases import visible_to
from echat_eval.store.keys import score_keys
from echat_eval.store.manifest import ScorerFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from echat_eval.concurrency.work_queue import Workflow
    from echat_eval.ports import Scorer
    from echat_eval.records import Metric, Sample
    from echat_eval.store.run_folder import ResponseId, ScoreId

__all__ = ["ScoringStage", "scope_of"]

Scope = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringJob:
    """Cases that are scored together, and their rows without values."""

    cases: Sequence[Case]
    pending: Sequence[Score]


class ScoringStage:
    """Runs one scorer and reports every score.

    A scope (one case, or the cases of a contrast group) is scored as soon as it has all its responses and
    their annotations by the annotators that the scorer needs.

    Args:
        expected: every response of the finished run, with its sample, in order.
        annotator_names: annotators of this run.
        known: scores of earlier commands.
        on_result: called with every score, and whether it is new.
        held: start only once the queue is released.
    """

    def __init__(
        self,
        scorer: Scorer,
        *,
        workflow: Workflow,
        expected: Mapping[ResponseId, Sample],
        annotator_names: Iterable[str],
        known: Mapping[ScoreId, Score],
        retry_policy: RetryPolicy,
        on_result: Callable[[Score, bool], None],
        held: bool,
    ) -> None:
        self.scorer = scorer
        self.name = f"score: {scorer.name}"
        self._known, self._retry_policy, self._on_result = known, retry_policy, on_result
        self._facts, self._families = ScorerFacts.of(scorer), families_of(scorer)
        self._awaited = set(scorer.needs) & set(annotator_names)
        self._members: dict[Scope, list[ResponseId]] = {}
        for ident, sample in expected.items():
            self._members.setdefault(scope_of(ident, sample, scorer.scope), []).append(ident)
        self._outstanding = Counter({scope: len(members) for scope, members in self._members.items()})
        self._ready: dict[ResponseId, tuple[Case, str]] = {}
        self.queue = queue_for(workflow, scorer, self._score, held=held)

    def update(self, ident: ResponseId, case: Case, digest: str) -> None:
        """Take in a new response, or a new annotation of it.

        Args:
            digest: of the case without its annotations (`keys.case_digest`).
        """
        if ident in self._ready or not self._awaited <= case.annotations.keys():
            return
        self._ready[ident] = visible_to(self.scorer.needs, case), digest
        scope = scope_of(ident, case.sample, self.scorer.scope)
        self._outstanding[scope] -= 1
        if self._outstanding[scope] == 0:
            self._complete([self._ready[member] for member in self._members.pop(scope)])

    def _complete(self, members: list[tuple[Case, str]]) -> None:
        metrics = self.scorer.metrics
        keys = score_keys(self.scorer.name, self._facts, [metric.name for metric in metrics], members)
        known = [score for case, _ in members for score in self._known_scores(case, keys)]
        if len(known) == len(members) * len(metrics):
            for score in known:
                self._on_result(score, False)
            return
        pending = [
            replace(case.score(metric, "missing"), key=keys[case.sample.id, metric.name])
            for case, _ in members
            for metric in metrics
        ]
        self.queue.put(ScoringJob(cases=[case for case, _ in members], pending=pending))

    def _known_scores(self, case: Case, keys: Mapping[tuple[str, str], str]) -> Iterator[Score]:
        """Yield the scores of earlier commands that still hold."""
        response = case.response
        for metric in self.scorer.metrics:
            score = self._known.get((response.system, case.sample.task, case.sample.id, metric.name))
            key = keys[case.sample.id, metric.name]
            if score is not None and score.key == key and score.state != "missing":
                yield score

    async def _score(self, batch: list[ScoringJob]) -> None:
        for job in batch:
            for score in await self._scores_of(job):
                self._on_result(score, True)

    async def _scores_of(self, job: ScoringJob) -> list[Score]:
        family = family_of(job.cases[0].sample)
        if family not in self._families:
            reason = f"this metric does not apply to {family} tasks"
            return [replace(row, state="not applicable", reason=reason) for row in job.pending]

        score = partial(self.scorer.score, job.cases)

        async def call() -> Timed[list[Score]]:
            done = await timed(score, threads=self.queue.threads)
            return Timed(value=_only_scores(done.value), seconds=done.seconds)

        outcome = await call_with_retries(call, blame="instrument", retry_policy=self._retry_policy)
        if outcome.value is None:
            state = outcome.state if outcome.state == "not applicable" else "missing"
            return [replace(row, state=state, reason=outcome.reason) for row in job.pending]
        scores = {(s.sample_id, s.metric): s for s in outcome.value}
        return [replace(_checked(scores, row, self.scorer.metrics), key=row.key) for row in job.pending]


def scope_of(ident: ResponseId, sample: Sample, scope: str) -> Scope:
    """Return the name of the scope of a case. Each case is in exactly one scope."""
    if scope == "sample":
        return ident
    system, task, sample_id = ident
    if sample.contrast_group is None:
        return system, task, "alone", sample_id
    return system, task, "group", sample.contrast_group


def _only_scores(returned: object) -> list[Score]:
    """Return what a scorer returned; raises TypeError if that is no sequence of scores."""
    if not isinstance(returned, list | tuple) or not all(isinstance(score, Score) for score in returned):
        raise TypeError(f"the scorer returned a {type(returned).__name__} that is no list of Score")
    return list(returned)


def _checked(scores: Mapping[tuple[str, str], Score], pending: Score, metrics: Sequence[Metric]) -> Score:
    """Return the score of a row, or a missing row with the reason if there is none or it is out of range."""
    score = scores.get((pending.sample_id, pending.metric))
    if score is None:
        return replace(pending, reason="the scorer returned no score for this row")
    metric = next(m for m in metrics if m.name == pending.metric)
    value = score.value
    in_range = (
        is_number(value)
        and value is not None
        and (metric.low is None or value >= metric.low)
        and (metric.high is None or value <= metric.high)
    )
    if score.state == "value" and not in_range:
        return replace(pending, reason=f"the scorer returned {value!r}; expected {_range_of(metric)}")
    return score


def _range_of(metric: Metric) -> str:
    """Return the numbers that a metric allows, in words."""
    if metric.low is None and metric.high is None:
        return "a finite number"
    if metric.high is None:
        return f"a number from {metric.low:g}"
    return f"a number up to {metric.high:g}" if metric.low is None else f"{metric.low:g} to {metric.high:g}"
