"""The ledger must balance: every system has a row for every sample, every response for every metric."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from echat_eval.errors import BadData, EChatError

if TYPE_CHECKING:
    from echat_eval.store.run_folder import RunFolder

__all__ = ["LedgerError", "check_ledger", "refuse_unfinished", "unfinished"]


class LedgerError(EChatError):
    """Rows are lost or doubled: a bug of ours."""


def unfinished(run: RunFolder, *, only: str | None = None) -> str | None:
    """Return which system lacks responses; None: every one answered all samples of the tasks it was asked.

    Args:
        only: the system to look at; None: all of them.
    """
    samples = {(sample.task, sample.id) for sample in run.samples()}
    asked: dict[str, set[tuple[str, str]]] = {}
    for system, task, sample_id in run.responses():
        if only in (None, system):
            asked.setdefault(system, set()).add((task, sample_id))
    for system, answered in asked.items():
        # A system may have been run on fewer tasks than the folder holds, never on part of one.
        tasks = {task for task, _ in answered}
        expected = {ident for ident in samples if ident[0] in tasks}
        if answered != expected:
            return f"'{system}' has {len(answered)} responses to {len(expected)} samples"
    return None


def refuse_unfinished(run: RunFolder, *, only: str | None = None) -> None:
    """Raise BadData if a system (`only` this one) has answered only part of a task: a part is no result."""
    if lacking := unfinished(run, only=only):
        raise BadData(f"{run.path}: {lacking}: it was broken off; finish it with the command that began it")


def check_ledger(run: RunFolder) -> Counter[str]:
    """Return how many scores are in each state.

    Raises:
        LedgerError: |responses| is not |samples| for a system, or |scores| not |responses| x |metrics|.
    """
    responses = run.responses()
    if lacking := unfinished(run):
        raise LedgerError(f"{run.path}: {lacking}")
    metrics = [metric["name"] for metric in run.manifest().get("metrics", [])]
    scores = run.scores()
    if len(scores) != len(responses) * len(metrics):
        raise LedgerError(
            f"{run.path}: {len(scores)} scores of {len(responses)} responses by {len(metrics)} metrics"
        )
    return Counter(score.state for score in scores.values())
