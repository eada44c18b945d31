"""A run that stops when the gate has decided: rounds of samples, and a look after each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from echat_eval.errors import UsageError
from echat_eval.gate.looks import LOOKS, look_policy
from echat_eval.gate.report import to_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from echat_eval.experiment.tasks import ExperimentTask
    from echat_eval.gate import Decision, Policy
    from echat_eval.gate.looks import Looks
    from echat_eval.leaderboard.run import Run

__all__ = ["Decided", "run_rounds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A run that stopped at a look, and its decision.

    Attributes:
        run: the run.
        decision: of the gate, at the level of the last look.
        requested, planned: numbers of samples.
    """

    run: Run
    decision: Decision
    requested: int
    planned: int

    def lines(self) -> list[str]:
        """Return the decision and what was asked as lines."""
        left = self.planned - self.requested
        text = f"asked {self.requested:,} of {self.planned:,} samples"
        return [*to_lines(self.decision), f"{text}; {left:,} were not needed" if left else text]


def run_rounds(
    looks: Looks,
    policy: Policy,
    tasks: Sequence[ExperimentTask],
    folder: Path,
    *,
    make: Callable[[Sequence[ExperimentTask]], Run],
    decide: Callable[[Run, bool], Decision],
    note: Callable[[str], None],
) -> tuple[Run, Decision] | None:
    """Make rounds of samples until a look decides; return the run and the last decision.

    Args:
        looks: planned, and made by earlier commands.
        policy: of the gate.
        tasks: with all samples.
        folder: of the run.
        make: gets the rows of tasks; the rows of earlier rounds exist.
        decide: decides on a run, and whether this is its last look.
        note: called with a line per look.

    Returns:
        None if earlier commands have made the last look.
    """
    found = None
    while (look := looks.next) is not None:
        folder.mkdir(parents=True, exist_ok=True)
        looks.write(folder / LOOKS)
        run = make(_asked(tasks, set(looks.order[: look.samples])))
        if len(run.systems) != 1:
            raise UsageError(f"{folder}: holds {len(run.systems)} systems; a run until decided has one")
        decision = decide(run, look.number == len(looks.looks))
        level = look_policy(policy, looks.looks, look.number).level
        looks = looks.found(look.number, decision, level)
        looks.write(folder / LOOKS)
        note(f"look {look.number} of {len(looks.looks)}: {decision.title}, {look.samples:,} samples asked")
        found = run, decision
    return found


def _asked(tasks: Sequence[ExperimentTask], requested: set[tuple[str, str]]) -> list[ExperimentTask]:
    """Return the tasks with the samples that a round asks, and those of earlier rounds."""
    found = []
    for selected in tasks:
        task = selected.task
        samples = tuple(sample for sample in task.samples if (sample.task, sample.id) in requested)
        if samples:
            found.append(replace(selected, task=replace(task, samples=samples)))
    return found
