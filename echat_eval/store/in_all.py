"""Which scores a mean over all tasks covers, and which metrics have one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.labels import only_traits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from echat_eval.records import Metric, Sample, Score

__all__ = ["left_out_of_all", "tasks_only"]


def left_out_of_all(metrics: Iterable[Metric], samples: Iterable[Sample]) -> Callable[[Score], bool]:
    """Return whether a score counts in its task only.

    A metric that rewards a reply for suiting the voice rewards stereotypes where the voice shows only who
    speaks: samples whose cues are age and gender are in no mean over all tasks, unless there are no others.
    """
    by_voice = {metric.name for metric in metrics if metric.by_voice}
    traits = {(s.task, s.id) for s in samples if s.asks is None and only_traits(s.cues, s.own_cues)}
    return lambda score: score.metric in by_voice and (score.task, score.sample_id) in traits


def tasks_only(
    metrics: Sequence[Metric], scores: Iterable[Score], apart: Callable[[Score], bool]
) -> frozenset[str]:
    """Return the metrics without a mean over all tasks: their scale differs between the tasks that it covers.

    Args:
        metrics: of the scores.
        scores: of all systems.
        apart: as `left_out_of_all` returns it.
    """
    tasks: dict[str, set[str]] = {metric.name: set() for metric in metrics if not metric.pooled}
    apart_tasks: dict[str, set[str]] = {name: set() for name in tasks}
    for score in scores:
        if score.metric in tasks and score.state != "not applicable":
            (apart_tasks if apart(score) else tasks)[score.metric].add(score.task)
    return frozenset(name for name, found in tasks.items() if len(found or apart_tasks[name]) > 1)
