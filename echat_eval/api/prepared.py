"""The experiment that a caller describes: with objects, a file, a run folder or a baseline, and arguments."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.errors import UsageError
from echat_eval.experiment import (
    GROUPS,
    SELECTING,
    Experiment,
    experiment_of_folder,
    is_experiment_file,
    is_run_folder,
    read_experiment,
    refuse_foreign_tasks,
    select_experiment_tasks,
    unfinished_part,
    with_arguments,
    with_settings,
)
from echat_eval.leaderboard.run import Run
from echat_eval.runner.plan import planned
from echat_eval.scorers.judge_settings import parse_judges
from echat_eval.scorers.link_settings import parse_link
from echat_eval.store.run_folder import RunFolder
from echat_eval.store.select import SelectedRun, is_baseline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from echat_eval.experiment import ExperimentTask
    from echat_eval.runner.plan import Plan

__all__ = ["Prepared", "folder_with_replies", "prepared_experiment"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """An experiment with its tasks; without systems, the existing replies of its folder are scored."""

    experiment: Experiment
    tasks: Sequence[ExperimentTask] = ()

    def planned(self, note: Callable[[str], None]) -> AbstractContextManager[Plan]:
        """Return the plan of the experiment."""
        return planned(
            RunFolder(Path(self.experiment.out)),
            self.experiment.plan_arguments(),
            systems=self.experiment.systems,
            tasks=[selected.task for selected in self.tasks],
            note=note,
        )


def prepared_experiment(systems: Any, settings: Mapping[str, Any] | None, **arguments: Any) -> Prepared:
    """Return the experiment that a caller describes: in a file or a run folder, and in arguments."""
    if _is_baseline(systems):
        return _prepared_baseline(Path(systems), settings or {}, arguments)
    if is_run_folder(systems):
        return _prepared_folder(Path(systems), settings or {}, arguments)
    found = read_experiment(Path(systems)) if is_experiment_file(systems) else Experiment(systems=systems)
    experiment = with_settings(with_arguments(found, arguments), settings or {})
    if systems is None:
        return Prepared(experiment=experiment)
    tasks = select_experiment_tasks(experiment)
    refuse_foreign_tasks(Path(experiment.out), tasks)
    return Prepared(experiment=experiment, tasks=tasks)


def _prepared_folder(path: Path, settings: Mapping[str, Any], arguments: Mapping[str, Any]) -> Prepared:
    """Return what a run folder still lacks, or its whole experiment if a caller selects other samples."""
    if arguments.get("out") is not None:
        raise UsageError(f"{path} is a run folder and is continued where it lies; leave out --out")
    own = experiment_of_folder(path)
    if (link := arguments.get("link")) is not None:  # a judge of the folder that a new one may replace
        old = parse_link(link, parse_judges(own.judges))
        new = [judge.model for judge in parse_judges(arguments.get("judges"))]
        if old is not None and old.judge.model in new:
            raise UsageError(f"--judge and --link both name {old.judge.model}; --link names the old one")
        arguments = {**arguments, "link": old}
    if judges := parse_judges(arguments.get("judges")):
        # Settings of every judge hold for those that the command names, and leave the folder's as they are.
        shared = {name: value for name, value in settings.items() if _is_of_every_judge(name)}
        named = with_settings(Experiment(systems=None, judges=judges), shared)
        arguments = {**arguments, "judges": named.judges}
        settings = {name: value for name, value in settings.items() if name not in shared}
    experiment = with_arguments(own, arguments, add_judges=True)
    experiment = with_settings(experiment, settings)
    if experiment.systems is None:
        return Prepared(experiment=replace(experiment, out=folder_with_replies(path).path))
    changed = [name for name in settings if name.partition(".")[0] not in GROUPS]
    if all(arguments.get(name) is None for name in ("tasks", *SELECTING)):
        experiment, tasks = unfinished_part(experiment, all_systems=bool(changed))
    else:
        tasks = select_experiment_tasks(experiment)
    refuse_foreign_tasks(path, tasks)
    return Prepared(experiment=experiment, tasks=tasks)


def _is_of_every_judge(setting: str) -> bool:
    group, *rest = setting.split(".")
    return group == "judge" and len(rest) == 1


def _prepared_baseline(path: Path, settings: Mapping[str, Any], arguments: Mapping[str, Any]) -> Prepared:
    """Return the experiment that scores the replies of a baseline again; no system is called."""
    refused = ("tasks", *SELECTING, "out", "retry_failed")
    if given := [name for name in refused if arguments.get(name) is not None]:
        raise UsageError(
            f"{path}: a baseline, whose replies are scored again as they are; leave out --{given[0]}"
        )
    folder = folder_with_replies(path).path
    experiment = with_arguments(replace(experiment_of_folder(folder), systems=None), arguments)
    return Prepared(experiment=replace(with_settings(experiment, settings), out=folder))


def _is_baseline(given: object) -> bool:
    """Return whether an argument is the path of a baseline that `accept` wrote."""
    return isinstance(given, str | Path) and is_baseline(Path(given))


def folder_with_replies(run: Run | str | Path) -> RunFolder:
    """Return the folder of a finished run, to score its replies.

    Raises:
        BadData: not a run folder; UsageError: no replies yet, or a single system of a run.
    """
    if isinstance(run, Run) and isinstance(run.folder, SelectedRun):
        raise UsageError(f"{run.name} is one system of a run; score the whole run: {run.path}")
    path = run.path if isinstance(run, Run) else Path(run)
    folder = RunFolder.existing(_kept_run(path) if is_baseline(path) else path)
    if not folder.responses():
        raise UsageError(f"{path}: no responses yet; make them with `echat-eval run --out {path}`")
    return folder


def _kept_run(baseline: Path) -> Path:
    from echat_eval.gate.accept import kept_run

    return kept_run(baseline)
