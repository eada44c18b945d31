"""Rows of earlier commands whose instruments the current command does not use.

Several commands may annotate and score one folder, each with its own instruments. Rows of an instrument
that the current command does not use stay while nothing they depend on has changed. Stale rows are never
shown. See docs/decisions/008-scores-of-earlier-commands.md.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from echat_eval.io import jsonl
from echat_eval.io.hashing import KEY_VERSION, sha256_of
from echat_eval.records import AudioRef, Score
from echat_eval.store import serialize
from echat_eval.store.cases import cases_of
from echat_eval.store.keys import annotation_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from echat_eval.ports import Annotator, Case, Scorer
    from echat_eval.records import Annotation, Response
    from echat_eval.store.manifest import AnnotatorFacts, ScorerFacts
    from echat_eval.store.run_folder import RunFolder

__all__ = ["drop_stale_annotations", "invalidate_stale_scores"]

#: "system task" -> its cases, each with the facts that a scorer can see.
Slices = dict[str, list[tuple["Case", str]]]
#: Key of a row whose scorer is not configured. It matches no real key, so the scorer replaces the row.
NOT_CONFIGURED = "not configured"


def drop_stale_annotations(run: RunFolder, annotators: Sequence[Annotator]) -> None:
    """Drop annotations by unconfigured annotators whose reply has changed since.

    Call it before scoring: a judge must not see the emotion of a voice that was replaced.
    """
    configured = {annotator.name for annotator in annotators}
    facts, responses = run.manifest().annotators, run.responses()
    language = {(s.task, s.id): s.language for s in run.samples()}
    annotations = list(run.annotations().values())
    kept = [
        a
        for a in annotations
        if a.annotator in configured
        or _is_current(
            a, facts.get(a.annotator), responses[a.system, a.task, a.sample_id], language[a.task, a.sample_id]
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
    """Record what the current scores depend on, and invalidate stale scores of unconfigured scorers.

    An unconfigured scorer keeps its scores of a system and task while the responses and annotations are
    those it scored. Otherwise they become *not applicable*. A metric that no scorer has any more, as after
    a change of rubric, is removed with its rows.
    """
    manifest = run.manifest()
    slices = _slices_of(cases_of(run))
    known = {name: replace(facts, earlier=True) for name, facts in manifest.scorers.items()}
    for scorer in scorers:
        known[scorer.name] = replace(
            known[scorer.name],
            metrics=tuple(metric.name for metric in scorer.metrics),
            needs=tuple(scorer.needs),
            basis=_basis(slices, scorer.needs),
            earlier=False,
        )
    metrics = manifest.metrics
    if all(facts.metrics is not None for facts in known.values()):
        owned = {name for facts in known.values() for name in facts.metrics or ()}
        metrics = tuple(metric for metric in metrics if metric.name in owned)
    run.write_manifest(replace(manifest, scorers=known, metrics=metrics))
    shown = {metric.name for metric in metrics}
    before = run.scores()
    after = {ident: score for ident, score in before.items() if ident[3] in shown}
    for name, facts in known.items():
        if facts.earlier:
            after |= {
                ident: score for ident, score in _stale_scores(name, facts, slices) if ident[3] in shown
            }
    if after != before:
        order = {ident: n for n, ident in enumerate(run.responses())}
        ordered = sorted(after.values(), key=lambda s: (order[s.system, s.task, s.sample_id], s.metric))
        jsonl.write_rows(run.path / "scores.jsonl", map(serialize.row_of_score, ordered))


def _stale_scores(
    name: str, facts: ScorerFacts, slices: Slices
) -> Iterable[tuple[tuple[str, str, str, str], Score]]:
    """Yield a *not applicable* score for every response whose basis differs from the scorer's."""
    now = _basis(slices, facts.needs)
    reason = f"'{name}' did not score this reply, and was not configured in the last command"
    for slice_name, cases in slices.items():
        if now[slice_name] == (facts.basis or {}).get(slice_name):
            continue
        for case, _ in cases:
            for metric in facts.metrics or ():
                score = Score(
                    key=NOT_CONFIGURED,
                    system=case.response.system,
                    task=case.sample.task,
                    sample_id=case.sample.id,
                    metric=metric,
                    state="not applicable",
                    reason=reason,
                )
                yield (score.system, score.task, score.sample_id, metric), score


def _slices_of(cases: Iterable[Case]) -> Slices:
    """Return the cases by system and task. A score depends on no other slice."""
    slices: Slices = {}
    for case in cases:
        slice_name = f"{case.response.system} {case.sample.task}"
        slices.setdefault(slice_name, []).append((case, _visible_facts(case)))
    return slices


def _visible_facts(case: Case) -> str:
    """Return all that a scorer can see of a case, except annotations and paths.

    Returns the text, not its hash: every command does this for every case, even if nothing is to be done.
    """
    sample, response, reply = case.sample, case.response, case.response.reply
    facts = [
        response.key,
        response.state,
        response.reason,
        response.seconds,
        sample.id,
        sample.audio.sha256,
        sample.transcript,
        sorted(sample.cues.items()),
        sample.language,
        sample.contrast_group,
        sample.references,
        sample.asks,
    ]
    if reply is not None:
        audio = reply.audio.sha256 if isinstance(reply.audio, AudioRef) else None
        facts += [reply.text, audio, reply.think, sorted(reply.perceived.items()), reply.reply_emotion]
        facts += [reply.first_audio_seconds, reply.finish_reason, repr(sorted(reply.usage.items()))]
    return repr(facts)


def _basis(slices: Slices, needs: Sequence[str]) -> dict[str, str]:
    """Return slice -> hash of all that a scorer with these needs can see in it."""
    basis = {}
    for slice_name, cases in slices.items():
        lines = [repr(KEY_VERSION)]
        for case, facts in cases:
            annotation_keys = sorted((n, a.key) for n, a in case.annotations.items() if n in needs)
            lines.append(f"{facts} {annotation_keys}\n")
        basis[slice_name] = sha256_of(line.encode(errors="surrogatepass") for line in lines)
    return basis
