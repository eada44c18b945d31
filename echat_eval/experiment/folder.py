"""The experiment of a run folder: finish it, score it again, and keep foreign tasks out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData, UsageError
from echat_eval.experiment.experiment import Experiment
from echat_eval.experiment.record import read_recorded, recorded_tasks
from echat_eval.experiment.resolved import OBJECT
from echat_eval.experiment.tasks import ExperimentTask, select_experiment_tasks
from echat_eval.io.schema import is_whole
from echat_eval.store.repeats import join_repeat
from echat_eval.store.run_folder import RunFolder
from echat_eval.store.turns import query_audios
from echat_eval.systems import system_names
from echat_eval.systems.select import MAX_REPEATS, REPEATS
from echat_eval.task import Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echat_eval.records import Sample
    from echat_eval.store.manifest import TaskFacts

__all__ = ["experiment_of_folder", "is_run_folder", "refuse_foreign_tasks", "unfinished_part"]


def is_run_folder(given: object) -> bool:
    """Return whether an argument is the path of a run folder; a text that names a system is none."""
    if not isinstance(given, str | Path) or not (Path(given) / "manifest.json").is_file():
        return False
    return isinstance(given, Path) or given not in system_names()


def experiment_of_folder(path: Path) -> Experiment:
    """Return the experiment of a run folder; only its existing replies if an older version wrote it."""
    found = read_recorded(path)
    return Experiment(out=path) if found is None else replace(found, out=path)


def unfinished_part(
    experiment: Experiment, *, all_systems: bool = False
) -> tuple[Experiment, list[ExperimentTask]]:
    """Return what a run folder still lacks: its systems without all replies, and its tasks.

    The tasks come from the folder itself if it holds all samples and their audio, else from their data.
    A system that has answered everything is neither built nor called.

    Args:
        all_systems: also those that have answered everything, since their settings may have changed.

    Raises:
        BadData: the folder lacks samples, and their data are not where they were.
        UsageError: a system to finish was an object in Python.
    """
    folder = RunFolder.existing(Path(experiment.out))
    systems = _mapping(experiment.systems)
    tasks = _stored_tasks(folder)
    if tasks is not None and not all_systems:
        lacking = _lacking_replies(folder, systems, failed_again=experiment.retry_failed)
        systems = {name: settings for name, settings in systems.items() if name in lacking}
    if not systems:
        return replace(experiment, systems=None), []
    for name, settings in systems.items():
        if OBJECT in (settings or {}):
            raise UsageError(
                f"{folder.path}: system '{name}' was an object in Python ({settings[OBJECT]}); finish the "
                f"run there: evaluate(system, out={str(folder.path)!r})"
            )
    return replace(experiment, systems=systems), tasks or _tasks_of_data(folder, experiment)


def _lacking_replies(folder: RunFolder, systems: Mapping[str, Any], *, failed_again: bool) -> set[str]:
    """Return the systems that lack a reply to one of the folder's samples."""
    open_states = {"missing", "failed"} if failed_again else {"missing"}
    final = {i for i, response in folder.every_response().items() if response.state not in open_states}
    samples = folder.samples()
    return {
        name
        for name, settings in systems.items()
        for number in range(1, _repeats(settings) + 1)
        if any((name, sample.task, join_repeat(sample.id, number)) not in final for sample in samples)
    }


def _repeats(settings: Mapping[str, Any] | None) -> int:
    """Return how often a system is asked; `select_repeats` refuses a wrong number."""
    repeats = (settings or {}).get(REPEATS, 1)
    return repeats if is_whole(repeats, low=1, high=MAX_REPEATS) else 1


def _stored_tasks(folder: RunFolder) -> list[ExperimentTask] | None:
    """Return the tasks of a folder with the samples in it; None if samples or recordings are missing."""
    facts, selections = folder.manifest().tasks, recorded_tasks(folder.path)
    stored: dict[str, list[Sample]] = {name: [] for name in facts}
    for sample in folder.samples():
        stored[sample.task].append(sample)
    audio = [
        audio.path for samples in stored.values() for sample in samples for audio in query_audios(sample)
    ]
    counts = {name: len(samples) for name, samples in stored.items()}
    if counts != {name: facts[name].samples for name in selections or facts if name in facts}:
        return None
    if selections.keys() - facts.keys() or not all(path.is_file() for path in audio):
        return None
    return [
        ExperimentTask(
            task=_task(name, facts[name], stored[name], folder.path),
            selection=selections.get(name, {"name": name}),
        )
        for name in facts
    ]


def _task(name: str, facts: TaskFacts, samples: Sequence[Sample], folder: Path) -> Task:
    return Task(
        name=name,
        version=facts.version or 1,
        cues=facts.cues,
        title=MappingProxyType(dict(facts.title)),
        description="",
        licence="",
        citation=None,
        languages=facts.languages,
        samples=tuple(samples),
        sha256=facts.sha256 or "",
        folder=folder,
    )


def _tasks_of_data(folder: RunFolder, experiment: Experiment) -> list[ExperimentTask]:
    for name, selection in recorded_tasks(folder.path).items():
        data = selection.get("data")
        if data is not None and not Path(data).is_dir():
            raise BadData(
                f"{folder.path}: samples or recordings of task '{name}' are missing, and {data} is not "
                "there; give the place of its data with --data FOLDER"
            )
    return select_experiment_tasks(experiment)


def refuse_foreign_tasks(path: Path, tasks: Sequence[ExperimentTask]) -> None:
    """Raise UsageError for a task whose content or source differs from that of the run folder's tasks.

    Data that were edited where they lay are no other source: their changed rows are made again.
    """
    manifest_tasks = RunFolder(path).manifest().tasks
    known = recorded_tasks(path)
    if not manifest_tasks or not known:
        return
    sources = {name: selection.get("data") for name, selection in known.items()}
    for selected in tasks:
        name, source = selected.task.name, selected.selection.get("data")
        if name in manifest_tasks:
            foreign = manifest_tasks[name].sha256 != selected.task.sha256 and source != sources.get(name)
            what = f"task '{name}' of {_place(sources.get(name))}; this command has another one, of"
        else:
            foreign = source not in sources.values()
            what = f"tasks of {_place(next(iter(sources.values())))}; this command would add '{name}' of"
        if foreign:
            advice = next((f"give --data {s}" for s in sources.values() if s), "leave --data out")
            raise UsageError(f"{path}: holds {what} {_place(source)}; {advice}, or choose another --out")


def _place(source: object) -> str:
    return "the demo split" if source is None else str(source)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
