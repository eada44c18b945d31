"""Several runs, or single systems of them, merged for a report."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from echat_eval.io.ratings import read_ratings_csv
from echat_eval.labels.declared import cues_of
from echat_eval.leaderboard.attribution import Perceptions, perceptions_of
from echat_eval.leaderboard.build import Leaderboard, build_leaderboard
from echat_eval.leaderboard.table_choice import TableChoice
from echat_eval.report.choice import chosen_runs
from echat_eval.scorers.listening_result import listening_notes
from echat_eval.stats.factors import units_of
from echat_eval.store.comparable import refuse_duplicate_systems
from echat_eval.store.manifest import TaskFacts
from echat_eval.store.repeats import split_repeat
from echat_eval.store.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from echat_eval.io.ratings import Rating
    from echat_eval.records import Annotation, Cue, Response, Sample, Score, SystemRole
    from echat_eval.store.manifest import RunManifest

__all__ = ["MergedRuns", "merge_runs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedRuns:
    """Rows and facts of one or more runs.

    Attributes:
        samples: (task, sample id) -> sample, in the order of the runs.
        responses: (system, task, sample id) -> response; incomplete in an unfinished run.
        annotations: (system, task, sample id) -> annotations.
        scores: (system, task, sample id) -> metric name -> score.
        roles: system -> "system", "floor" or "ceiling".
        tasks: task -> facts from the manifest.
        board: the leaderboard; None if there are no scores yet.
        perceptions: what each system perceived, as under the leaderboard.
        manifests: manifests of the runs, in order.
        cues: name -> cue, the shipped ones first, then those that the tasks define.
        voice_notes: which judges that listen may rank voices, for every table and the page.
        repeats: system -> replies to each sample, where there are several.
        choice: what of the runs is here; names are the printed ones.
    """

    samples: Mapping[tuple[str, str], Sample]
    responses: Mapping[tuple[str, str, str], Response]
    annotations: Mapping[tuple[str, str, str], Sequence[Annotation]]
    scores: Mapping[tuple[str, str, str], Mapping[str, Score]]
    roles: Mapping[str, SystemRole]
    tasks: Mapping[str, TaskFacts]
    board: Leaderboard | None
    perceptions: Perceptions
    manifests: Sequence[RunManifest]
    cues: Mapping[str, Cue]
    voice_notes: tuple[str, ...] = ()
    repeats: Mapping[str, int] = field(default_factory=dict)
    choice: TableChoice = field(default_factory=TableChoice)

    def ratings(self, path: Path) -> list[Rating]:
        """Return the rows of a ratings.csv; of a choice, those of its systems and tasks, as printed."""
        rows, choice = read_ratings_csv(path), self.choice
        if not choice.restricts:
            return rows
        return [
            replace(row, system=choice.shown(row.system))
            for row in rows
            if choice.shown(row.system) in self.roles and row.task in self.tasks
        ]

    def rated_responses(self) -> dict[tuple[str, str, str], Response]:
        """Return the responses under the names that ratings have."""
        own = {self.choice.shown(name): name for name in self.choice.names}
        return {(own.get(ident[0], ident[0]), *ident[1:]): row for ident, row in self.responses.items()}


def merge_runs(
    runs: Sequence[RunFolder],
    *,
    within: float | None = None,
    headline: str | None = None,
    choice: TableChoice | None = None,
) -> MergedRuns:
    """Read and merge comparable runs.

    Args:
        runs: run folders, or single systems of them.
        within, headline: as in `build_leaderboard`.
        choice: systems, tasks, metrics, names and digits; None: everything.

    Raises:
        BadData: a system in two runs, different tasks or instruments, or a broken file.
        UnknownName: the runs do not have what was chosen.
    """
    choice = choice or TableChoice()
    runs = chosen_runs(runs, choice)
    manifests = [run.manifest() for run in runs]
    refuse_duplicate_systems(
        (str(run.path), manifest.systems) for run, manifest in zip(runs, manifests, strict=True)
    )
    samples: dict[tuple[str, str], Sample] = {}
    responses: dict[tuple[str, str, str], Response] = {}
    annotations: dict[tuple[str, str, str], list[Annotation]] = {}
    scores: dict[tuple[str, str, str], dict[str, Score]] = {}
    roles: dict[str, SystemRole] = {}
    tasks: dict[str, TaskFacts] = {}
    repeats: dict[str, int] = {}
    for run, manifest in zip(runs, manifests, strict=True):
        roles |= {name: facts.role for name, facts in manifest.systems.items()}
        tasks |= manifest.tasks
        for sample in run.samples():
            samples.setdefault((sample.task, sample.id), sample)
        responses |= run.responses()
        for system, _, name in run.every_response():
            repeats[system] = max(repeats.get(system, 1), split_repeat(name)[1])
        for row in run.annotations().values():
            annotations.setdefault((row.system, row.task, row.sample_id), []).append(row)
        for score in run.scores().values():
            scores.setdefault((score.system, score.task, score.sample_id), {})[score.metric] = score
    # The manifest's keys are sorted; the samples have the order of the tasks.
    names = dict.fromkeys([*(task for task, _ in samples), *tasks])
    tasks = {name: tasks.get(name, TaskFacts()) for name in names}
    board = None
    if scores:
        board = build_leaderboard(runs, within=within, headline=headline or choice.leading)
        board = replace(board, order=tuple(map(choice.shown, choice.systems)), names=choice.names)
    return MergedRuns(
        samples=samples,
        responses=responses,
        annotations=annotations,
        scores=scores,
        roles=roles,
        tasks=tasks,
        board=board,
        perceptions=perceptions_of(
            samples,
            responses,
            [score for found in scores.values() for score in found.values()],
            units_of(list(samples.values())),
            oracles={
                name for manifest in manifests for name, facts in manifest.systems.items() if facts.oracle
            },
        ),
        manifests=manifests,
        cues=cues_of(samples.values()),
        voice_notes=tuple(dict.fromkeys(note for run in runs for note in listening_notes(run))),
        repeats={system: count for system, count in repeats.items() if count > 1},
        choice=choice,
    )
