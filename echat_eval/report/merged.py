"""Several runs, or single systems of them, read as one: all that a report stands on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData, UnknownName, UsageError
from echat_eval.leaderboard import Leaderboard, build_leaderboard
from echat_eval.run_folder import RunFolder
from echat_eval.systems import check_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from echat_eval.records import Annotation, Response, Sample, Score

__all__ = ["MergedRuns", "SelectedRun", "merge_runs", "open_run"]


class SelectedRun(RunFolder):
    """A run folder of which only one system is looked at, perhaps under another name.

    Args:
        system: as the run names it.
        shown: the name it goes by here; None: its own.
    """

    def __init__(self, path: Path, system: str, shown: str | None = None) -> None:
        super().__init__(path)
        self.system = system
        self.shown = shown or system

    def manifest(self) -> dict[str, Any]:
        """Return the manifest with the one system in it."""
        found = super().manifest()
        systems = found.get("systems", {})
        if self.system not in systems:
            raise UnknownName(f"system in {self.path}:", self.system, systems)
        return {**found, "systems": {self.shown: systems[self.system]}}

    def _own(self, rows: Mapping[Any, Any]) -> dict[Any, Any]:
        return {
            (self.shown, *ident[1:]): replace(row, system=self.shown)
            for ident, row in rows.items()
            if ident[0] == self.system
        }

    def responses(self) -> dict[tuple[str, str, str], Response]:
        """Return the responses of the one system."""
        return self._own(super().responses())

    def annotations(self) -> dict[tuple[str, str, str, str], Annotation]:
        """Return the annotations of the one system."""
        return self._own(super().annotations())

    def scores(self) -> dict[tuple[str, str, str, str], Score]:
        """Return the scores of the one system."""
        return self._own(super().scores())


def open_run(name: str) -> RunFolder:
    """Return the run that `runs/a` or `runs/a:system` names; `other=` before it shows a system as `other`.

    Raises:
        BadData: no run folder there.
        UnknownName: the run has no such system.
        UsageError: another name for a run of several systems.
    """
    shown = None
    label, equals, rest = name.partition("=")
    if equals and "/" not in label and not Path(name).exists():
        shown, name = label, rest
        check_name(shown)
    path, colon, system = name.rpartition(":")
    if not colon or (Path(name) / "manifest.json").is_file():
        whole = RunFolder.existing(Path(name))
        if shown is None:
            return whole
        systems = list(whole.manifest().get("systems", {}))
        if len(systems) != 1:
            held = ", ".join(systems) or "none"
            raise UsageError(f"{name} holds several systems ({held}); name one: {shown}={name}:SYSTEM")
        path, system = name, systems[0]
    RunFolder.existing(Path(path))
    chosen = SelectedRun(Path(path), system, shown)
    chosen.manifest()
    return chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedRuns:
    """What one or more runs hold.

    Attributes:
        samples: (task, sample id) -> sample, in the order of the runs.
        responses: (system, task, sample id) -> response; a half-done run lacks some.
        annotations: (system, task, sample id) -> annotations.
        scores: (system, task, sample id) -> metric name -> score.
        roles: system -> "system", "floor" or "ceiling".
        tasks: task -> what the manifest says of it.
        board: None where nothing is scored yet.
        manifests: of the runs, in their order.
    """

    samples: Mapping[tuple[str, str], Sample]
    responses: Mapping[tuple[str, str, str], Response]
    annotations: Mapping[tuple[str, str, str], Sequence[Annotation]]
    scores: Mapping[tuple[str, str, str], Mapping[str, Score]]
    roles: Mapping[str, str]
    tasks: Mapping[str, Mapping[str, Any]]
    board: Leaderboard | None
    manifests: Sequence[Mapping[str, Any]]


def merge_runs(runs: Sequence[RunFolder]) -> MergedRuns:
    """Read runs that may stand side by side.

    Raises:
        BadData: a system in two runs, runs that asked or measured differently, or a broken file.
    """
    manifests = [run.manifest() for run in runs]
    samples: dict[tuple[str, str], Sample] = {}
    responses: dict[tuple[str, str, str], Response] = {}
    annotations: dict[tuple[str, str, str], list[Annotation]] = {}
    scores: dict[tuple[str, str, str], dict[str, Score]] = {}
    roles: dict[str, str] = {}
    tasks: dict[str, Any] = {}
    for run, manifest in zip(runs, manifests, strict=True):
        for name, facts in manifest.get("systems", {}).items():
            if name in roles:
                raise BadData(f"two runs hold a system '{name}'; show one as another: NEW={run.path}:{name}")
            roles[name] = facts["role"]
        tasks |= manifest.get("tasks", {})
        for sample in run.samples():
            samples.setdefault((sample.task, sample.id), sample)
        responses |= run.responses()
        for heard in run.annotations().values():
            annotations.setdefault((heard.system, heard.task, heard.sample_id), []).append(heard)
        for score in run.scores().values():
            scores.setdefault((score.system, score.task, score.sample_id), {})[score.metric] = score
    # The manifest's keys are sorted; the samples lie in the order in which the tasks were asked.
    tasks = {name: tasks[name] for name in dict.fromkeys([*(task for task, _ in samples), *tasks])}
    return MergedRuns(
        samples=samples,
        responses=responses,
        annotations=annotations,
        scores=scores,
        roles=roles,
        tasks=tasks,
        board=build_leaderboard(runs) if scores else None,
        manifests=manifests,
    )
