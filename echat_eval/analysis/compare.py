"""One system against another, paired by sample: per task and pooled, with slices as secondary."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from echat_eval.analysis.bounds import drop_p_values, to_tests, worst_case_bounds
from echat_eval.analysis.differences import difference
from echat_eval.analysis.pairs import Pairs, pair
from echat_eval.analysis.runs import differences, latency_not_comparable
from echat_eval.errors import UsageError
from echat_eval.stats import holm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from echat_eval.analysis.metric_rule import MetricRule
    from echat_eval.analysis.runs import Run
    from echat_eval.stats import Estimate

__all__ = ["ComparedMetric", "Comparison", "Flip", "compare", "require_comparable"]

#: Metrics that a system's neighbours on the machine change.
TIMES = ("seconds", "first_audio_seconds", "rtf")
SLICES = ("source", "language", "label")


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedMetric:
    """One difference.

    Attributes:
        metric: its name.
        part: "pooled" over all tasks, one "task", or a "slice" (secondary: not adjusted, decides nothing).
        name: of the task, or such as "source = real".
        difference: the other system minus the one it is compared with, turned so that above 0 is better;
            None: cannot tell.
        low, high: its interval, widened to where missing values may lie; None: cannot tell.
        p: two-sided, of the widened interval's least favourable fill.
        adjusted: Holm over the tasks of the metric; the pooled difference is one test of its own; None for
            slices.
        won, lost, tied: share of the shared samples with values, 0 to 1.
        n, clusters, missing: what it rests on.
        why: what cannot be told, and why.
    """

    metric: str
    part: Literal["pooled", "task", "slice"]
    name: str
    difference: Estimate | None
    low: float | None
    high: float | None
    p: float | None
    adjusted: float | None
    won: float
    lost: float
    tied: float
    n: int
    clusters: int
    missing: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """A sample on which the two systems differ; `change` above 0 is better."""

    task: str
    sample_id: str
    metric: str
    before: float
    after: float
    change: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Everything one pair of systems gives.

    Attributes:
        one, other: names; differences are `other` minus `one`.
        cells: pooled, tasks, slices, metric by metric.
        flips: samples that differ in the first metric, worst first.
        counts: shared samples, and those that only one has.
        unlike: why the numbers are not comparable, where that was waved through; marks every one of them.
        notes: what should be known.
    """

    one: str
    other: str
    cells: tuple[ComparedMetric, ...]
    flips: tuple[Flip, ...]
    counts: str
    unlike: tuple[str, ...]
    notes: tuple[str, ...]


def require_comparable(runs: Sequence[Run], *, anyway: bool) -> tuple[str, ...]:
    """Return why runs are not alike, or refuse them.

    Raises:
        UsageError: their tasks, judges, rubrics or annotators differ, and `anyway` is not set.
    """
    said = tuple(line for run in runs[1:] for line in differences(runs[0], run))
    if said and not anyway:
        raise UsageError(
            f"not comparable: {'; '.join(said)}. Run one of them again, or mark it with --anyway"
        )
    return said


def compare(
    one: Run,
    other: Run,
    *,
    metrics: Mapping[str, MetricRule],
    level: float = 0.95,
    min_clusters: int = 2,
    anyway: bool = False,
) -> Comparison:
    """Compare two systems on the samples they share.

    Args:
        one: what is compared with.
        other: what is compared.
        metrics: name -> direction and range; the first one's flipped samples are listed.
        level: coverage.
        min_clusters: with fewer a difference has no interval.
        anyway: compare runs whose tasks or instruments differ; every number is then marked.

    Raises:
        UsageError: runs that are not alike, and not `anyway`.
        BadData: no shared samples, a metric that one of them lacks.
    """
    unlike = require_comparable([one, other], anyway=anyway)
    pairs = pair(other.frame, one.frame, metrics=list(metrics))
    parts = dict(list(pairs.frame.groupby("metric", sort=False, observed=True)))
    cells: list[ComparedMetric] = []
    for name, rule in metrics.items():
        cells += _metric_cells(name, parts[name], rule, level, min_clusters)
    first = next(iter(metrics))
    return Comparison(
        one=one.name,
        other=other.name,
        cells=tuple(cells),
        flips=_flips(parts[first], metrics[first]),
        counts=pairs.counts,
        unlike=unlike,
        notes=(*_notes(pairs), *_notes_on(cells, one, other)),
    )


