"""Stage 3: turn replies and annotations into scores, one row per response and metric."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from echat_eval import jsonl, rows
from echat_eval.attempts import Patience, attempt
from echat_eval.keys import case_digest, score_key
from echat_eval.perform import Job, Progress, opened, perform
from echat_eval.ports import Case
from echat_eval.records import Score

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from echat_eval.ports import Scorer
    from echat_eval.records import Annotation, Metric
    from echat_eval.run_folder import RunFolder

__all__ = ["cases_of", "score"]


def score(run: RunFolder, scorers: Sequence[Scorer], *, patience: Patience, progress: Progress) -> None:
    """Score every response by every scorer; one row per response and metric."""
    cases = cases_of(run)
    digests = {id(case): case_digest(case.sample, case.response) for case in cases}
    for scorer in scorers:
        known = run.scores()
        identity = {
            "name": scorer.name,
            "version": scorer.version,
            "settings": scorer.settings(),
            "fingerprint": scorer.fingerprint(),
        }
        jobs, done = [], 0
        for scope in _scopes(cases, scorer.scope):
            blanks = _blank_scores(scope, scorer, identity, digests)
            fresh = [
                (have := known.get((b.system, b.task, b.sample_id, b.metric))) is not None
                and have.key == b.key and have.state != "missing"
                for b in blanks
            ]  # fmt: skip
            if all(fresh):
                done += len(blanks)
            else:
                jobs.append(_score_job(scorer, scope, blanks, patience))
        progress.stage(f"score: {scorer.name}", len(cases) * len(scorer.metrics), done)
        if jobs:
            with opened(scorer), jsonl.Appender(run.path / "scores.jsonl") as appender:
                perform(
                    jobs, workers=getattr(scorer, "calls_at_once", 1), appender=appender, progress=progress
                )
    _compact_scores(run)


def cases_of(run: RunFolder) -> list[Case]:
    """Return all that is known of every response of a run, as scorers get it."""
    samples = {(s.task, s.id): s for s in run.samples()}
    heard: dict[tuple[str, str, str], dict[str, Annotation]] = {}
    for annotation in run.annotations().values():
        heard.setdefault((annotation.system, annotation.task, annotation.sample_id), {})[
            annotation.annotator
        ] = annotation
    return [
        Case(
            sample=samples[task, sample_id],
            response=response,
            annotations=heard.get((system, task, sample_id), {}),
        )
        for (system, task, sample_id), response in run.responses().items()
    ]


def _scopes(cases: Sequence[Case], scope: str) -> list[list[Case]]:
    """Return the cases a scorer must see together, each case in exactly one scope."""
    if scope == "sample":
        return [[case] for case in cases]
    groups: dict[tuple[str, ...], list[Case]] = {}
    for case in cases:
        system, sample = case.response.system, case.sample
        alone = sample.contrast_group is None
        groups.setdefault(
            (
                system,
                sample.task,
                "alone" if alone else "group",
                sample.id if alone else str(sample.contrast_group),
            ),
            [],
        ).append(case)
    return list(groups.values())


def _blank_scores(
    scope: Sequence[Case], scorer: Scorer, identity: Mapping[str, Any], digests: Mapping[int, str]
) -> list[Score]:
    facts = [
        [digests[id(case)], {n: a.key for n, a in case.annotations.items() if n in scorer.needs}]
        for case in scope
    ]
    return [
        Score(
            key=score_key(identity, metric.name, facts, case.sample.id),
            system=case.response.system, task=case.sample.task, sample_id=case.sample.id,
            metric=metric.name, state="missing",
        )
        for case in scope
        for metric in scorer.metrics
    ]  # fmt: skip


def _score_job(scorer: Scorer, scope: Sequence[Case], blanks: list[Score], patience: Patience) -> Job[Any]:
    def call() -> list[Score]:
        family = "dialogue" if scope[0].sample.asks is None else "understanding"
        if family not in getattr(scorer, "families", ("dialogue",)):
            reason = f"this is no metric of {family} tasks"
            return [replace(blank, state="not applicable", reason=reason) for blank in blanks]
        outcome = attempt(lambda: list(scorer.score(scope)), blame="instrument", patience=patience)
        if outcome.value is None:
            state = outcome.state if outcome.state == "not applicable" else "missing"
            return [replace(blank, state=state, reason=outcome.reason) for blank in blanks]
        found = {(s.sample_id, s.metric): s for s in outcome.value}
        return [replace(_checked(found, blank, scorer.metrics), key=blank.key) for blank in blanks]

    return Job(call=call, rows=lambda done: (rows.row_of_score(s) for s in done))


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


def _compact_scores(run: RunFolder) -> None:
    order = {ident: n for n, ident in enumerate(run.responses())}
    kept = [s for s in run.scores().values() if (s.system, s.task, s.sample_id) in order]
    kept.sort(key=lambda s: (order[s.system, s.task, s.sample_id], s.metric))
    jsonl.write_rows(run.path / "scores.jsonl", map(rows.row_of_score, kept))
