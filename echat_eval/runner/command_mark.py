"""All that decides which rows of a run folder are missing or stale, beside the folder itself, as one hash."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.io.hashing import digest, facts_of
from echat_eval.ports import families_of
from echat_eval.store.environment import environment
from echat_eval.store.manifest import AnnotatorFacts, ScorerFacts, SystemFacts, TaskFacts
from echat_eval.store.manifest_file import to_json
from echat_eval.store.settled import code_mark

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from echat_eval.ports import Annotator, Oracle, Progress, Scorer, System
    from echat_eval.store.manifest import RunSettings
    from echat_eval.task import Task

__all__ = ["Stages", "command_mark"]


def command_mark(
    *,
    systems: Sequence[System | Oracle],
    tasks: Sequence[Task],
    annotators: Sequence[Annotator],
    scorers: Sequence[Scorer],
    settings: RunSettings,
    repeats: Mapping[str, int],
) -> str:
    """Return a hash of a command: what a manifest states of its parts, all samples, code and environment.

    Where the rows are made is no part of it.
    """
    return digest(
        "command",
        [
            code_mark(),
            to_json(environment()),
            [to_json(settings.retry_policy), settings.overlap, settings.headline],
            [[s.name, to_json(SystemFacts.of(s)), repeats.get(s.name, 1)] for s in systems],
            [[task.name, to_json(TaskFacts.of(task)), facts_of(task.samples)] for task in tasks],
            [[a.name, to_json(AnnotatorFacts.of(a))] for a in annotators],
            [
                [s.name, to_json(ScorerFacts.of(s)), s.scope, families_of(s), facts_of(s.metrics)]
                for s in scorers
            ],
        ],
    )


class Stages:
    """A `Progress` that hands everything on, and remembers the stages.

    Attributes:
        seen: names of the stages and their numbers of rows.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.seen: list[tuple[str, int]] = []

    def stage(self, name: str, total: int, done: int) -> None:
        """Hand a stage on."""
        self.seen.append((name, total))
        self._progress.stage(name, total, done)

    def advance(self, count: int = 1, *, stage: str | None = None) -> None:
        """Hand finished rows on."""
        self._progress.advance(count, stage=stage)

    def note(self, text: str) -> None:
        """Hand a message on."""
        self._progress.note(text)
