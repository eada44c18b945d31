"""Which scores a mean over all tasks covers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.labels import only_traits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from echat_eval.records import Metric, Sample, Score

__all__ = ["left_out_of_all"]


def left_out_of_all(metrics: Iterable[Metric], samples: Iterable[Sample]) -> Callable[[Score], bool]:
    """Return whether a score counts in its task only.

    A metric that rewards a reply for suiting the voice rewards stereotypes where the voice shows only who
    speaks: samples whose cues are age and gender are in no mean over all tasks, unless there are no others.
    """
    by_voice = {metric.name for metric in metrics if metric.by_voice}
    traits = {(s.task, s.id) for s in samples if s.asks is None and only_traits(s.cues)}
    return lambda score: score.metric in by_voice and (score.task, score.sample_id) in traits
