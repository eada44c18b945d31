"""Trend of a metric over an ordered list of runs, such as checkpoints.

Samples that are missing in some run are in no mean. The interval of the slope covers them: it is the widest
over the rows as observed and with the missing ones at the ends of the range that make it worst and best.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.analysis.frames import in_all_tasks, several_tasks
from echat_eval.analysis.metric_rule import with_cap
from echat_eval.analysis.pairs import table_units
from echat_eval.errors import BadData
from echat_eval.stats import Estimate, cluster_mean, label_strata, level_mean, macro_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

    from echat_eval.analysis.metric_rule import MetricRule
    from echat_eval.analysis.runs import ScoredSystem
    from echat_eval.stats import Sentences

__all__ = ["Trend", "contrast", "trend", "wide"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """Trend of one metric over ordered runs.

    Attributes:
        metric: name of the metric.
        task: name of the task; None for all tasks.
        runs: names, in order.
        means: (runs,) mean of the metric over the samples that have a value in all runs, not oriented.
        slope: change per run on the same samples, by least squares within samples; above 0 is better.
        low, high: interval of the slope, widened for missing rows; None: cannot tell.
        missing: samples that are missing in some run.
        rule: of the metric, with the cap of its missing values.
    """

    metric: str
    task: str | None
    runs: tuple[str, ...]
    means: tuple[float, ...]
    slope: Estimate
    low: float | None
    high: float | None
    missing: int
    rule: MetricRule


def trend(
    runs: Sequence[ScoredSystem],
    *,
    metrics: Mapping[str, MetricRule],
    level: float = 0.95,
    sentences: Sentences = "random",
    own_scales: Collection[str] = (),
) -> list[Trend]:
    """Return the trend of every metric, pooled and per task; none of a metric without shared values.

    Args:
        runs: in order.
        metrics: name -> direction and range.
        level: coverage of the intervals.
        sentences: as in `compare`.
        own_scales: as in `compare`: there is no pooled trend over several tasks.

    Raises:
        BadData: fewer than two runs.
    """
    if len(runs) < 2:
        raise BadData(f"a trend needs two or more runs, got {len(runs)}")
    trends = []
    for name, given in metrics.items():
        values, weights, first = wide(runs, name, given)
        known = values.notna().all(axis=1)
        if not known.any():
            continue  # such as the voice of text-only systems
        rule = with_cap(name, given, values)
        units = table_units(first, sentences=sentences)
        pooled = () if name in own_scales and several_tasks(first[known.to_numpy()]) else (None,)
        for task in (*pooled, *sorted(set(first["task"][known]))):
            keep = in_all_tasks(first) if task is None else (first["task"] == task).to_numpy()
            if not known[keep].any():
                continue
            x, w = (frame[keep].to_numpy(dtype=np.float64) for frame in (values, weights))
            found = _slopes(x, w, first["label"][keep].tolist(), units[keep], rule, level)
            means, slope, low, high = found
            trends.append(
                Trend(
                    metric=name,
                    task=task,
                    runs=tuple(run.name for run in runs),
                    means=means,
                    slope=slope,
                    low=low,
                    high=high,
                    missing=int(np.isnan(x).any(axis=1).sum()),
                    rule=rule,
                )
            )
    return trends


def _slopes(
    values: Floats,
    weights: Floats,
    labels: Sequence[str | None],
    units: NDArray[np.int64],
    rule: MetricRule,
    level: float,
) -> tuple[tuple[float, ...], Estimate, float | None, float | None]:
    """Return the means and the slope of the complete samples, and its bounds over the missing rows.

    Args:
        values, weights: (samples, runs); NaN: missing.
        labels: (samples,) gold labels, for a macro mean.
        units: (samples, 2).
        rule: direction, range and average of the metric.
        level: coverage of the slope's interval.
    """
    complete = np.flatnonzero(~np.isnan(values).any(axis=1))
    own = [labels[row] for row in complete.tolist()]
    means, slope = _slope(values[complete], weights[complete], own, units[complete], rule, level)
    found = [slope]
    if len(complete) < len(values):
        steps = _steps(values.shape[1])
        for early, late in ((rule.low, rule.highest), (rule.highest, rule.low)):
            if early is None or late is None:
                return means, slope, None, None
            ends = np.where(steps < 0, early, late)
            filled = np.where(np.isnan(values), ends, values)
            found.append(_slope(filled, _filled_weights(weights), labels, units, rule, level)[1])
    bounds = [(e.low, e.high) for e in found if e.low is not None and e.high is not None]
    if len(bounds) < len(found):
        return means, slope, None, None
    return means, slope, min(low for low, _ in bounds), max(high for _, high in bounds)


def _steps(runs: int) -> Floats:
    """Return the position of each run, centred."""
    return np.arange(runs, dtype=np.float64) - (runs - 1) / 2


def _filled_weights(weights: Floats) -> Floats:
    """Return the weights of a ratio, those of missing rows as in the other runs; else the largest."""
    known = np.isfinite(weights)
    rows = known.any(axis=1)
    likely = np.full(len(weights), weights[known].max(initial=1.0))
    likely[rows] = np.nanmean(weights[rows], axis=1)
    return np.where(known, weights, likely[:, None])


def _slope(
    values: Floats,
    weights: Floats,
    labels: Sequence[str | None],
    units: NDArray[np.int64],
    rule: MetricRule,
    level: float,
) -> tuple[tuple[float, ...], Estimate]:
    """Return the mean of every run and the slope over them; arguments as in `_slopes`, without NaN."""
    steps = _steps(values.shape[1])
    means, slope = contrast(values, weights, labels, units, rule, level, steps / (steps @ steps))
    return tuple(mean.value for mean in means), slope


def contrast(
    values: Floats,
    weights: Floats,
    labels: Sequence[str | None],
    units: NDArray[np.int64],
    rule: MetricRule,
    level: float,
    factors: Floats,
) -> tuple[tuple[Estimate, ...], Estimate]:
    """Return the mean of every run by the metric's own average, and a linear contrast of these means.

    Args:
        values, weights, labels, units, rule, level: as in `_slopes`, without NaN.
        factors: (runs,) the contrast is the sum of the means times these; oriented, above 0 is better.
    """
    strata = label_strata(labels) if rule.average == "macro" else None
    shares = weights if rule.average == "ratio" else np.ones_like(values)
    means = tuple(
        level_mean(
            x,
            units,
            low=rule.low,
            high=rule.high,
            weights=w if strata is None else None,
            strata=strata,
            level=level,
        )
        for x, w in zip(values.T, shares.T, strict=True)
    )
    centre = np.array([mean.value for mean in means])
    # Each sample's contribution to its run's ratio (delta method); with equal weights, the value itself.
    parts = centre + (values - centre) * shares / shares.mean(axis=0) if strata is None else values
    found = rule.sign * (parts @ factors)
    if strata is not None:
        return means, macro_mean(found, strata, units, level=level)
    return means, cluster_mean(found, units, level=level)


def wide(
    runs: Sequence[ScoredSystem], metric: str, rule: MetricRule
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return values and weights, (samples, runs) each, and the first run's rows.

    The samples are those that count in every run's mean, or would if they were not missing. Missing rows have
    values and weights of NaN.
    """
    import pandas as pd

    tables = []
    for run in runs:
        rows = run.frame[run.frame["metric"] == metric].set_index(["task", "sample_id"], drop=False)
        if rule.failure_value is not None:
            unscored = (rows["state"] == "failed") & rows["value"].isna()
            rows = rows.assign(value=rows["value"].mask(unscored, rule.failure_value))
        missing = rows["state"] == "missing"
        rows = rows.assign(weight=rows["weight"].mask(missing))
        tables.append(rows[rows["value"].notna() | missing])
    columns = [rows[["value", "weight"]].add_suffix(f" {number}") for number, rows in enumerate(tables)]
    wide = pd.concat(columns, axis=1, join="inner")
    values, weights = (wide[[f"{name} {n}" for n in range(len(runs))]] for name in ("value", "weight"))
    return values, weights, tables[0].loc[wide.index]
