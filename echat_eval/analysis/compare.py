"""Comparison of a candidate with a baseline, paired by sample: pooled, per task, and by secondary slices."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from echat_eval.analysis.bounds import to_tests, two_sided_p_values
from echat_eval.analysis.differences import difference
from echat_eval.analysis.frames import over_all_tasks, several_tasks
from echat_eval.analysis.metric_rule import cap_note, with_cap
from echat_eval.analysis.pairs import Pairs, pair
from echat_eval.analysis.runs import differences, latency_not_comparable, live_modes_differ
from echat_eval.errors import UsageError
from echat_eval.stats import holm
from echat_eval.store.comparable import not_comparable
from echat_eval.store.finish import finish_command

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import pandas as pd

    from echat_eval.analysis.metric_rule import MetricRule
    from echat_eval.analysis.runs import ScoredSystem
    from echat_eval.stats import Estimate, Sentences

__all__ = ["ComparedMetric", "Comparison", "Flip", "compare", "require_comparable"]

#: Metrics that depend on the load of the machine.
LATENCY_METRICS = ("seconds", "first_audio_seconds", "rtf")
SLICES = ("source", "language", "label")


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedMetric:
    """One difference.

    Attributes:
        metric: name of the metric.
        part: "pooled" over all tasks, one "task", or a "slice" (secondary: not adjusted, decides nothing).
        name: the task, or a slice such as "source = real".
        difference: candidate minus baseline, oriented so that above 0 is better; None: cannot tell.
        low, high: interval of the difference, widened for missing values; None: cannot tell.
        p: two-sided p-value at the least favourable imputation.
        adjusted: Holm over the tasks of the metric; the pooled difference is a single test; None for slices.
        won, lost, tied: shares of the shared samples with values, 0 to 1.
        n, clusters, missing: rows, clusters and missing rows behind the difference.
        why: reason for "cannot tell".
        design: the clusters in words, such as "30 speakers x 10 sentences, crossed".
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
    design: str


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
    """All differences between a baseline and a candidate.

    Attributes:
        baseline, candidate: names; differences are candidate minus baseline.
        cells: pooled, tasks and slices of each metric.
        flips: samples that differ in the first metric, worst first.
        counts: number of shared samples, and of samples that only one system has.
        unlike: why the runs are not comparable, if `anyway` was set; every number is then marked.
        notes: remarks needed to read the numbers.
    """

    baseline: str
    candidate: str
    cells: tuple[ComparedMetric, ...]
    flips: tuple[Flip, ...]
    counts: str
    unlike: tuple[str, ...]
    notes: tuple[str, ...]


def require_comparable(runs: Sequence[ScoredSystem], *, anyway: bool) -> tuple[str, ...]:
    """Return the reasons why runs are not comparable, or raise.

    Raises:
        UsageError: their tasks, judges, rubrics or annotators differ, and `anyway` is not set.
    """
    reasons = tuple(differences(*runs))
    if reasons and not anyway:
        raise UsageError(
            f"{not_comparable(reasons)}, or add --anyway to compare them with every number marked"
        )
    return reasons


def compare(
    baseline: ScoredSystem,
    candidate: ScoredSystem,
    *,
    metrics: Mapping[str, MetricRule],
    level: float = 0.95,
    min_clusters: int = 2,
    anyway: bool = False,
    sentences: Sentences = "random",
    own_scales: Collection[str] = (),
) -> Comparison:
    """Compare two systems on the samples they share.

    Args:
        baseline: the run to compare with.
        candidate: the run to compare.
        metrics: name -> direction and range; the flips are those of the first metric.
        level: coverage of the intervals.
        min_clusters: with fewer clusters a difference has no interval.
        anyway: compare runs whose tasks or instruments differ, and mark every number.
        sentences: "fixed" if results need hold for these sentences only (see `stats.factors`).
        own_scales: metrics whose scale differs between tasks: no difference over several tasks is printed.

    Raises:
        UsageError: the runs are not comparable and `anyway` is not set; or only latency is compared, of live
            systems in different modes.
        BadData: no shared samples, or a metric is absent from one run.
    """
    unlike = require_comparable([baseline, candidate], anyway=anyway)
    metrics, refused = _with_one_clock(metrics, baseline, candidate, anyway=anyway)
    pairs = pair(candidate.frame, baseline.frame, metrics=list(metrics), sentences=sentences)
    rows_of = dict(list(pairs.frame.groupby("metric", sort=False, observed=True)))
    cells: list[ComparedMetric] = []
    absent = [name for name in metrics if name not in rows_of]
    caps, design = [], ""
    for name, rule in metrics.items():
        if name in rows_of:
            capped = with_cap(name, rule, rows_of[name][["value", "against"]])
            found = _metric_cells(name, rows_of[name], capped, level, min_clusters)
            caps.append(cap_note(name, capped, rule, found[0].missing))
            design = design or found[0].design
            cells += found[1:] if name in own_scales and several_tasks(rows_of[name]) else found
    first = next(name for name in metrics if name in rows_of)
    return Comparison(
        baseline=baseline.name,
        candidate=candidate.name,
        cells=tuple(cells),
        flips=_flips(rows_of[first], metrics[first]),
        counts=pairs.counts,
        unlike=unlike,
        notes=(
            *_notes(pairs, design, sentences),
            *refused,
            *(f"'{name}' is not compared: the two systems share no sample of it" for name in absent),
            *_averages(metrics),
            *_tasks_only(cells),
            *_notes_on(cells, baseline, candidate),
            *filter(None, caps),
            *_missing_notes(pairs.frame, (baseline, candidate)),
        ),
    )


