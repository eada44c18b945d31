"""Trend of a metric over an ordered list of runs, such as checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from echat_eval.analysis.frames import in_all_tasks
from echat_eval.analysis.pairs import table_units
from echat_eval.errors import BadData
from echat_eval.stats import Estimate, cluster_mean, label_strata, level_mean, macro_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

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
    """Return the trend of every metric, pooled and per task; none of a metric without shared values.

    Raises:
        BadData: fewer than two runs.
    """
    if len(runs) < 2:
        raise BadData(f"a trend needs two or more runs, got {len(runs)}")
    trends = []
    for name, rule in metrics.items():
        values, weights, first = _wide(runs, name, rule)
        if values.empty:
            continue  # such as the voice of text-only systems
        units = table_units(first, sentences=sentences)
        for task in (None, *sorted(set(first["task"]))):
            keep = in_all_tasks(first) if task is None else (first["task"] == task).to_numpy()
            x, w = (frame[keep].to_numpy(dtype=np.float64) for frame in (values, weights))
            labels = first["label"][keep].tolist()
            means, slope = _slope(x, w, labels, units[keep], rule, level)
            names = tuple(run.name for run in runs)
            trends.append(Trend(metric=name, task=task, runs=names, means=means, slope=slope))
    return trends


def _slope(
    values: NDArray[np.float64],
    weights: NDArray[np.float64],
    labels: Sequence[str | None],
    units: NDArray[np.int64],
    rule: MetricRule,
    level: float,
) -> tuple[tuple[float, ...], Estimate]:
    """Return the mean of every run and the slope over them.

    Args:
        values, weights: (samples, runs).
        labels: (samples,) gold labels, for a macro mean.
        units: (samples, 2).
        rule: direction and average of the metric.
        level: coverage of the slope's interval.
    """
    strata = label_strata(labels) if rule.average == "macro" else None
    shares = weights if rule.average == "ratio" else np.ones_like(values)
    means = tuple(
        level_mean(x, units, low=None, high=None, weights=w if strata is None else None, strata=strata).value
        for x, w in zip(values.T, shares.T, strict=True)
    )
    steps = np.arange(values.shape[1]) - (values.shape[1] - 1) / 2
    # Each sample's contribution to its run's ratio (delta method); with equal weights, the value itself.
    parts = means + (values - means) * shares / shares.mean(axis=0) if strata is None else values
    slopes = rule.sign * (parts @ steps) / (steps @ steps)
    if strata is not None:
        return means, macro_mean(slopes, strata, units, level=level)
    return means, cluster_mean(slopes, units, level=level)


def _wide(
    runs: Sequence[ScoredSystem], metric: str, rule: MetricRule
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return values and weights of the shared samples, (samples, runs) each, and the first run's rows."""
    tables = []
    for run in runs:
        rows = run.frame[run.frame["metric"] == metric].set_index(["task", "sample_id"], drop=False)
        if rule.failure_value is not None:
            unscored = (rows["state"] == "failed") & rows["value"].isna()
            rows = rows.assign(value=rows["value"].mask(unscored, rule.failure_value))
        tables.append(rows[rows["value"].notna()])
    columns = [rows[["value", "weight"]].add_suffix(f" {number}") for number, rows in enumerate(tables)]
    wide = pd.concat(columns, axis=1, join="inner")
    values, weights = (wide[[f"{name} {n}" for n in range(len(runs))]] for name in ("value", "weight"))
    return values, weights, tables[0].loc[wide.index]
