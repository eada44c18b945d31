"""Checks the section `tables:` of an experiment file when it is read, before anything is run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData, UnknownName
from echat_eval.leaderboard.table_choice import choice_from
from echat_eval.plugins import DEFAULTS, split_spec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from echat_eval.leaderboard.table_choice import TableChoice

__all__ = ["check_tables"]

logger = logging.getLogger(__name__)

#: Similarity from which an unknown key of `names` may be a typo.
_ALIKE = 0.8


def check_tables(content: object, experiment: Mapping[str, Any], location: str) -> None:
    """Refuse a section that this experiment's runs cannot fill, as far as the file shows it.

    Args:
        content: of the section.
        experiment: all groups of the file.
        location: file and line, for messages.

    Raises:
        BadData: an invalid section, or a system, task or judge that the experiment does not have. For a name
            that may be of a metric, known only after a run, there is a warning.
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
        near = get_close_matches(name, known, n=1, cutoff=_ALIKE)
        if near and name not in {*known, *_own_metrics(experiment)}:
            logger.warning(
                "%s: tables: names: '%s' is no system or task of this file; if it is no metric either, did "
                "you mean '%s'?",
                location,
                name,
                near[0],
            )


def _require(kind: str, names: Iterable[str], known: Iterable[str], location: str) -> None:
    for name in names if known else ():
        if name not in known:
            raise BadData(
                f"{location}: tables: {UnknownName(kind, name, known)} For tables of several runs, write the "
                "section into a file of its own"
            )


def _check_metrics(choice: TableChoice, experiment: Mapping[str, Any], location: str) -> None:
    """Refuse a metric of a judge that the experiment does not name; warn if a user may have made it."""
    judges = experiment.get("judges")
    if not isinstance(judges, Mapping):
        return
    stems = [f"judge_{name}".replace("-", "_") for name in judges]
    digits = choice.digits if isinstance(choice.digits, Mapping) else {}
    own = _own_metrics(experiment)
    headline = () if choice.headline is None else (choice.headline,)
    for name in (*choice.metrics, *digits, *headline):
        if not name.startswith("judge_") or name in own:
            continue
        if not any(name == stem or name.startswith(f"{stem}_") for stem in stems):
            message = f"{location}: tables: {UnknownName('metric', name, stems)}"
            if not own:
                raise BadData(message)
            logger.warning("%s", message)


def _own_metrics(experiment: Mapping[str, Any]) -> set[str]:
    """Return the names of scorers and metrics in the file; a scorer of a user names its metrics freely."""
    groups = [experiment.get("scorers"), (experiment.get("metrics") or {}).get("extra")]
    return {split_spec(spec)[0].rpartition(":")[2] for group in groups for spec in _texts(group)} - {DEFAULTS}


def _texts(value: object) -> Iterator[str]:
    """Yield every text in lists and mappings."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield name
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


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
