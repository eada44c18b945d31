"""Rows of earlier commands whose instruments the current command does not use.

Several commands may annotate and score one folder, each with its own instruments. Rows of an instrument
that the current command does not use stay while nothing they depend on has changed. Stale rows are never
shown. See docs/decisions/008-scores-of-earlier-commands.md.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from echat_eval.io import jsonl
from echat_eval.records import AudioRef
from echat_eval.runner.score import scope_of
from echat_eval.store import serialize
from echat_eval.store.cases import cases_of, visible_to
from echat_eval.store.keys import annotation_key, case_digest, score_keys
from echat_eval.store.repeats import split_repeat

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from echat_eval.ports import Annotator, Case, Scorer
    from echat_eval.records import Annotation, Metric, Response, Score
    from echat_eval.store.manifest import AnnotatorFacts, ScorerFacts
    from echat_eval.store.run_folder import RunFolder, ScoreId

__all__ = ["drop_stale_annotations", "invalidate_stale_scores"]

#: The cases of one system and task, each with its `case_digest`.
Slice = list[tuple["Case", str]]
#: Scopes of scorers.
SCOPES = ("sample", "contrast group")
#: Key of a row whose scorer is not configured. It matches no real key, so the scorer replaces the row.
NOT_CONFIGURED = "not configured"


def drop_stale_annotations(run: RunFolder, annotators: Sequence[Annotator]) -> None:
    """Drop annotations by unconfigured annotators whose reply has changed since.

    Call it before scoring: a judge must not see the emotion of a voice that was replaced.
    """
    configured = {annotator.name for annotator in annotators}
    facts, responses = run.manifest().annotators, run.every_response()
    language = {(s.task, s.id): s.language for s in run.samples()}
    annotations = list(run.every_annotation().values())
    kept = [
        a
        for a in annotations
        if a.annotator in configured
        or _is_current(
            a,
            facts.get(a.annotator),
            responses[a.system, a.task, a.sample_id],
            language[a.task, split_repeat(a.sample_id)[0]],
        )
    ]
    if len(kept) < len(annotations):
        jsonl.write_rows(run.path / "annotations.jsonl", map(serialize.row_of_annotation, kept))


def _is_current(
    annotation: Annotation, facts: AnnotatorFacts | None, response: Response, language: str
) -> bool:
    if annotation.state != "value":
        return True  # it holds no values that could be stale
    audio = response.reply.audio if response.reply is not None else None
    if facts is None or not isinstance(audio, AudioRef):
        return False
    return annotation.key == annotation_key(
        annotation.annotator, facts.version, facts.settings, facts.fingerprint, audio, language
    )


def invalidate_stale_scores(run: RunFolder, scorers: Sequence[Scorer]) -> None:
    """Mark the scorers that the command did not configure, and invalidate their stale scores.

    An unconfigured scorer keeps its scores of a system and task while their keys are those of the responses
    and annotations there. Otherwise they become *not applicable*. A metric that no scorer has any more, as
    after a change of rubric, is removed with its rows.
    """
    manifest = run.manifest()
    configured = {scorer.name for scorer in scorers}
    known = {name: replace(facts, earlier=name not in configured) for name, facts in manifest.scorers.items()}
    metrics = manifest.metrics
    if all(facts.metrics is not None for facts in known.values()):
        owned = {name for facts in known.values() for name in facts.metrics or ()}
        metrics = tuple(metric for metric in metrics if metric.name in owned)
    run.write_manifest(replace(manifest, scorers=known, metrics=metrics))
    shown = {metric.name: metric for metric in metrics}
    before = run.every_score()
    after = {ident: score for ident, score in before.items() if ident[3] in shown}
    earlier = {name: facts for name, facts in known.items() if facts.earlier}
    slices = _slices_of(cases_of(run, every_repeat=True)) if earlier else []
    for name, facts in earlier.items():
        for cases in slices:
            if not _are_current(name, facts, cases, before):
                own = [shown[metric] for metric in facts.metrics or () if metric in shown]
                after |= _not_scored(name, own, cases)
    if after != before:
        order = {ident: n for n, ident in enumerate(run.every_response())}
        ordered = sorted(after.values(), key=lambda s: (order[s.system, s.task, s.sample_id], s.metric))
        jsonl.write_rows(run.path / "scores.jsonl", map(serialize.row_of_score, ordered))


def _slices_of(cases: Iterable[Case]) -> list[Slice]:
    """Return the cases by system and task. A score depends on no other slice."""
    slices: dict[tuple[str, str], Slice] = {}
    for case in cases:
        digest = case_digest(case.sample, case.response)
        slices.setdefault((case.response.system, case.sample.task), []).append((case, digest))
    return list(slices.values())


def _are_current(name: str, facts: ScorerFacts, cases: Slice, scores: Mapping[ScoreId, Score]) -> bool:
    """Return whether all scores by a scorer belong to these cases.

    The scorer's scope is not recorded. A key of either scope shows what the score was computed from.
    """
    (first, _), *_ = cases
    system, task = first.response.system, first.sample.task

    def stored(sample_id: str, metric: str) -> str | None:
        score = scores.get((system, task, sample_id, metric))
        return None if score is None else score.key

    return any(
        all(stored(*row) == key for row, key in _keys(name, facts, cases, scope).items()) for scope in SCOPES
    )


def _keys(name: str, facts: ScorerFacts, cases: Slice, scope: str) -> dict[tuple[str, str], str]:
    """Return (sample id, metric) -> key that a scorer's scores of these cases have."""
    scopes: dict[tuple[str, ...], Slice] = {}
    for case, digest in cases:
        ident = case.response.system, case.sample.task, case.sample.id
        members = scopes.setdefault(scope_of(ident, case.sample, scope), [])
        members.append((visible_to(facts.needs, case), digest))
    keys: dict[tuple[str, str], str] = {}
    for members in scopes.values():
        keys |= score_keys(name, facts, facts.metrics or (), members)
    return keys


def _not_scored(name: str, metrics: Sequence[Metric], cases: Slice) -> dict[ScoreId, Score]:
    """Return a *not applicable* score of every case under every metric of a scorer."""
    reason = f"'{name}' did not score this reply, and was not configured in the last command"
    scores = [
        replace(case.score(metric, "not applicable", reason=reason), key=NOT_CONFIGURED)
        for case, _ in cases
        for metric in metrics
    ]
    return {(score.system, score.task, score.sample_id, score.metric): score for score in scores}
