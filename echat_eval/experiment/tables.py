"""Checks the section `tables:` of an experiment file when it is read, before anything is run."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData, UnknownName
from echat_eval.leaderboard.table_choice import choice_from

if TYPE_CHECKING:
    from collections.abc import Iterable

    from echat_eval.leaderboard.table_choice import TableChoice

__all__ = ["check_tables"]

#: Similarity from which an unknown key of `names` is a typo; a metric's name is known only after a run.
_ALIKE = 0.8


def check_tables(content: object, experiment: Mapping[str, Any], location: str) -> None:
    """Refuse a section that this experiment's runs cannot fill, as far as the file shows it.

    Args:
        content: of the section.
        experiment: all groups of the file.
        location: file and line, for messages.

    Raises:
        BadData: an invalid section, or a system, task or judge that the experiment does not have.
    """
    choice = choice_from(content, location)
    systems, tasks = _systems(experiment), _tasks(experiment)
    _require("system", choice.systems, systems, location)
    _require(
        "task", [name for name in choice.tasks if name.partition("-asks-")[0] not in tasks], tasks, location
    )
    _check_metrics(choice, experiment, location)
    known = {*systems, *tasks}
    for name in choice.names:
        if name not in known and get_close_matches(name, known, n=1, cutoff=_ALIKE):
            raise BadData(f"{location}: tables: names: {UnknownName('system or task', name, known)}")


def _require(kind: str, names: Iterable[str], known: Iterable[str], location: str) -> None:
    for name in names if known else ():
        if name not in known:
            raise BadData(
                f"{location}: tables: {UnknownName(kind, name, known)} For tables of several runs, write the "
                "section into a file of its own"
            )


def _check_metrics(choice: TableChoice, experiment: Mapping[str, Any], location: str) -> None:
    """Refuse a metric of a judge that the experiment does not name."""
    judges = experiment.get("judges")
    if not isinstance(judges, Mapping):
        return
    stems = [f"judge_{name}".replace("-", "_") for name in judges]
    digits = choice.digits if isinstance(choice.digits, Mapping) else {}
    headline = () if choice.headline is None else (choice.headline,)
    for name in (*choice.metrics, *digits, *headline):
        if name.startswith("judge_") and not any(name == s or name.startswith(f"{s}_") for s in stems):
            raise BadData(f"{location}: tables: {UnknownName('metric', name, stems)}")


def _systems(experiment: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the systems; empty if the file has specs, whose names are known later."""
    systems = experiment.get("systems")
    return tuple(systems) if isinstance(systems, Mapping) else ()


def _tasks(experiment: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the tasks; empty if the file leaves them open."""
    tasks = experiment.get("tasks") or ()
    entries = [tasks] if isinstance(tasks, str) else tasks
    names = [entry if isinstance(entry, str) else entry.get("name") for entry in entries]
    return tuple(name for name in names if name) if all(names) else ()
