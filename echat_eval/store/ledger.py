"""The ledger check: one response per system and sample, and one score per response and metric."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from echat_eval.errors import BadData, EChatError
from echat_eval.store.repeats import split_repeat

if TYPE_CHECKING:
    from echat_eval.store.run_folder import RunFolder

__all__ = ["LedgerError", "check_ledger", "pending", "require_finished", "require_whole", "unfinished"]


class LedgerError(EChatError):
    """Rows are lost or doubled: a bug of ours."""


def unfinished(run: RunFolder, *, only: str | None = None) -> str | None:
    """Return a description of a system with missing responses; None if every system is complete.

    A system is complete if it has a response to every sample of the tasks that it was run on.

    Args:
        only: name of the system to check; None for all.
    """
    samples = {(sample.task, sample.id) for sample in run.samples()}
    answered: dict[tuple[str, int], set[tuple[str, str]]] = {}
    for system, task, ident in run.every_response():
        if only in (None, system):
            sample_id, repeat = split_repeat(ident)
            answered.setdefault((system, repeat), set()).add((task, sample_id))
    for (system, _), idents in answered.items():
        # A system may have been run on some of the folder's tasks, but never on part of a task.
        tasks = {task for task, _ in idents}
        expected = {ident for ident in samples if ident[0] in tasks}
        if idents != expected:
            return f"'{system}' has {len(idents)} responses to {len(expected)} samples"
    return None


def pending(run: RunFolder) -> str | None:
    """Return a description of a system whose replies are not all there, even if it never began; or None."""
    if (fault := unfinished(run)) is not None:
        return fault
    begun = {system for system, _, _ in run.every_response()}
    absent = [name for name in run.manifest().systems if name not in begun]
    return f"'{absent[0]}' has no response" if absent and run.samples() else None


def require_whole(run: RunFolder) -> None:
    """Raise BadData if replies of any system of a run are not there: what is handed on states them all."""
    if fault := pending(run):
        raise BadData(f"{run.path}: {fault}: the run was interrupted; finish it with the same command")


def require_finished(run: RunFolder, *, only: str | None = None) -> None:
    """Raise BadData if a system (or only the one named) has answered only part of a task."""
    if fault := unfinished(run, only=only):
        raise BadData(f"{run.path}: {fault}: the run was interrupted; finish it with the same command")


def check_ledger(run: RunFolder) -> Counter[str]:
    """Return the number of scores in each state.

    Raises:
        LedgerError: a system has not one response per sample, or a response not one score per metric.
    """
    responses = run.every_response()
    if fault := unfinished(run):
        raise LedgerError(f"{run.path}: {fault}")
    metrics = run.manifest().metrics
    scores = run.every_score()
    if len(scores) != len(responses) * len(metrics):
        raise LedgerError(
            f"{run.path}: {len(scores)} scores of {len(responses)} responses by {len(metrics)} metrics"
        )
    return Counter(score.state for score in scores.values())
