"""The ranks of a leaderboard: confidence sets by one metric over all tasks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.labels import gold_label
from echat_eval.stats.factors import units_of
from echat_eval.store.in_all import left_out_of_all

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from echat_eval.analysis.ranking import Ranking, SystemRows
    from echat_eval.records import Metric, Sample, Score

__all__ = ["ranking_of"]


def ranking_of(
    systems: Sequence[str],
    scores: Sequence[Score],
    samples: Mapping[tuple[str, str], Sample],
    metric: Metric,
    *,
    missing_at_most: float | None = None,
    margin: float | None = None,
) -> Ranking:
    """Return the ranking of systems by one metric over all tasks.

    A system has no rank, not even the last, if no row has a value or is missing. A sample without a row in a
    task that the system was scored on is missing; other tasks do not apply to it.

    Args:
        systems: to be ranked.
        scores: of all systems and metrics.
        samples: (task, sample id) -> sample.
        metric: decides the ranks.
        missing_at_most: cap of a missing value, if the metric has no upper end.
        margin: of equivalence, in the metric's units.
    """
    from echat_eval.analysis.compare_runs import metric_rule
    from echat_eval.analysis.ranking import rank_systems
    from echat_eval.analysis.runs import metric_facts

    of_metric = [score for score in scores if score.metric == metric.name]
    apart = left_out_of_all([metric], samples.values())
    in_all = [score for score in of_metric if not apart(score)] or of_metric
    found: dict[str, dict[tuple[str, str], Score]] = {}
    for score in in_all:
        found.setdefault(score.system, {})[score.task, score.sample_id] = score
    ranked = [
        system
        for system in systems
        if any(score.state in ("value", "missing") for score in found.get(system, {}).values())
    ]
    used = {ident for system in ranked for ident in found[system]}
    idents = [ident for ident in samples if ident in used]
    units = units_of(list(samples.values()))
    rule = metric_rule(metric.name, "", metric_facts(metric))
    return rank_systems(
        {system: _rows(found[system], idents) for system in ranked},
        metric=metric.name,
        rule=replace(rule, missing_at_most=missing_at_most) if metric.high is None else rule,
        units=np.array([units[ident] for ident in idents], dtype=np.int64).reshape(-1, 2),
        labels=[gold_label(samples[ident].cues, samples[ident].asks) for ident in idents],
        margin=margin,
    )


def _rows(scores: Mapping[tuple[str, str], Score], idents: Sequence[tuple[str, str]]) -> SystemRows:
    from echat_eval.analysis.ranking import SystemRows

    tasks = {task for task, _ in scores}
    rows = [scores.get(ident) for ident in idents]
    return SystemRows(
        states=np.array(
            [
                ("missing" if ident[0] in tasks else "not applicable") if row is None else row.state
                for ident, row in zip(idents, rows, strict=True)
            ],
            dtype=object,
        ),
        values=np.array([np.nan if row is None or row.value is None else row.value for row in rows]),
        weights=np.array([1.0 if row is None else row.weight for row in rows]),
    )
