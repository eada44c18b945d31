"""Stage 3: turn replies and annotations into scores, one row per response and metric."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from echat_eval.concurrency.retry import RetryPolicy, Timed, call_with_retries, timed
from echat_eval.ports import Case
from echat_eval.records import Score
from echat_eval.store.keys import score_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from echat_eval.concurrency.work_queue import Workflow
    from echat_eval.ports import Scorer
    from echat_eval.records import Metric, Sample
    from echat_eval.store.run_folder import ResponseId, ScoreId

__all__ = ["ScoringStage", "scope_of"]

Scope = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """Cases that are scored together, and their rows, still without a value."""

    cases: Sequence[Case]
    blanks: Sequence[Score]


class ScoringStage:
    """Lets one scorer score, and tells every score.

    A scope (one case, or the cases of a contrast group) is scored as soon as all its responses are there
    and have been heard by the annotators that the scorer needs.

    Args:
        expected: every response there will be, with its sample, in order.
        heard_by: names of the annotators that will hear them in this run.
        known: scores of earlier commands.
        told: called with every score, and whether it is new.
    """

    def __init__(
        self,
        scorer: Scorer,
        *,
        flow: Workflow,
        expected: Mapping[ResponseId, Sample],
        heard_by: Iterable[str],
        known: Mapping[ScoreId, Score],
        retry_policy: RetryPolicy,
        told: Callable[[Score, bool], None],
        held: bool,
    ) -> None:
        self.scorer: Any = scorer
        self.name = f"score: {scorer.name}"
        self._known, self._patience, self._told = known, retry_policy, told
        self._identity = {
            "name": scorer.name,
            "version": scorer.version,
            "settings": scorer.settings(),
            "fingerprint": scorer.fingerprint(),
        }
        self._awaited = set(scorer.needs) & set(heard_by)
        self._members: dict[Scope, list[ResponseId]] = {}
        for ident, sample in expected.items():
            self._members.setdefault(scope_of(ident, sample, scorer.scope), []).append(ident)
        self._lacking = Counter({scope: len(members) for scope, members in self._members.items()})
        self._ready: dict[ResponseId, tuple[Case, str]] = {}
        self.lane = flow.lane(scorer, self._score, held=held)

    def grew(self, ident: ResponseId, case: Case, digest: str) -> None:
        """Take note that a response came, or one more annotation of it.

        Args:
            digest: of the case without its annotations (`keys.case_digest`).
        """
        if ident in self._ready or not self._awaited <= case.annotations.keys():
            return
        # A scorer sees what it says it needs, so that nothing else can change a score.
        needed = {name: case.annotations[name] for name in self.scorer.needs if name in case.annotations}
        self._ready[ident] = replace(case, annotations=needed), digest
        scope = scope_of(ident, case.sample, self.scorer.scope)
        self._lacking[scope] -= 1
        if self._lacking[scope] == 0:
            self._complete([self._ready[member] for member in self._members.pop(scope)])

    def _complete(self, found: list[tuple[Case, str]]) -> None:
        cases = [case for case, _ in found]
        facts = [[digest, {n: a.key for n, a in case.annotations.items()}] for case, digest in found]
        blanks = self._blanks(cases, facts)
        have = [self._known.get((b.system, b.task, b.sample_id, b.metric)) for b in blanks]
        if all(
            old is not None and old.key == blank.key and old.state != "missing"
            for old, blank in zip(have, blanks, strict=True)
        ):
            for old in have:
                assert old is not None
                self._told(old, False)
        else:
            self.lane.put(Judging(cases=cases, blanks=blanks))

    def _blanks(self, cases: Sequence[Case], facts: list[Any]) -> list[Score]:
        return [
            Score(
                key=score_key(self._identity, metric.name, facts, case.sample.id),
                system=case.response.system,
                task=case.sample.task,
                sample_id=case.sample.id,
                metric=metric.name,
                state="missing",
            )
            for case in cases
            for metric in self.scorer.metrics
        ]

    async def _score(self, batch: list[Judging]) -> None:
        for judging in batch:
            for score in await self._scored(judging):
                self._told(score, True)

    async def _scored(self, judging: Judging) -> list[Score]:
        family = "dialogue" if judging.cases[0].sample.asks is None else "understanding"
        if family not in getattr(self.scorer, "families", ("dialogue",)):
            reason = f"this is no metric of {family} tasks"
            return [replace(blank, state="not applicable", reason=reason) for blank in judging.blanks]

        async def call() -> Timed[list[Score]]:
            done = await timed(self.scorer.score, judging.cases, threads=self.lane.threads)
            return Timed(value=list(done.value), seconds=done.seconds)

        outcome = await call_with_retries(call, blame="instrument", retry_policy=self._patience)
        if outcome.value is None:
            state = outcome.state if outcome.state == "not applicable" else "missing"
            return [replace(blank, state=state, reason=outcome.reason) for blank in judging.blanks]
        found = {(s.sample_id, s.metric): s for s in outcome.value}
        return [
            replace(_checked(found, blank, self.scorer.metrics), key=blank.key) for blank in judging.blanks
        ]


def scope_of(ident: ResponseId, sample: Sample, scope: str) -> Scope:
    """Return the name of the scope a case is in; each case is in exactly one."""
    if scope == "sample":
        return ident
    system, task, sample_id = ident
    if sample.contrast_group is None:
        return system, task, "alone", sample_id
    return system, task, "group", sample.contrast_group


def _checked(found: Mapping[tuple[str, str], Score], blank: Score, metrics: Sequence[Metric]) -> Score:
    """Return the score a scorer gave for this row, or say that it gave none or one out of range."""
    score = found.get((blank.sample_id, blank.metric))
    if score is None:
        return replace(blank, reason="the scorer gave no score for this row")
    metric = next(m for m in metrics if m.name == blank.metric)
    value = score.value
    inside = (
        value is not None
        and (metric.low is None or value >= metric.low)
        and (metric.high is None or value <= metric.high)
    )
    if score.state == "value" and not inside:
        return replace(blank, reason=f"the scorer gave {value}, outside {metric.low} to {metric.high}")
    return score
