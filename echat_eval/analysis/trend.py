"""Trend of a metric over an ordered list of runs, such as checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from echat_eval.analysis.pairs import table_units
from echat_eval.errors import BadData
from echat_eval.stats import Estimate, cluster_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from echat_eval.analysis.metric_rule import MetricRule
    from echat_eval.analysis.runs import ScoredSystem
    from echat_eval.stats import Sentences

__all__ = ["Trend", "trend"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """Trend of one metric over ordered runs, on the samples that have a value in all of them.

    Attributes:
        metric: name of the metric.
        task: name of the task; None for all tasks.
        runs: names, in order.
        means: (runs,) mean of the metric, not oriented.
        slope: change per run, by least squares within samples; above 0 is better.
    """

    metric: str
    task: str | None
    runs: tuple[str, ...]
    means: tuple[float, ...]
    slope: Estimate


def trend(
    runs: Sequence[ScoredSystem],
    *,
    metrics: Mapping[str, MetricRule],
    level: float = 0.95,
    sentences: Sentences = "random",
) -> list[Trend]:
    """Return the trend of every metric, pooled and per task.

    Raises:
        BadData: fewer than two runs, or no sample with a value in all of them.
    """
    if len(runs) < 2:
        raise BadData(f"a trend needs two or more runs, got {len(runs)}")
    trends = []
    for name, rule in metrics.items():
        wide, units = _wide(runs, name, sentences)
        tasks = wide.index.get_level_values("task")
        for task in (None, *sorted(set(tasks))):
            keep = np.ones(len(wide), bool) if task is None else tasks == task
            trends.append(_trend(name, task, runs, wide[keep], units[keep], rule, level))
    return trends


def _trend(
    metric: str,
    task: str | None,
    runs: Sequence[ScoredSystem],
    wide: pd.DataFrame,
    units: np.ndarray,
    rule: MetricRule,
    level: float,
) -> Trend:
    values = wide.to_numpy(dtype=np.float64)  # (samples, runs)
    steps = np.arange(values.shape[1]) - (values.shape[1] - 1) / 2
    slopes = rule.sign * (values @ steps) / (steps @ steps)
    return Trend(
        metric=metric,
        task=task,
        runs=tuple(run.name for run in runs),
        means=tuple(float(m) for m in values.mean(axis=0)),
        slope=cluster_mean(slopes, units, level=level),
    )


def _wide(runs: Sequence[ScoredSystem], metric: str, sentences: Sentences) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the values of the shared samples, shape (samples, runs), and each sample's unit."""
    columns = []
    for number, run in enumerate(runs):
        rows = run.frame[(run.frame["metric"] == metric) & run.frame["value"].notna()]
        columns.append(rows.set_index(["task", "sample_id"])["value"].rename(str(number)))
    wide = pd.concat(columns, axis=1, join="inner")
    if wide.empty:
        raise BadData(f"no sample has a value of '{metric}' in all {len(runs)} runs")
    first = runs[0].frame[runs[0].frame["metric"] == metric].set_index(["task", "sample_id"], drop=False)
    return wide, table_units(first.loc[wide.index], sentences=sentences)