def _metric_cells(
    name: str, rows: pd.DataFrame, rule: MetricRule, level: float, least: int
) -> list[ComparedMetric]:
    def cell(part: Literal["pooled", "task", "slice"], label: str, chosen: pd.DataFrame) -> ComparedMetric:
        return _cell(name, part, label, chosen, rule, level, least)

    pooled = cell("pooled", "all tasks", rows)
    tasks = [cell("task", str(task), part) for task, part in rows.groupby("task", sort=True, observed=True)]
    adjusted = holm([np.nan if one.p is None else one.p for one in tasks]).tolist()
    slices = []
    for column in SLICES:
        values = [v for v in rows[column].unique() if v is not None and v == v]
        if len(values) > 1:
            slices += [
                cell("slice", f"{column} = {v}", rows[rows[column] == v]) for v in sorted(values, key=str)
            ]
    return [
        replace(pooled, adjusted=pooled.p),
        *(
            replace(one, adjusted=None if one.p is None else p)
            for one, p in zip(tasks, adjusted, strict=True)
        ),
        *slices,
    ]


def _cell(
    metric: str,
    part: Literal["pooled", "task", "slice"],
    name: str,
    rows: pd.DataFrame,
    rule: MetricRule,
    level: float,
    least: int,
) -> ComparedMetric:
    fills = difference(rows, rule, coverage=level, min_clusters=least)
    tests = to_tests([[one] for one in fills.estimates])
    low, high = (None if np.isnan(b[0]) else float(b[0]) for b in worst_case_bounds(tests, level=level))
    p = None
    if low is not None:
        down = float(drop_p_values(tests)[0])
        up = float(drop_p_values(replace(tests, value=-tests.value))[0])
        p = min(1.0, 2 * min(down, up))
    change = rule.sign * (rows["value"] - rows["against"]).dropna().to_numpy()
    n = max(len(change), 1)
    return ComparedMetric(
        metric=metric,
        part=part,
        name=name,
        difference=fills.observed,
        low=low,
        high=high,
        p=p,
        adjusted=None,
        won=float((change > 0).sum() / n),
        lost=float((change < 0).sum() / n),
        tied=float((change == 0).sum() / n),
        n=fills.n,
        clusters=fills.clusters,
        missing=fills.missing,
        why=fills.why,
    )


def _flips(rows: pd.DataFrame, rule: MetricRule) -> tuple[Flip, ...]:
    both = rows.dropna(subset=["value", "against"])
    change = rule.sign * (both["value"] - both["against"])
    order = change[change != 0].sort_values(kind="stable").index
    chosen = both.loc[order]
    return tuple(
        Flip(task=t, sample_id=s, metric=m, before=float(b), after=float(a), change=float(c))
        for t, s, m, b, a, c in zip(
            chosen["task"],
            chosen["sample_id"],
            chosen["metric"],
            chosen["against"],
            chosen["value"],
            change.loc[order],
            strict=True,
        )
    )


def _notes(pairs: Pairs) -> tuple[str, ...]:
    said = [f"compared on {pairs.counts}"]
    if not pairs.linked:
        said.append(
            "nothing says which samples vary together (cluster, speaker, transcript, contrast_group); each "
            "counts as independent"
        )
    return tuple(said)


def _notes_on(cells: Sequence[ComparedMetric], one: Run, other: Run) -> list[str]:
    """Return what must be known to read some of the numbers."""
    said = []
    timed = list(dict.fromkeys(cell.metric for cell in cells if cell.metric in TIMES))
    if timed and (why := latency_not_comparable(other, one) or latency_not_comparable(one, other)):
        said.append(f"{', '.join(timed)}: no fair race: {why}")
    if any(cell.tied == 1.0 and cell.low is not None for cell in cells):
        said.append(
            "where every pair is tied, nothing changed; the interval is what so few clusters could hide, on "
            "the metric's whole range"
        )
    return said
