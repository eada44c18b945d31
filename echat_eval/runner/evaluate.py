"""The whole flow in one folder: respond, annotate, score; the manifest says with what."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from echat_eval.concurrency import event_loop
from echat_eval.concurrency.retry import Interrupted
from echat_eval.errors import UsageError
from echat_eval.runner.carry_over import drop_stale_annotations, invalidate_stale_scores
from echat_eval.runner.pipeline import Pipeline
from echat_eval.store.environment import environment
from echat_eval.store.ledger import check_ledger, refuse_unfinished
from echat_eval.store.reuse import ReuseIndex, add_tally

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set

    from echat_eval.concurrency.retry import RetryPolicy
    from echat_eval.ports import Annotator, Oracle, Progress, Scorer, System
    from echat_eval.store.cache import Cache
    from echat_eval.store.run_folder import RunFolder
    from echat_eval.task import Task

__all__ = ["evaluate", "rescore"]

#: Systems and annotators run in this process.
LOCAL: Mapping[str, Any] = {"name": "local"}


def evaluate(
    run: RunFolder,
    *,
    systems: Sequence[System | Oracle],
    tasks: Sequence[Task],
    annotators: Sequence[Annotator],
    scorers: Sequence[Scorer],
    retry_policy: RetryPolicy,
    progress: Progress,
    cache: Cache | None = None,
    overlap: bool = True,
    executor: Mapping[str, Any] | None = None,
) -> Counter[str]:
    """Ask, hear and score; return how many scores are in each state.

    The run must be held for writing. Doing it again does only what is missing.

    Args:
        cache: what other runs found out; None: nothing is taken from them or left to others.
        overlap: hear and score replies while others are still being asked for; without it nothing runs
            beside a system, so that its seconds are its own.
        executor: where systems and annotators run, for the manifest; no key depends on it.
    """
    twice = [name for name, count in Counter(system.name for system in systems).items() if count > 1]
    if twice:
        raise UsageError(f"two systems are named '{twice[0]}'; name them apart with --system NAME=SPEC")
    _check_fit(run, {system.name for system in systems}, tasks)
    manifest = run.manifest()
    manifest["environment"] = environment()
    manifest["settings"] = {
        "retry_policy": asdict(retry_policy),
        "overlap": overlap,
        "executor": dict(executor or LOCAL),
    }
    for task in tasks:
        manifest.setdefault("tasks", {})[task.name] = {
            "version": task.version,
            "sha256": task.sha256,
            "cues": list(task.cues),
            "title": dict(task.title),
            "samples": len(task.samples),
            "languages": list(task.languages),
        }
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
    return _do(
        run,
        systems=systems,
        samples=samples,
        annotators=annotators,
        scorers=scorers,
        retry_policy=retry_policy,
        progress=progress,
        cache=cache,
        overlap=overlap,
    )


def _check_fit(run: RunFolder, systems: Set[str], tasks: Sequence[Task]) -> None:
    """Refuse a command that would drop replies of this run, or leave a system with part of a task.

    Raises:
        UsageError: the run holds replies to other samples of a task than those that the command names.
    """
    answered: dict[tuple[str, str], set[str]] = {}
    for system, task, sample_id in run.responses():
        answered.setdefault((system, task), set()).add(sample_id)
    for (system, name), answers in answered.items():
        named = {sample.id for task in tasks if task.name == name for sample in task.samples}
        if not named:
            continue
        if dropped := answers - named:
            raise UsageError(
                f"{run.path}: holds {len(answers)} replies of '{system}' to '{name}', and this command "
                f"leaves {len(dropped)} of those samples out, which would delete them; choose another "
                "--out, or ask for all of them (--limit, --language, --data)"
            )
        if system not in systems and answers != named:
            raise UsageError(
                f"{run.path}: '{system}' has answered {len(answers)} of the {len(named)} samples of '{name}' "
                f"that this command asks for; choose another --out, or name it as well: --system {system}"
            )


def rescore(
    run: RunFolder,
    *,
    annotators: Sequence[Annotator],
    scorers: Sequence[Scorer],
    retry_policy: RetryPolicy,
    progress: Progress,
    cache: Cache | None = None,
) -> Counter[str]:
    """Annotate and score what was answered; return how many scores are in each state.

    Raises:
        BadData: a system has answered only part of a task: the run was broken off.
    """
    refuse_unfinished(run)
    return _do(
        run,
        systems=(),
        samples=(),
        annotators=annotators,
        scorers=scorers,
        retry_policy=retry_policy,
        progress=progress,
        cache=cache,
        overlap=True,
    )


def _do(
    run: RunFolder,
    *,
    annotators: Sequence[Annotator],
    scorers: Sequence[Scorer],
    cache: Cache | None,
    **how: Any,
) -> Counter[str]:
    manifest = run.manifest()
    for kind, instruments in (("annotators", annotators), ("scorers", scorers)):
        for instrument in instruments:
            manifest.setdefault(kind, {})[instrument.name] = _described(instrument)
    metrics = {metric["name"]: metric for metric in manifest.get("metrics", [])}
    metrics |= {metric.name: asdict(metric) for scorer in scorers for metric in scorer.metrics}
    manifest["metrics"] = list(metrics.values())
    run.write_manifest(manifest)
    recall = ReuseIndex(cache=cache, run=run)
    try:
        drop_stale_annotations(run, annotators)
        _carry_out(
            Pipeline(run, annotators=annotators, scorers=scorers, recall=recall, **how), how["progress"]
        )
        if how["systems"]:
            drop_stale_annotations(run, annotators)
        invalidate_stale_scores(run, scorers)
    finally:
        if cache is not None:
            cache.flush()
            if tally := cache.tally():
                manifest = run.manifest()
                add_tally(manifest, tally)
                run.write_manifest(manifest)
    return check_ledger(run)


def _carry_out(pipeline: Pipeline, progress: Progress) -> None:
    """Wait for the pipeline; the first Ctrl-C lets it finish what is in flight, the second does not."""
    work = event_loop.start(pipeline.go())
    try:
        return work.result()
    except Interrupted as error:
        raise KeyboardInterrupt from error
    except KeyboardInterrupt:
        try:
            left = event_loop.run(pipeline.stop())
            progress.note(f"stopping: {left} in flight are finished and kept; Ctrl-C again stops now")
            work.exception()
        except KeyboardInterrupt:
            event_loop.run(pipeline.flow.abandon())
        raise


def _described(instrument: Annotator | Scorer) -> dict[str, Any]:
    return {
        "version": instrument.version,
        "settings": dict(instrument.settings()),
        "fingerprint": instrument.fingerprint(),
    }
