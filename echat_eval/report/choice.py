"""Views of runs that hold what the section `tables:` of a file chooses.

A chosen run is a view of a run folder, so that means, ranks, tests and notes are computed from the chosen
rows by the same functions as everything else: "all" is over the chosen tasks, and ranks are among the chosen
systems.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData, UnknownName
from echat_eval.io.strict_yaml import read_yaml
from echat_eval.leaderboard.table_choice import CHOICES, Bold, TableChoice, choice_from
from echat_eval.store.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from echat_eval.records import Annotation, Response, Sample, Score
    from echat_eval.store.manifest import RunManifest

__all__ = ["Bold", "TableChoice", "chosen_runs", "read_choice"]


def read_choice(path: Path) -> TableChoice:
    """Return the section `tables:` of a file, which may be an experiment file.

    Raises:
        BadData: the file is invalid; the message names file and line.
    """
    file = read_yaml(path)
    content = file.content.get("tables")
    if content is None:
        raise BadData(f"{path}: no section 'tables'; its keys are {', '.join(CHOICES.rules)}")
    if "systems" not in file.content and (others := set(file.content) - {"tables"}):
        other = sorted(others)[0]
        raise BadData(
            f"{path}:{file.lines.get(other, 1)}: unknown key '{other}' beside 'tables'; write choices below "
            "'tables'"
        )
    return choice_from(content, f"{path}:{file.lines.get('tables', 1)}")


def chosen_runs(runs: Sequence[RunFolder], choice: TableChoice) -> list[RunFolder]:
    """Return views of the runs that hold what was chosen; runs without a chosen system are left out.

    Raises:
        UnknownName: no run has a chosen system, task or metric.
        BadData: two systems would have the same printed name.
    """
    if not choice.restricts:
        return list(runs)
    manifests = [run.manifest() for run in runs]
    known = {
        "system": {name for manifest in manifests for name in manifest.systems},
        "task": {name for manifest in manifests for name in manifest.tasks},
        "metric": {metric.name for manifest in manifests for metric in manifest.metrics},
    }
    digits = choice.digits if isinstance(choice.digits, Mapping) else {}
    for kind, names in (
        ("system", choice.systems),
        ("task", choice.tasks),
        ("metric", (*choice.metrics, *digits)),
    ):
        for name in names:
            if name not in known[kind]:
                raise UnknownName(kind, name, sorted(known[kind]))
    every = sorted(set().union(*known.values()))
    for name in choice.names:
        if name not in every:
            raise UnknownName("system, task or metric", name, every)
    _require_different([choice.shown(name) for name in choice.systems or sorted(known["system"])])
    return [
        ChosenRun(run, choice)
        for run, manifest in zip(runs, manifests, strict=True)
        if not choice.systems or set(choice.systems) & set(manifest.systems)
    ]


def _require_different(names: Sequence[str]) -> None:
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise BadData(f"tables: two systems would be printed as '{twice}'; give them different names")


class ChosenRun(RunFolder):
    """A view of the chosen systems, tasks and metrics of a run, under their printed names.

    Args:
        run: a run folder, or a view of one.
        choice: what it holds.
    """

    def __init__(self, run: RunFolder, choice: TableChoice) -> None:
        super().__init__(run.path)
        self._run = run
        self._choice = choice

    def manifest(self) -> RunManifest:
        """Return the manifest of what was chosen."""
        manifest, choice = self._run.manifest(), self._choice
        metrics = {metric.name: metric for metric in manifest.metrics}
        digits = (
            choice.digits if isinstance(choice.digits, Mapping) else dict.fromkeys(metrics, choice.digits)
        )
        return replace(
            manifest,
            systems={
                choice.shown(name): manifest.systems[name]
                for name in _ordered(manifest.systems, choice.systems)
            },
            tasks={
                name: replace(
                    (facts := manifest.tasks[name]),
                    title={**facts.title, "en": choice.names.get(name, facts.title.get("en", name))},
                )
                for name in _ordered(manifest.tasks, choice.tasks)
            },
            metrics=tuple(
                replace(
                    metrics[name],
                    title=choice.names.get(name, metrics[name].title),
                    digits=metrics[name].digits if (given := digits.get(name)) is None else given,
                )
                for name in _ordered(metrics, choice.metrics)
            ),
        )

    def samples(self) -> list[Sample]:
        """Return the samples of the chosen tasks, in the order of the choice."""
        samples = self._run.samples()
        if not self._choice.tasks:
            return samples
        return [sample for task in self._choice.tasks for sample in samples if sample.task == task]

    def _select(self, rows: Mapping[Any, Any]) -> dict[Any, Any]:
        systems, tasks, shown = self._choice.systems, self._choice.tasks, self._choice.shown
        return {
            (shown(ident[0]), *ident[1:]): row
            if shown(ident[0]) == ident[0]
            else replace(row, system=shown(ident[0]))
            for ident, row in rows.items()
            if (not systems or ident[0] in systems) and (not tasks or ident[1] in tasks)
        }

    def every_response(self) -> dict[tuple[str, str, str], Response]:
        """Return the responses of what was chosen."""
        return self._select(self._run.every_response())

    def every_annotation(self) -> dict[tuple[str, str, str, str], Annotation]:
        """Return the annotations of what was chosen."""
        return self._select(self._run.every_annotation())

    def every_score(self) -> dict[tuple[str, str, str, str], Score]:
        """Return the scores of what was chosen."""
        scores = self._select(self._run.every_score())
        if not self._choice.metrics:
            return scores
        return {ident: score for ident, score in scores.items() if score.metric in self._choice.metrics}


def _ordered(names: Iterable[str], selected: Sequence[str]) -> list[str]:
    """Return names in the order of a choice; all of them in their own order if there is none."""
    present = list(names)
    return [name for name in selected if name in present] if selected else present
