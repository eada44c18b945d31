"""What earlier commands left in a run folder and the present one's instruments do not cover.

A folder may be heard and scored by several commands, each with instruments of its own. Rows of an
instrument that this command does not use stay for as long as nothing they depend on has changed; those
that no longer hold are never shown as if they did. See docs/decisions/021-earlier-columns.md.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from echat_eval.io import jsonl
from echat_eval.io.hashing import KEY_VERSION
from echat_eval.records import AudioRef, Score
from echat_eval.store import serialize
from echat_eval.store.cases import cases_of
from echat_eval.store.keys import annotation_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from echat_eval.ports import Annotator, Case, Scorer
    from echat_eval.records import Annotation, Response
    from echat_eval.store.run_folder import RunFolder

__all__ = ["drop_stale_annotations", "invalidate_stale_scores"]

#: "system task" -> its cases, each with what was said in it.
Places = dict[str, list[tuple["Case", str]]]
#: Stands where a key would: the scorer itself, once it is configured, makes such a row again.
NOT_CONFIGURED = "not configured"


def drop_stale_annotations(run: RunFolder, annotators: Sequence[Annotator]) -> None:
    """Drop what an annotator of an earlier command heard in a reply that has since become another.

    It is called before scoring: a judge must not be told the emotion of a voice that is no longer there.
    """
    present = {annotator.name for annotator in annotators}
    facts, responses = run.manifest().get("annotators", {}), run.responses()
    language = {(s.task, s.id): s.language for s in run.samples()}
    found = list(run.annotations().values())
    kept = [
        a
        for a in found
        if a.annotator in present
        or _still_heard(
            a, facts.get(a.annotator), responses[a.system, a.task, a.sample_id], language[a.task, a.sample_id]
        )
    ]
    if len(kept) < len(found):
        jsonl.write_rows(run.path / "annotations.jsonl", map(serialize.row_of_annotation, kept))


def _still_heard(
    annotation: Annotation, facts: Mapping[str, Any] | None, response: Response, language: str
) -> bool:
    if annotation.state != "value":
        return True  # nothing was heard, so nothing wrong was
    audio = response.reply.audio if response.reply is not None else None
    if facts is None or not isinstance(audio, AudioRef):
        return False
    return annotation.key == annotation_key(
        annotation.annotator, facts["version"], facts["settings"], facts["fingerprint"], audio, language
    )


def invalidate_stale_scores(run: RunFolder, scorers: Sequence[Scorer]) -> None:
    """Note on what this command's scores rest, and settle those of scorers that it does not use.

    A scorer of an earlier command keeps its scores of a system and task while responses and annotations
    are those it saw; all others are *not applicable*, for that scorer is not configured. A metric that no
    scorer has any more, as after another rubric, goes with its rows.
    """
    manifest = run.manifest()
    known: dict[str, dict[str, Any]] = manifest.get("scorers", {})
    places = _by_place(cases_of(run))
    present = {scorer.name: scorer for scorer in scorers}
    for name, scorer in present.items():
        known[name] |= {
            "metrics": [metric.name for metric in scorer.metrics],
            "needs": list(scorer.needs),
            "basis": _basis(places, scorer.needs),
        }
    for name, facts in known.items():
        facts["earlier"] = name not in present
    owned = {metric for facts in known.values() for metric in facts.get("metrics", ())}
    if all("metrics" in facts for facts in known.values()):
        manifest["metrics"] = [m for m in manifest.get("metrics", []) if m["name"] in owned]
    run.write_manifest(manifest)
    shown = {metric["name"] for metric in manifest.get("metrics", [])}
    before = run.scores()
    after = {ident: score for ident, score in before.items() if ident[3] in shown}
    for name, facts in known.items():
        if facts["earlier"]:
            after |= {ident: score for ident, score in _settled(name, facts, places) if ident[3] in shown}
    if after != before:
        order = {ident: n for n, ident in enumerate(run.responses())}
        ordered = sorted(after.values(), key=lambda s: (order[s.system, s.task, s.sample_id], s.metric))
        jsonl.write_rows(run.path / "scores.jsonl", map(serialize.row_of_score, ordered))


def _settled(
    name: str, facts: Mapping[str, Any], places: Places
) -> Iterable[tuple[tuple[str, str, str, str], Score]]:
    """Yield a score that is not applicable for every response on which an earlier scorer's do not rest."""
    now = _basis(places, facts.get("needs", ()))
    reason = f"'{name}' did not score this reply, and was not configured in the last command"
    for place, its in places.items():
        if now[place] == facts.get("basis", {}).get(place):
            continue
        for case, _ in its:
            for metric in facts.get("metrics", ()):
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


def _by_place(cases: Iterable[Case]) -> Places:
    """Return the cases of each system and task, each with its hash: no score depends on another place's."""
    places: Places = {}
    for case in cases:
        place = f"{case.response.system} {case.sample.task}"
        places.setdefault(place, []).append((case, _said(case)))
    return places


def _said(case: Case) -> str:
    """Return all that a scorer can see of a case but its annotations; a path is no part of it.

    The text itself rather than its hash: this is made of every case of every command, also where there is
    nothing to do.
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


def _basis(places: Places, needs: Sequence[str]) -> dict[str, str]:
    """Return place -> hash of all that a scorer with these needs can see there."""
    made = {}
    for place, its in places.items():
        whole = hashlib.sha256(repr(KEY_VERSION).encode())
        for case, said in its:
            heard = sorted((n, a.key) for n, a in case.annotations.items() if n in needs)
            whole.update(f"{said} {heard}\n".encode(errors="surrogatepass"))
        made[place] = whole.hexdigest()
    return made
