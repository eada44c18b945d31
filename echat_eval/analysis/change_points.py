"""Series of a metric over many runs, such as nightly checkpoints, and the runs at which it changed.

Binary segmentation: of all places to cut the runs in two, the one where the means before and after differ
most clearly is a change point if that difference is significant; both parts are then cut likewise, and change
points that are none beside their neighbours are dropped. The difference is that of the metric's own average
on the same samples, with the cluster-robust error of all other comparisons. Its p-value is multiplied by the
number of places (Bonferroni): a metric that never changed has a change point with a probability of at most
`ERROR`, which tests/analysis/test_change_points.py simulates. Another judge in some run is a change, too: the
method sees levels and no causes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.analysis.bounds import to_tests, two_sided_p_values
from echat_eval.analysis.frames import in_all_tasks, several_tasks
from echat_eval.analysis.pairs import table_units
from echat_eval.analysis.trend import contrast, wide

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from echat_eval.analysis.metric_rule import MetricRule
    from echat_eval.analysis.runs import ScoredSystem
    from echat_eval.stats import Estimate, Sentences

    Floats = NDArray[np.float64]

__all__ = ["ERROR", "ChangePoint", "Series", "change_points", "cuts"]

#: Probability of a change point in a metric that never changed.
ERROR = 0.05
#: A run with values for a smaller share of the samples is left out of a series.
LEAST = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePoint:
    """A change of a metric.

    Attributes:
        run: name of the first run after it.
        change: difference of the means after and before, oriented: above 0 is better.
        p: adjusted for the number of places.
    """

    run: str
    change: float
    p: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A metric over runs, on the samples with a value in all of them.

    Attributes:
        metric: name of the metric.
        task: name of the task; None for all tasks.
        runs: names of the runs of the series, in order.
        means: one per run, not oriented.
        changes: in order.
        n: number of samples.
        left_out: name of a run -> why it is not in the series.
    """

    metric: str
    task: str | None
    runs: tuple[str, ...]
    means: tuple[Estimate, ...]
    changes: tuple[ChangePoint, ...]
    n: int
    left_out: Mapping[str, str]


def change_points(
    runs: Sequence[ScoredSystem],
    rules: Mapping[str, MetricRule],
    *,
    level: float = 0.95,
    sentences: Sentences = "random",
    own_scales: Collection[str] = (),
) -> tuple[list[Series], list[str]]:
    """Return the series of every metric over all tasks, and one line per metric without one.

    Args:
        runs: in order.
        rules: metric -> direction, range and average.
        level: coverage of the intervals of the means.
        sentences: as in `compare`.
        own_scales: metrics whose tasks have scales of their own: one series per task.
    """
    found: list[Series] = []
    notes: list[str] = []
    for name, rule in rules.items():
        kept, left_out = _with_metric(runs, name)
        if len(kept) < 2:
            notes.append(f"no series of '{name}': {len(kept)} of {len(runs)} runs have it")
            continue
        values, weights, first = wide(kept, name, rule)
        complete = values.notna().all(axis=1).to_numpy()
        if not complete.any():
            notes.append(f"no series of '{name}': no sample has a value in {len(kept)} runs")
            continue
        own_scale = name in own_scales and several_tasks(first[complete])
        for task in sorted(set(first["task"][complete])) if own_scale else (None,):
            inside = in_all_tasks(first) if task is None else (first["task"] == task).to_numpy()
            keep = complete & inside
            if keep.any():
                x, w = (frame[keep].to_numpy(dtype=np.float64) for frame in (values, weights))
                estimate = partial(
                    contrast,
                    x,
                    w,
                    first["label"][keep].tolist(),
                    table_units(first, sentences=sentences)[keep],
                    rule,
                    level,
                )
                found.append(_series(name, task, kept, left_out, int(keep.sum()), estimate))
    return found, notes


def _series(
    metric: str,
    task: str | None,
    runs: Sequence[ScoredSystem],
    left_out: Mapping[str, str],
    n: int,
    estimate: Callable[[Floats], tuple[tuple[Estimate, ...], Estimate]],
) -> Series:
    """Return a series; `estimate` is `contrast` with all but the factors."""
    names = tuple(run.name for run in runs)
    changes = cuts(len(names), lambda factors: estimate(factors)[1])
    return Series(
        metric=metric,
        task=task,
        runs=names,
        means=estimate(np.zeros(len(names)))[0],
        changes=tuple(ChangePoint(run=names[place], change=size.value, p=p) for place, size, p in changes),
        n=n,
        left_out=left_out,
    )


def cuts(runs: int, estimate: Callable[[Floats], Estimate]) -> list[tuple[int, Estimate, float]]:
    """Return the change points of a series: number of the first run after, difference, adjusted p.

    Args:
        runs: number of runs.
        estimate: returns the contrast of the runs' means with (runs,) factors.
    """

    def at(start: int, place: int, end: int) -> tuple[int, Estimate, float]:
        """Return the difference between the runs from `place` and those before, with its adjusted p."""
        factors = np.zeros(runs)
        factors[start:place], factors[place:end] = -1 / (place - start), 1 / (end - place)
        size = estimate(factors)
        p = float(two_sided_p_values(to_tests([[size]]))[0])
        return place, size, min(1.0, p * (runs - 1))

    def within(start: int, end: int) -> list[int]:
        found = [at(start, place, end) for place in range(start + 1, end)]
        place, _, p = min(found, key=lambda row: row[2], default=(start, None, 1.0))
        return [] if p > ERROR else [*within(start, place), place, *within(place, end)]

    places = within(0, runs)
    while True:
        # A first cut beside the true place is no change once the true place is cut, too.
        ends = [0, *places, runs]
        found = [at(ends[k], place, ends[k + 2]) for k, place in enumerate(places)]
        weakest = max(found, key=lambda row: row[2], default=None)
        if weakest is None or weakest[2] <= ERROR:
            return found
        places.remove(weakest[0])


def _with_metric(runs: Sequence[ScoredSystem], metric: str) -> tuple[list[ScoredSystem], dict[str, str]]:
    """Return the runs that have values of a metric for enough samples, and why others are left out."""
    counts = [int(((run.frame["metric"] == metric) & run.frame["value"].notna()).sum()) for run in runs]
    kept, left_out = [], {}
    for run, count in zip(runs, counts, strict=True):
        if count >= LEAST * max(counts) and count:
            kept.append(run)
        else:
            left_out[run.name] = f"{count} of {max(counts)} samples have a value"
    return kept, left_out
