"""Which best and second-best numbers of a table may be marked: those that a paired test supports.

Every pair of systems in every column is one test: the difference on shared samples, with cluster-robust
standard error and Satterthwaite degrees of freedom (`stats.cluster_mean`). All tests of one table are one
family, adjusted by Holm's step-down method. A pair of which a row is missing is not tested, so no mark
depends on what a missing row would have been; nor is a ratio such as a word error rate, whose two systems
have different weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

from echat_eval.leaderboard import OVERALL, clusters_of
from echat_eval.stats import cluster_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from echat_eval.records import Metric
    from echat_eval.report.merged import MergedRuns

__all__ = ["ALPHA", "PairTest", "holm", "marks_of", "pair_tests", "sign_p"]

#: A mark needs an adjusted p below this.
ALPHA = 0.05

Mark = Literal["best", "second"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTest:
    """One comparison of two systems in one column.

    Attributes:
        column: a task, or OVERALL.
        better, worse: by the mean difference over shared samples; equal systems keep their order.
        difference: better minus worse, in the metric's own direction turned so that it is >= 0.
        p: two-sided, unadjusted; None: cannot tell.
        adjusted: after Holm over all tests of the table; None where p is.
        n: shared samples.
    """

    column: str
    better: str
    worse: str
    difference: float
    p: float | None
    adjusted: float | None
    n: int


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Return Holm's adjusted p-values; None stays None and counts as no test.

    >>> holm([0.01, 0.04, None, 0.03])
    [0.03, 0.06, None, 0.06]
    """
    order = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    adjusted: list[float | None] = [None] * len(ps)
    highest = 0.0
    for rank, (p, i) in enumerate(order):
        highest = max(highest, min(1.0, p * (len(order) - rank)))
        adjusted[i] = highest
    return adjusted


def sign_p(difference: float, se: float | None, df: float | None) -> float | None:
    """Return the two-sided p of a difference by Student's t, or None where nothing varied."""
    from scipy.special import stdtr

    if se is None or df is None or se == 0.0:
        return None
    return float(2 * stdtr(df, -abs(difference / se)))


def pair_tests(
    runs: MergedRuns, metric: Metric, systems: Sequence[str], columns: Sequence[str]
) -> list[PairTest]:
    """Return every test of one table, adjusted together."""
    if metric.average != "mean":
        return []
    cluster = dict(zip(runs.samples, clusters_of(list(runs.samples.values())), strict=True))
    found = [
        test
        for column in columns
        for first, second in combinations(systems, 2)
        if (test := _test(runs, metric, column, (first, second), cluster)) is not None
    ]
    adjusted = holm([test.p for test in found])
    return [
        PairTest(
            column=t.column, better=t.better, worse=t.worse, difference=t.difference, p=t.p, adjusted=p, n=t.n
        )
        for t, p in zip(found, adjusted, strict=True)
    ]


def _test(
    runs: MergedRuns,
    metric: Metric,
    column: str,
    pair: tuple[str, str],
    cluster: Mapping[tuple[str, str], int],
) -> PairTest | None:
    """Return one unadjusted test; None where the two share no sample."""
    gaps, groups, missing = [], [], False
    for key in runs.samples:
        if column not in (OVERALL, key[0]):
            continue
        a, b = (runs.scores.get((system, *key), {}).get(metric.name) for system in pair)
        missing = missing or any(score is not None and score.state == "missing" for score in (a, b))
        if a is not None and b is not None and a.value is not None and b.value is not None:
            gaps.append(a.value - b.value)
            groups.append(cluster[key])
    if not gaps:
        return None
    estimate = cluster_mean(gaps, groups)
    gain = estimate.value if metric.higher_is_better else -estimate.value
    first, second = pair if gain >= 0 else pair[::-1]
    p = None if missing else sign_p(estimate.value, estimate.se, estimate.df)
    return PairTest(
        column=column, better=first, worse=second, difference=math.fabs(gain), p=p, adjusted=None, n=len(gaps)
    )


def marks_of(tests: Sequence[PairTest], systems: Sequence[str]) -> dict[tuple[str, str], Mark]:
    """Return (system, column) -> mark.

    The best system of a column is marked if it is better than each of the others by an adjusted test;
    the second only if the best is marked and it is better than each below it, of which there must be one.
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
