"""The tasks of an experiment: names, or mappings of a name, its data and the samples to use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from echat_eval.errors import BadData, UsageError
from echat_eval.io.schema import TEXT, Rule, build_record, is_text
from echat_eval.labels.declared import merged_cues
from echat_eval.runner.plan import whole_number
from echat_eval.task.select import select_tasks
from echat_eval.task.split import with_version

if TYPE_CHECKING:
    from echat_eval.experiment.experiment import Experiment
    from echat_eval.task import Task

__all__ = ["SELECTING", "ExperimentTask", "names_of", "select_experiment_tasks"]

#: Keys of a task's mapping beside its name; at the top of an experiment they hold for every task.
SELECTING = ("data", "languages", "part", "limit", "ask")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSelection:
    """A task and the samples of it to use; None: that of the experiment."""

    name: str | None = None
    data: str | Path | None = None
    languages: object = None
    part: str | None = None
    limit: int | None = None
    ask: str | None = None


_RULES = {
    "name": TEXT,
    "data": Rule(lambda value: is_text(value) or isinstance(value, Path), "the path of a folder"),
    "part": TEXT,
    "ask": TEXT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentTask:
    """A task with the samples to use, and what selects them again.

    Attributes:
        selection: name, data (absolute; absent for the demo split), languages, part, limit and ask.
    """

    task: Task
    selection: Mapping[str, object]


def select_experiment_tasks(experiment: Experiment) -> list[ExperimentTask]:
    """Return the tasks of an experiment with the samples to use.

    Raises:
        UnknownName: no such task, language or question.
        UsageError: a wrong selection, or a task that is named twice.
        BadData: a fault in the data.
    """
    found: dict[str, ExperimentTask] = {}
    for selection in _selections(experiment.tasks):
        for selected in _selected(selection, experiment):
            if selected.task.name in found:
                raise UsageError(f"task '{selected.task.name}' is named twice; name it once")
            found[selected.task.name] = selected
    merged_cues((name, selected.task.own_cues) for name, selected in found.items())  # refuses two meanings
    return list(found.values())


def _selected(selection: TaskSelection, experiment: Experiment) -> list[ExperimentTask]:
    """Return the tasks of one selection; the experiment fills what it leaves open."""
    data = selection.data if selection.data is not None else experiment.data
    languages = selection.languages if selection.languages is not None else experiment.languages
    part = selection.part if selection.part is not None else experiment.part
    limit = selection.limit if selection.limit is not None else experiment.limit
    ask = selection.ask if selection.ask is not None else experiment.ask
    tasks = select_tasks(
        () if selection.name is None else (selection.name,),
        data=None if data is None else Path(data),
        languages=names_of("languages", languages),
        limit=None if limit is None else whole_number("limit", limit, low=1),
        part=part,
        ask=ask,
    )
    values = {
        "data": None if data is None else str(Path(data).absolute()),
        "languages": list(names_of("languages", languages)) or None,
        "limit": limit,
        "ask": ask,
    }
    kept = {key: value for key, value in values.items() if value is not None}
    return [
        ExperimentTask(
            task=task,
            # A split that is drawn later does not change what a finished run is of.
            selection={"name": task.name, **kept}
            | ({} if part is None else {"part": with_version(task.folder, part)}),
        )
        for task in tasks
    ]


def _selections(given: object) -> list[TaskSelection]:
    """Return the selections in a name, a mapping, or a list of these; None selects all tasks."""
    if given is None or given == () or given == []:
        return [TaskSelection()]
    parts = given if isinstance(given, list | tuple) else [given]
    found = []
    for part in parts:
        if isinstance(part, str):
            found.append(TaskSelection(name=part))
        elif isinstance(part, Mapping):
            try:
                found.append(build_record(TaskSelection, part, f"task {part.get('name')!r}", _RULES))
            except BadData as error:
                raise UsageError(str(error)) from error
        else:
            raise UsageError(
                f"tasks: got {part!r}; expected a name or a list of names, or of mappings of name, "
                f"{', '.join(SELECTING)}"
            )
    return found


def names_of(argument: str, given: object) -> tuple[str, ...]:
    """Return names as a tuple; empty for None.

    >>> names_of("languages", "en"), names_of("languages", ["en", "zh"])
    (('en',), ('en', 'zh'))
    """
    if given is None:
        return ()
    names = (given,) if isinstance(given, str) else given
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise UsageError(f"{argument}: got {given!r}; expected a name or a list of names")
    return tuple(names)