def _with_one_clock(
    metrics: Mapping[str, MetricRule], baseline: ScoredSystem, candidate: ScoredSystem, *, anyway: bool
) -> tuple[Mapping[str, MetricRule], list[str]]:
    """Return the metrics without latency whose clocks differ, and why those are left out.

    Raises:
        UsageError: no metric is left.
    """
    why = "" if anyway else live_modes_differ(candidate, baseline)
    timed = [name for name in metrics if why and name in LATENCY_METRICS]
    if not timed:
        return metrics, []
    reason = f"{', '.join(timed)}: not compared: {why}"
    if len(timed) == len(metrics):
        raise UsageError(f"{reason}; --anyway prints them beside each other")
    return {name: rule for name, rule in metrics.items() if name not in timed}, [reason]


def _metric_cells(
    name: str, rows: pd.DataFrame, rule: MetricRule, level: float, min_clusters: int
) -> list[ComparedMetric]:
    def cell(part: Literal["pooled", "task", "slice"], label: str, selected: pd.DataFrame) -> ComparedMetric:
        return _cell(name, part, label, selected, rule, level, min_clusters)

    pooled = cell("pooled", "all tasks", over_all_tasks(rows))
    tasks = [cell("task", str(task), part) for task, part in rows.groupby("task", sort=True, observed=True)]
    adjusted = holm([np.nan if task.p is None else task.p for task in tasks]).tolist()
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
            replace(task, adjusted=None if task.p is None else p)
            for task, p in zip(tasks, adjusted, strict=True)
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
    min_clusters: int,
) -> ComparedMetric:
    imputations = difference(rows, rule, coverage=level, min_clusters=min_clusters)
    tests = to_tests([[estimate] for estimate in imputations.estimates])
    low, high = imputations.bounds
    p = None if low is None else float(two_sided_p_values(tests)[0])
    change = rule.sign * (rows["value"] - rows["against"]).dropna().to_numpy()
    n = max(len(change), 1)
    return ComparedMetric(
        metric=metric,
        part=part,
        name=name,
        difference=imputations.observed,
        low=low,
        high=high,
        p=p,
        adjusted=None,
        won=float((change > 0).sum() / n),
        lost=float((change < 0).sum() / n),
        tied=float((change == 0).sum() / n),
        n=imputations.n,
        clusters=imputations.clusters,
        missing=imputations.missing,
        why=imputations.why,
        design="" if imputations.design is None else str(imputations.design),
    )


def _flips(rows: pd.DataFrame, rule: MetricRule) -> tuple[Flip, ...]:
    both = rows.dropna(subset=["value", "against"])
    change = rule.sign * (both["value"] - both["against"])
    order = change[change != 0].sort_values(kind="stable").index
    flipped = both.loc[order]
    return tuple(
        Flip(task=t, sample_id=s, metric=m, before=float(b), after=float(a), change=float(c))
        for t, s, m, b, a, c in zip(
            flipped["task"],
            flipped["sample_id"],
            flipped["metric"],
            flipped["against"],
            flipped["value"],
            change.loc[order],
            strict=True,
        )
    )


def _notes(pairs: Pairs, design: str, sentences: Sentences) -> tuple[str, ...]:
    fixed = "; sentences are fixed: the result holds for these only" * (sentences == "fixed")
    notes = [f"compared on {pairs.counts}", f"design: {design}{fixed}"]
    if not pairs.linked:
        notes.append(
            "no column (cluster, speaker, transcript, contrast_group) links samples that vary together; each "
            "counts as independent"
        )
    return tuple(notes)


def _averages(metrics: Mapping[str, MetricRule]) -> list[str]:
    """Return one line on the metrics that are no plain means over samples."""
    meaning = {"ratio": "sum(value x weight) / sum(weight)", "macro": "mean of the labels' means"}
    lines = []
    for average, formula in meaning.items():
        if names := [name for name, rule in metrics.items() if rule.average == average]:
            lines.append(f"{', '.join(names)}: {formula}")
    return lines


def _tasks_only(cells: Sequence[ComparedMetric]) -> list[str]:
    """Return one line on the metrics without a difference over all tasks."""
    pooled = {cell.metric for cell in cells if cell.part == "pooled"}
    names = [name for name in dict.fromkeys(cell.metric for cell in cells) if name not in pooled]
    return [f"{', '.join(names)}: by task only; each task has a scale of its own"] if names else []


def _missing_notes(rows: pd.DataFrame, sides: tuple[ScoredSystem, ScoredSystem]) -> list[str]:
    """Return how to get the missing rows of the baseline and of the candidate."""
    columns = (("against_state", sides[0]), ("state", sides[1]))
    lacking = [side for column, side in columns if (rows[column] == "missing").any()]
    commands = dict.fromkeys(finish_command(side.folder) for side in lacking)
    return [f"to get missing rows: {'; '.join(commands)}"] if commands else []


def _notes_on(cells: Sequence[ComparedMetric], baseline: ScoredSystem, candidate: ScoredSystem) -> list[str]:
    """Return remarks on adjusted p-values, on latency metrics and on tied pairs."""
    notes = []
    if any(cell.part == "task" and cell.adjusted is not None for cell in cells):
        notes.append(
            "p adj. is adjusted over the tasks of a metric (Holm); intervals are not: each covers by itself"
        )
    timed = list(dict.fromkeys(cell.metric for cell in cells if cell.metric in LATENCY_METRICS))
    if timed and (
        why := latency_not_comparable(candidate, baseline) or latency_not_comparable(baseline, candidate)
    ):
        notes.append(f"{', '.join(timed)}: not comparable: {why}")
    if any(cell.tied == 1.0 and cell.low is not None for cell in cells):
        notes.append(
            "where every pair is tied, nothing changed; the interval covers what this number of clusters "
            "cannot exclude on the metric's range"
        )
    return notes
