"""Secondary figures of metrics that reward a reply for suiting the voice: by label, and shares of a ceiling.

    by label    where the voice shows only who speaks (age, gender), no mean over tasks is printed
    share       (system - chance) / (ceiling - chance): the part of the way from a system that ignores the
                voice, whose score is known, to the oracle `reference`, per task with a Fieller interval, and
                averaged over tasks: their ceilings differ, so shares can be averaged where points cannot

The interval of the average is the delta method's, over the clusters of all tasks, because tasks may share
speakers: each task's ratio has its own residuals, (system - share x ceiling) / mean ceiling.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.labels import only_traits
from echat_eval.leaderboard.cue_gain import Gain, paired_gain
from echat_eval.stats import Estimate, cluster_mean, level_mean

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from echat_eval.records import Metric, Sample, Score

__all__ = ["CEILING", "LabelMean", "Shares", "ceiling_shares", "chance", "label_means"]

#: The oracle whose score is the ceiling; with several references per sample it leaves one out.
CEILING = "reference"

Ident = tuple[str, str]  # task, sample id


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMean:
    """The mean of one system over the samples of one task and label."""

    system: str
    task: str
    label: str
    estimate: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """The share of the way from chance to the ceiling.

    Attributes:
        tasks: task -> share with its Fieller interval, or the reason why there is none.
        average: mean of the shares over the tasks that "all" covers; None if a task of these has none.
        missing: samples left out because the score of the system or of the ceiling is missing.
    """

    tasks: Mapping[str, Gain]
    average: Estimate | None
    missing: int = 0


def chance(metric: Metric) -> float:
    """Return the value of a system that ignores the voice: the middle of the range."""
    assert metric.low is not None
    assert metric.high is not None
    return (metric.low + metric.high) / 2


def reference_value(metric: Metric) -> float:
    """Return where a plot of a metric has its line: the value of a system that ignores the voice, or 0."""
    bounded = metric.low is not None and metric.high is not None
    return chance(metric) if metric.by_voice and bounded else 0.0


def label_means(
    scores: Iterable[Score],
    metric: Metric,
    samples: Mapping[Ident, Sample],
    clusters: Mapping[Ident, Hashable],
) -> list[LabelMean]:
    """Return the means by label of the tasks that no mean over all tasks covers."""
    rows: dict[tuple[str, str, str], list[Score]] = {}
    for score in scores:
        sample = samples[score.task, score.sample_id]
        if (
            score.metric == metric.name
            and score.value is not None
            and only_traits(sample.cues, sample.own_cues)
        ):
            label = ", ".join(label for _, label in sorted(sample.cues.items()))
            rows.setdefault((score.system, score.task, label), []).append(score)
    return [
        LabelMean(
            system=system,
            task=task,
            label=label,
            estimate=level_mean(
                [s.value for s in found if s.value is not None],
                [clusters[s.task, s.sample_id] for s in found],
                low=metric.low,
                high=metric.high,
            ),
        )
        for (system, task, label), found in rows.items()
    ]


def ceiling_shares(
    scores: Iterable[Score],
    metric: Metric,
    samples: Mapping[Ident, Sample],
    clusters: Mapping[Ident, Hashable],
) -> dict[str, Shares]:
    """Return system -> its shares; empty without the oracle `reference`."""
    values: dict[str, dict[Ident, float]] = {}
    missing: dict[str, set[Ident]] = {}
    for score in scores:
        if score.metric == metric.name and score.value is not None:
            values.setdefault(score.system, {})[score.task, score.sample_id] = score.value
        elif score.metric == metric.name and score.state == "missing":
            missing.setdefault(score.system, set()).add((score.task, score.sample_id))
    ceiling = values.pop(CEILING, {})
    lacking = missing.get(CEILING, set())
    return {
        system: replace(
            _shares(found, ceiling, chance(metric), samples, clusters),
            missing=len(lacking | missing.get(system, set())),
        )
        for system, found in values.items()
        if found.keys() & ceiling.keys()
    }


def _shares(
    system: Mapping[Ident, float],
    ceiling: Mapping[Ident, float],
    floor: float,
    samples: Mapping[Ident, Sample],
    clusters: Mapping[Ident, Hashable],
) -> Shares:
    shared = [ident for ident in system if ident in ceiling]
    tasks: dict[str, list[Ident]] = {}
    for ident in shared:
        tasks.setdefault(ident[0], []).append(ident)
    gains = {
        task: paired_gain({i: system[i] for i in found}, dict.fromkeys(found, floor), ceiling, clusters)
        for task, found in tasks.items()
    }
    pooled = {
        task: found
        for task, found in tasks.items()
        if not all(only_traits(samples[i].cues, samples[i].own_cues) for i in found)
    } or tasks
    if any(gains[task].value is None for task in pooled):
        return Shares(tasks=gains, average=None)
    return Shares(tasks=gains, average=_average(system, ceiling, floor, pooled, clusters))


def _average(
    system: Mapping[Ident, float],
    ceiling: Mapping[Ident, float],
    floor: float,
    tasks: Mapping[str, Sequence[Ident]],
    clusters: Mapping[Ident, Hashable],
) -> Estimate:
    """Return the mean of the tasks' shares with an interval over the clusters of all tasks."""
    idents = [ident for found in tasks.values() for ident in found]
    shares, residuals = [], []
    for found in tasks.values():
        above, room = (np.array([of[i] - floor for i in found]) for of in (system, ceiling))
        share, weight = above.mean() / room.mean(), len(idents) / (len(tasks) * len(found))
        shares.append(share)
        residuals.append(weight * (above - share * room) / room.mean())
    # The residuals of a task have a mean of 0, so the mean over all samples is that of the shares.
    values = np.mean(shares) + np.concatenate(residuals)
    return cluster_mean(values, [clusters[i] for i in idents])
