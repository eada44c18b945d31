"""Selection of tasks and samples for a run: names, a data folder, languages, a limit, a question to ask."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from echat_eval.errors import BadData, UnknownName, UsageError
from echat_eval.task import known_tasks, load_task
from echat_eval.task.probe import probing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from echat_eval.records import Sample
    from echat_eval.task import Task

__all__ = ["first_groups", "select_tasks"]


def select_tasks(
    names: Sequence[str] = (),
    *,
    data: Path | None = None,
    languages: Sequence[str] = (),
    limit: int | None = None,
    part: str | None = None,
    ask: str | None = None,
) -> list[Task]:
    """Return tasks with the samples to use.

    Args:
        names: names of tasks; empty: all of them.
        data: folder of tasks, or of one task, to use instead of the demo split.
        languages: languages of the samples to use; empty: all.
        limit: maximum samples per task; contrast groups stay whole.
        part: part of each task's split to use, as in `load_task`.
        ask: "transcript" or a cue: ask for it instead of a reply.

    Raises:
        UnknownName: no such task, part or question.
        UsageError: a language that is no BCP 47 tag, a limit smaller than the first contrast group, or a
            folder that does not fit the names.
        BadData: a fault in the data.
    """
    is_task = data is not None and (data / "task.yaml").is_file()
    known = known_tasks() if data is None or is_task else known_tasks(data)
    if data is not None and not data.is_dir():
        raise BadData(f"{data}: no such folder; expected a folder of tasks")
    if data is not None and not known:
        raise UsageError(f"{data}: no task found; expected {data}/<task>/task.yaml and samples.jsonl")
    for name in names:
        if name not in known and not is_task:
            raise UnknownName("task", name, known)
    if is_task and len(names) != 1:
        raise UsageError(f"{data} is the folder of one task; name that task (--task)")
    try:
        tasks = [
            load_task(name, data=data, languages=languages or None, part=part) for name in (names or known)
        ]
    except BadData as error:
        if data is None:
            raise
        raise BadData(f"{error}; `echat-eval check task FOLDER` lists every fault") from error
    if limit is not None:
        tasks = [replace(task, samples=first_groups(task.samples, limit)) for task in tasks]
    return tasks if ask is None else [probing(task, ask) for task in tasks]


def first_groups(samples: Sequence[Sample], limit: int) -> tuple[Sample, ...]:
    """Return at most `limit` samples in their order, without splitting a contrast group.

    Raises:
        UsageError: the first contrast group has more samples.
    """
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.contrast_group or sample.id, []).append(sample)
    kept: list[Sample] = []
    for members in groups.values():
        if len(kept) + len(members) > limit:
            break
        kept += members
    if not kept:
        size = len(next(iter(groups.values()), ()))
        raise UsageError(
            f"limit {limit} is smaller than the first contrast group, which has {size} samples; "
            f"give --limit {size} or more"
        )
    kept_ids = {sample.id for sample in kept}
    return tuple(sample for sample in samples if sample.id in kept_ids)
