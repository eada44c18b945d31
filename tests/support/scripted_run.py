"""Runs a task with scripted parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.ports import Silent
from echat_eval.runner.evaluate import evaluate
from echat_eval.store.cache import Cache
from echat_eval.store.manifest import RunSettings
from echat_eval.store.run_folder import RunFolder
from echat_eval.task import Task, load_task

#: Two tries without a wait.
QUICK_RETRY = RetryPolicy(tries=2, first_wait=0.0)


def evaluated(
    out: Path,
    tasks: Path | Task | Sequence[Task],
    systems: Any,
    *,
    annotators: Sequence[Any] = (),
    scorers: Sequence[Any] = (),
    retry_policy: RetryPolicy = QUICK_RETRY,
    overlap: bool = True,
    cache: Cache | None = None,
) -> RunFolder:
    """Evaluate and return the closed run folder.

    Args:
        out: the run folder.
        tasks: one task or several, or the data folder of the task `emotion`.
        systems: one system, or a list.
        annotators, scorers, cache: arguments of `evaluate`.
        retry_policy, overlap: settings of the run.
    """
    if isinstance(tasks, Path):
        tasks = load_task("emotion", data=tasks)
    with RunFolder(out).writing() as folder:
        evaluate(
            folder,
            systems=systems if isinstance(systems, list) else [systems],
            tasks=[tasks] if isinstance(tasks, Task) else list(tasks),
            annotators=annotators,
            scorers=scorers,
            settings=RunSettings(retry_policy=retry_policy, overlap=overlap),
            progress=Silent(),
            cache=cache,
        )
    return folder
