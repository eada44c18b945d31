"""Runs respond, annotate and score in one run folder, and records how in the manifest."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from echat_eval.concurrency import event_loop
from echat_eval.concurrency.retry import Interrupted
from echat_eval.errors import UsageError
from echat_eval.io.collector import collector_paused
from echat_eval.labels.declared import merged_cues
from echat_eval.plugins import require_different_names, require_members
from echat_eval.ports import Annotator, Oracle, Scorer, System
from echat_eval.runner.carry_over import drop_stale_annotations, invalidate_stale_scores
from echat_eval.runner.command_mark import Stages, command_mark
from echat_eval.store.environment import environment
from echat_eval.store.ledger import check_ledger, require_finished
from echat_eval.store.manifest import AnnotatorFacts, ScorerFacts, SystemFacts, TaskFacts
from echat_eval.store.repeats import split_repeat
from echat_eval.store.reuse import ReuseIndex
from echat_eval.store.settled import Settled, find_settled, keep_settled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set

    from echat_eval.ports import Progress
    from echat_eval.records import Sample
    from echat_eval.runner.pipeline import Pipeline
    from echat_eval.store.cache import Cache
    from echat_eval.store.manifest import RunSettings
    from echat_eval.store.run_folder import RunFolder
    from echat_eval.task import Task

__all__ = ["evaluate", "require_fit", "rescore"]


def evaluate(
    run: RunFolder,
    *,
    systems: Sequence[System | Oracle],
    tasks: Sequence[Task],
    annotators: Sequence[Annotator],
    scorers: Sequence[Scorer],
    settings: RunSettings,
    progress: Progress,
    cache: Cache | None = None,
    repeats: Mapping[str, int] = MappingProxyType({}),
    command: str | None = None,
) -> Counter[str]:
    """Request replies, annotate and score them; return the number of scores in each state.

    The run must be open for writing. A second call makes only the missing rows; if nothing has changed since
    all were made, it reads none.

    Args:
        settings: kept in the manifest.
        cache: rows of other runs; None to neither read nor write any.
        repeats: name of a system -> number of its replies to each sample; 1 by default.
        command: `command_mark` of the other arguments, if it is known.

    Raises:
        UsageError: an object that is no system, annotator or scorer, two systems with the same name, or
            replies in the run that do not fit the tasks.
    """
    for system in systems:
        require_members("system", system, System, Oracle)
    require_different_names("system", systems, option=" with --system NAME=SPEC")
    _check_instruments(annotators, scorers)
    command = command or command_mark(
        systems=systems,
        tasks=tasks,
        annotators=annotators,
        scorers=scorers,
        settings=settings,
        repeats=repeats,
    )
    again = settings.retry_policy.failed_again
    if not again and (settled := find_settled(run.path, command)) is not None:
        for name, total in settled.stages:
            progress.stage(name, total, total)
        return settled.states
    require_fit(run, {system.name for system in systems}, tasks)
    _record_command(run, systems, tasks, settings)
    _record_instruments(run, annotators, scorers, settings)
    samples = run.store_samples(sample for task in tasks for sample in task.samples)
    stages = Stages(progress)
    states = _respond_annotate_score(
        run,
        systems=systems,
        samples=samples,
        annotators=annotators,
        scorers=scorers,
        settings=settings,
        progress=stages,
        cache=cache,
        repeats=repeats,
    )
    if not again and _has_every_row(run):
        keep_settled(run.path, command, Settled(stages=stages.seen, states=states))
    return states


def rescore(
    run: RunFolder,
    *,
    annotators: Sequence[Annotator],
    scorers: Sequence[Scorer],
    settings: RunSettings,
    progress: Progress,
    cache: Cache | None = None,
) -> Counter[str]:
    """Annotate and score the existing responses; return the number of scores in each state.

    Raises:
        BadData: the run is unfinished: a system has answered only part of a task.
        UsageError: an object that is no annotator or scorer.
    """
    _check_instruments(annotators, scorers)
    require_finished(run)
    _record_instruments(run, annotators, scorers, settings)
    return _respond_annotate_score(
        run,
        systems=(),
        samples=(),
        annotators=annotators,
        scorers=scorers,
        settings=settings,
        progress=progress,
        cache=cache,
    )


def _respond_annotate_score(
    run: RunFolder,
    *,
    systems: Sequence[System | Oracle],
    samples: Sequence[Sample],
    annotators: Sequence[Annotator],
    scorers: Sequence[Scorer],
    settings: RunSettings,
    progress: Progress,
    cache: Cache | None,
    repeats: Mapping[str, int] = MappingProxyType({}),
) -> Counter[str]:
    """Make all missing rows, remove stale ones, and check that none is lost."""
    # A command with nothing to do does without it.
    from echat_eval.runner.pipeline import Pipeline

    try:
        drop_stale_annotations(run, annotators)
        with collector_paused():
            pipeline = Pipeline(
                run,
                systems=systems,
                samples=samples,
                annotators=annotators,
                scorers=scorers,
                settings=settings,
                progress=progress,
                reuse=ReuseIndex(cache=cache, run=run),
                repeats=repeats,
            )
        _wait_for(pipeline, progress)
        if systems:
            drop_stale_annotations(run, annotators)
        invalidate_stale_scores(run, scorers)
    finally:
        if cache is not None:
            _record_cache(run, cache)
    return check_ledger(run)


def _has_every_row(run: RunFolder) -> bool:
    """Return whether no row is missing, which the next command would make."""
    tables = run.every_response(), run.every_annotation(), run.every_score()
    return all(row.state != "missing" for table in tables for row in table.values())


# -- checks before anything is sent ------------------------------------------------


def _check_instruments(annotators: Sequence[Annotator], scorers: Sequence[Scorer]) -> None:
    """Raise UsageError for an object that is no annotator or scorer."""
    for annotator in annotators:
        require_members("annotator", annotator, Annotator)
    for scorer in scorers:
        require_members("scorer", scorer, Scorer)


def require_fit(run: RunFolder, systems: Set[str], tasks: Sequence[Task]) -> None:
    """Refuse a command that would delete replies of this run, or leave a system with part of a task.

    Raises:
        UsageError: the run holds replies to samples of a task that the command does not include.
        BadData: a task of the command and one of the run define a cue differently.
    """
    named = {task.name for task in tasks}
    own = {s.task: s.own_cues for s in run.samples() if s.task not in named}
    merged_cues([*own.items(), *((task.name, task.own_cues) for task in tasks)])
    answered: dict[tuple[str, str], set[str]] = {}
    for system, task, ident in run.every_response():
        answered.setdefault((system, task), set()).add(split_repeat(ident)[0])
    for (system, name), answers in answered.items():
        requested = {sample.id for task in tasks if task.name == name for sample in task.samples}
        if not requested:
            continue
        if dropped := answers - requested:
            raise UsageError(
                f"{run.path}: holds {len(answers)} replies of '{system}' to '{name}'. This command "
                f"excludes {len(dropped)} of those samples, which would delete their replies; choose another "
                "--out, or include all of them (--limit, --language, --data)"
            )
        if system not in systems and answers != requested:
            raise UsageError(
                f"{run.path}: '{system}' has answered {len(answers)} of the {len(requested)} samples of "
                f"'{name}' in this command; choose another --out, or add --system {system}"
            )


# -- the manifest -----------------------------------------------------------------


def _record_command(
    run: RunFolder, systems: Sequence[System | Oracle], tasks: Sequence[Task], settings: RunSettings
) -> None:
    """Record where and how replies are requested, and the tasks and systems of the command."""
    manifest = run.manifest()
    run.write_manifest(
        replace(
            manifest,
            environment=environment(),
            settings=settings,
            tasks={**manifest.tasks, **{task.name: TaskFacts.of(task) for task in tasks}},
            systems={**manifest.systems, **{system.name: SystemFacts.of(system) for system in systems}},
        )
    )


def _record_instruments(
    run: RunFolder, annotators: Sequence[Annotator], scorers: Sequence[Scorer], settings: RunSettings
) -> None:
    """Record the annotators, scorers and metrics of the command."""
    manifest = run.manifest()
    merged = replace(
        manifest,
        annotators={**manifest.annotators, **{a.name: AnnotatorFacts.of(a) for a in annotators}},
        scorers={**manifest.scorers, **{scorer.name: ScorerFacts.of(scorer) for scorer in scorers}},
    )
    merged = merged.with_metrics([metric for scorer in scorers for metric in scorer.metrics])
    run.write_manifest(merged.with_headline(settings.headline) if settings.headline else merged)


def _record_cache(run: RunFolder, cache: Cache) -> None:
    """Store the cache's new rows, and record how often it was used."""
    cache.flush()
    if tally := cache.tally():
        run.write_manifest(run.manifest().with_tally(tally))


# -- waiting ----------------------------------------------------------------------


def _wait_for(pipeline: Pipeline, progress: Progress) -> None:
    """Run the pipeline; the first Ctrl-C lets the calls in flight finish, the second abandons them."""
    work = event_loop.start(pipeline.go())
    try:
        return event_loop.wait_for(work)
    except Interrupted as error:
        raise KeyboardInterrupt from error
    except KeyboardInterrupt:
        try:
            in_flight = event_loop.run(pipeline.stop())
            progress.note(
                f"stopping: {in_flight} calls in flight finish and are kept; press Ctrl-C again to stop now"
            )
            event_loop.wait_for(work)
        except KeyboardInterrupt:
            event_loop.run(pipeline.workflow.abandon())
        raise
