"""Marks of the best and second-best numbers of a table, if paired tests support them.

Every pair of systems in every column is one test: the paired difference that `compare` prints. All tests of
one table are one family, adjusted by Holm's step-down method. A pair with a missing row has no test, so no
mark depends on the value of a missing row.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Literal

from echat_eval.analysis import check_table, pair
from echat_eval.analysis.bounds import to_tests, two_sided_p_values
from echat_eval.analysis.compare_runs import metric_rule
from echat_eval.analysis.differences import difference
from echat_eval.analysis.frames import over_all_tasks
from echat_eval.analysis.runs import metric_facts, score_rows
from echat_eval.errors import BadData
from echat_eval.leaderboard.build import OVERALL
from echat_eval.stats import holm

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from echat_eval.analysis.metric_rule import MetricRule
    from echat_eval.records import Metric
    from echat_eval.report.runs import MergedRuns

__all__ = ["ALPHA", "Mark", "PairTest", "marks_of", "pair_tests"]

#: A mark needs an adjusted p below this.
ALPHA = 0.05

Mark = Literal["best", "second"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTest:
    """One comparison of two systems in one column.

    Attributes:
        column: a task, or OVERALL.
        better, worse: by the mean difference over shared samples; equal systems keep their order.
        difference: better minus worse, oriented by the metric's direction, so that it is >= 0; None: cannot
            tell.
        p: two-sided, unadjusted; None: cannot tell.
        adjusted: Holm over all tests of the table; None if `p` is None.
        n: shared samples.
    """

    column: str
    better: str
    worse: str
    difference: float | None
    p: float | None
    adjusted: float | None
    n: int


def pair_tests(
    runs: MergedRuns, metric: Metric, systems: Sequence[str], columns: Sequence[str]
) -> list[PairTest]:
    """Return every test of one table, adjusted as one family."""
    rule = metric_rule(metric.name, "", metric_facts(metric))
    found = [scores[metric.name] for scores in runs.scores.values() if metric.name in scores]
    if not found:
        return []
    table = check_table(score_rows(found, runs.samples, runs.responses, [metric]))
    tests = []
    for first, second in combinations(systems, 2):
        ours, theirs = (table[table["system"] == system] for system in (first, second))
        if ours.empty or theirs.empty:
            continue
        with suppress(BadData):  # they share no sample
            frame = pair(ours, theirs, metrics=[metric.name]).frame
            tests += [
                test
                for column in columns
                if (test := _test(frame, rule, column, (first, second))) is not None
            ]
    # A pair without a p-value stays in the family with p = 1.
    adjusted = holm([1.0 if test.p is None else test.p for test in tests]).tolist() if tests else []
    return [
        test if test.p is None else replace(test, adjusted=p) for test, p in zip(tests, adjusted, strict=True)
    ]


def _test(frame: pd.DataFrame, rule: MetricRule, column: str, systems: tuple[str, str]) -> PairTest | None:
    """Return one unadjusted test; None if the two systems share no sample with values."""
    rows = over_all_tasks(frame) if column == OVERALL else frame[frame["task"] == column]
    found = difference(rows, rule, coverage=1 - ALPHA, min_clusters=2)
    if found.n == found.missing:
        return None
    gain = None if found.observed is None else found.observed.value
    p = None
    if gain is not None and not found.missing:
        tests = to_tests([[estimate] for estimate in found.estimates])
        p = float(two_sided_p_values(tests)[0])
    better, worse = systems if gain is None or gain >= 0 else systems[::-1]
    return PairTest(
        column=column,
        better=better,
        worse=worse,
        difference=None if gain is None else math.fabs(gain),
        p=p,
        adjusted=None,
        n=found.n - found.missing,
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
