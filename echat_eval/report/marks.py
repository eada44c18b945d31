"""Marks of the best and second-best numbers of a table, if paired tests support them.

Every pair of systems in every column is one test: the difference on shared samples, with cluster-robust
standard error and degrees of freedom (`stats.cluster_mean`, for ratios `stats.ratio_difference`, for macro
recalls `stats.macro_mean`). All tests of one table are one family, adjusted by Holm's step-down method. A
pair with a missing row has no test, so no mark depends on the value of a missing row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np

from echat_eval.labels import gold_label
from echat_eval.leaderboard.build import OVERALL
from echat_eval.stats import cluster_mean, holm, label_strata, macro_mean, ratio_difference
from echat_eval.stats.factors import Unit, units_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from echat_eval.records import Metric, Score
    from echat_eval.report.runs import MergedRuns

__all__ = ["ALPHA", "PairTest", "marks_of", "pair_tests", "t_test_p"]

#: A mark needs an adjusted p below this.
ALPHA = 0.05

Mark = Literal["best", "second"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTest:
    """One comparison of two systems in one column.

    Attributes:
        column: a task, or OVERALL.
        better, worse: by the mean difference over shared samples; equal systems keep their order.
        difference: better minus worse, oriented by the metric's direction, so that it is >= 0.
        p: two-sided, unadjusted; None: cannot tell.
        adjusted: Holm over all tests of the table; None if `p` is None.
        n: shared samples.
    """

    column: str
    better: str
    worse: str
    difference: float
    p: float | None
    adjusted: float | None
    n: int


def t_test_p(difference: float, se: float | None, df: float | None) -> float | None:
    """Return the two-sided p-value of a difference by Student's t; None if nothing varied."""
    from scipy.special import stdtr

    if se is None or df is None or se == 0.0:
        return None
    return float(2 * stdtr(df, -abs(difference / se)))


def pair_tests(
    runs: MergedRuns, metric: Metric, systems: Sequence[str], columns: Sequence[str]
) -> list[PairTest]:
    """Return every test of one table, adjusted as one family."""
    cluster = units_of(list(runs.samples.values()))
    tests = [
        test
        for column in columns
        for first, second in combinations(systems, 2)
        if (test := _test(runs, metric, column, (first, second), cluster)) is not None
    ]
    # A pair without a p-value stays in the family with p = 1.
    adjusted = holm([1.0 if test.p is None else test.p for test in tests]).tolist() if tests else []
    return [
        PairTest(
            column=t.column,
            better=t.better,
            worse=t.worse,
            difference=t.difference,
            p=t.p,
            adjusted=None if t.p is None else p,
            n=t.n,
        )
        for t, p in zip(tests, adjusted, strict=True)
    ]


def _test(
    runs: MergedRuns,
    metric: Metric,
    column: str,
    pair: tuple[str, str],
    cluster: Mapping[tuple[str, str], Unit],
) -> PairTest | None:
    """Return one unadjusted test; None if the two systems share no sample."""
    shared: list[tuple[Score, Score]] = []
    groups, missing = [], False
    for key in runs.samples:
        if column not in (OVERALL, key[0]):
            continue
        a, b = (runs.scores.get((system, *key), {}).get(metric.name) for system in pair)
        missing = missing or any(score is not None and score.state == "missing" for score in (a, b))
        if a is not None and b is not None and a.value is not None and b.value is not None:
            shared.append((a, b))
            groups.append(cluster[key])
    if not shared:
        return None
    first, second = (np.array([s.value for s in side]) for side in zip(*shared, strict=True))
    if metric.average == "ratio":
        ours, theirs = ([s.weight for s in side] for side in zip(*shared, strict=True))
        estimate = ratio_difference(first, ours, second, theirs, groups)
    elif metric.average == "macro recall":
        samples = [runs.samples[a.task, a.sample_id] for a, _ in shared]
        strata = label_strata([gold_label(s.cues, s.asks) for s in samples])
        estimate = macro_mean(first - second, strata, groups)
    else:
        estimate = cluster_mean(first - second, groups)
    gain = estimate.value if metric.higher_is_better else -estimate.value
    better, worse = pair if gain >= 0 else pair[::-1]
    p = None if missing else t_test_p(estimate.value, estimate.se, estimate.df)
    return PairTest(
        column=column,
        better=better,
        worse=worse,
        difference=math.fabs(gain),
        p=p,
        adjusted=None,
        n=len(shared),
    )


def marks_of(tests: Sequence[PairTest], systems: Sequence[str]) -> dict[tuple[str, str], Mark]:
    """Return (system, column) -> mark.

    The best system of a column is marked if it beats every other one by an adjusted test. The second is
    marked if the best is marked, and it beats every remaining system, of which there must be at least one.
    """
    marks: dict[tuple[str, str], Mark] = {}
    for column in dict.fromkeys(test.column for test in tests):
        beaten: dict[str, set[str]] = {system: set() for system in systems}
        present: set[str] = set()
        for test in (t for t in tests if t.column == column):
            present |= {test.better, test.worse}
            if test.adjusted is not None and test.adjusted < ALPHA:
                beaten[test.better].add(test.worse)
        best = next((s for s in present if len(present) > 1 and beaten[s] == present - {s}), None)
        if best is None:
            continue
        marks[best, column] = "best"
        below = present - {best}
        second = next((s for s in below if len(below) > 1 and beaten[s] == below - {s}), None)
        if second is not None:
            marks[second, column] = "second"
    return marks
