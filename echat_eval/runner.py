"""The whole flow in one folder: respond, annotate, score; the manifest says with what."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from echat_eval.annotate import annotate
from echat_eval.earlier import drop_stale_annotations, settle_earlier_scores
from echat_eval.errors import UsageError
from echat_eval.ledger import check_ledger
from echat_eval.manifest import environment
from echat_eval.respond import respond
from echat_eval.score import score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echat_eval.attempts import Patience
    from echat_eval.perform import Progress
    from echat_eval.ports import Annotator, Oracle, Scorer, System
    from echat_eval.run_folder import RunFolder
    from echat_eval.task import Task

__all__ = ["evaluate", "rescore"]


def evaluate(
    run: RunFolder,
    *,
    systems: Sequence[System | Oracle],
    tasks: Sequence[Task],
    annotators: Sequence[Annotator],
    scorers: Sequence[Scorer],
    patience: Patience,
    progress: Progress,
) -> Counter[str]:
    """Ask, hear and score; return how many scores are in each state.

    The run must be held for writing. Doing it again does only what is missing.
    """
    twice = [name for name, count in Counter(system.name for system in systems).items() if count > 1]
    if twice:
        raise UsageError(f"two systems are named '{twice[0]}'; name them apart with --system NAME=SPEC")
    manifest = run.manifest()
    manifest["environment"] = environment()
    manifest["settings"] = {"patience": asdict(patience)}
    for task in tasks:
        manifest.setdefault("tasks", {})[task.name] = {
            "version": task.version, "sha256": task.sha256, "cues": list(task.cues),
            "title": dict(task.title), "samples": len(task.samples), "languages": list(task.languages),
        }  # fmt: skip
    for system in systems:
        manifest.setdefault("systems", {})[system.name] = {
            "role": getattr(system, "role", "system"),
            "oracle": hasattr(system, "respond_to"),
            "settings": dict(system.settings()),
            "fingerprint": system.fingerprint(),
            "seed": system.settings().get("seed"),
            "calls_at_once": getattr(system, "calls_at_once", 1),
        }
    run.write_manifest(manifest)
    samples = run.keep_samples(sample for task in tasks for sample in task.samples)
    respond(run, systems, samples, patience=patience, progress=progress)
    return rescore(run, annotators=annotators, scorers=scorers, patience=patience, progress=progress)


def rescore(
    run: RunFolder,
    *,
    annotators: Sequence[Annotator],
    scorers: Sequence[Scorer],
    patience: Patience,
    progress: Progress,
) -> Counter[str]:
    """Annotate and score what was answered; return how many scores are in each state."""
    manifest = run.manifest()
    for kind, instruments in (("annotators", annotators), ("scorers", scorers)):
        for instrument in instruments:
            manifest.setdefault(kind, {})[instrument.name] = _described(instrument)
    metrics = {metric["name"]: metric for metric in manifest.get("metrics", [])}
    metrics |= {metric.name: asdict(metric) for scorer in scorers for metric in scorer.metrics}
    manifest["metrics"] = list(metrics.values())
    run.write_manifest(manifest)
    annotate(run, annotators, patience=patience, progress=progress)
    drop_stale_annotations(run, annotators)
    score(run, scorers, patience=patience, progress=progress)
    settle_earlier_scores(run, scorers)
    return check_ledger(run)


def _described(instrument: Annotator | Scorer) -> dict[str, Any]:
    return {
        "version": instrument.version,
        "settings": dict(instrument.settings()),
        "fingerprint": instrument.fingerprint(),
    }
