"""Ranks of several systems under one metric, from paired tests on the samples that each two of them share.

A test is the difference that `compare` prints: clusters, average, tails and missing rows are treated alike,
and a drop counts only if it does with the missing rows at their worst and at their best. Samples to which
the metric does not apply for one of two systems are in no test of these two, so a system that was scored on
the easy half of the samples is ranked by that half alone, on both sides.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from echat_eval.analysis.bounds import drop_p_values, to_tests
from echat_eval.analysis.differences import difference
from echat_eval.analysis.metric_rule import with_cap
from echat_eval.analysis.pairs import UNIT
from echat_eval.errors import BadData, UsageError
from echat_eval.stats import RankSet, equivalent, rank_sets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from echat_eval.analysis.bounds import Tests
    from echat_eval.analysis.metric_rule import MetricRule

    Floats = NDArray[np.float64]

__all__ = ["Equivalence", "Ranking", "SystemRows", "rank_systems"]


@dataclass(frozen=True, slots=True)
class SystemRows:
    """One system's rows of one metric, (samples,) each; all systems of a ranking have the same samples.

    Attributes:
        states: states of the scores; "not applicable" also for samples without a row.
        values: NaN without a value.
        weights: for a ratio.
    """

    states: NDArray[np.object_]
    values: Floats
    weights: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Equivalence:
    """Pairs of systems that are shown to differ by less than a margin, all of them with 95 % at once.

    Attributes:
        margin: in the metric's units.
        pairs: names, in the order of the systems.
    """

    margin: float
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Ranks of some systems.

    Attributes:
        sets: system -> the ranks that the data do not exclude, with simultaneous coverage.
        samples: system -> number of samples that count in its mean, missing ones included.
        fewest: system -> the smallest number of samples that it shares with another system.
        equivalence: None unless a margin was given.
    """

    sets: Mapping[str, RankSet]
    samples: Mapping[str, int]
    fewest: Mapping[str, int]
    equivalence: Equivalence | None = None


def rank_systems(
    rows: Mapping[str, SystemRows],
    *,
    metric: str,
    rule: MetricRule,
    units: NDArray[np.int64],
    labels: Sequence[str | None],
    level: float = 0.95,
    margin: float | None = None,
) -> Ranking:
    """Return the confidence sets of the ranks of systems, and which are equivalent.

    Args:
        rows: system -> its rows.
        metric: name, for messages.
        rule: direction, range and average; an open upper end gets the cap of `with_cap`, over all systems.
        units: (samples, 2) speaker and sentence.
        labels: (samples,) gold labels, for a macro mean.
        level: simultaneous coverage of the sets; likewise of the equivalences.
        margin: two systems are equivalent if they differ by less, in the metric's units; None: not asked.

    Raises:
        UsageError: a margin that is not above 0.
    """
    if margin is not None and not (0 < margin < float("inf")):
        raise UsageError(f"the margin of equivalence is {margin:g}; expected a number above 0")
    names = list(rows)
    rule = with_cap(metric, rule, [value for found in rows.values() for value in found.values])
    worse, apart = (np.full((len(names), len(names)), np.nan) for _ in range(2))
    fewest = dict.fromkeys(names, len(labels))
    for (i, first), (j, second) in combinations(enumerate(names), 2):
        shared, tests = _paired(rows[first], rows[second], metric, rule, units, labels, level)
        fewest[first], fewest[second] = min(fewest[first], shared), min(fewest[second], shared)
        if tests is None:
            continue
        worse[i, j], worse[j, i] = _worse(tests), _worse(tests.turned())
        if margin is not None:
            apart[i, j] = apart[j, i] = max(_apart(tests, margin), _apart(tests.turned(), margin))
    equivalence = None
    if margin is not None:
        pairs = np.argwhere(np.triu(equivalent(apart, level=level), 1))
        equivalence = Equivalence(margin=margin, pairs=tuple((names[i], names[j]) for i, j in pairs))
    return Ranking(
        sets=dict(zip(names, rank_sets(worse, level=level), strict=True)),
        samples={name: int(_counts(found, rule).sum()) for name, found in rows.items()},
        fewest=fewest,
        equivalence=equivalence,
    )


def _counts(rows: SystemRows, rule: MetricRule) -> NDArray[np.bool_]:
    """Return which samples are in a system's mean, or would be if they were not missing."""
    counts: NDArray[np.bool_] = ~np.isnan(rows.values)
    for state in ("missing",) if rule.failure_value is None else ("missing", "failed"):
        counts |= np.asarray(rows.states == state, dtype=bool)
    return counts


def _paired(
    first: SystemRows,
    second: SystemRows,
    metric: str,
    rule: MetricRule,
    units: NDArray[np.int64],
    labels: Sequence[str | None],
    level: float,
) -> tuple[int, Tests | None]:
    """Return the number of shared samples and the tests of first minus second; None: cannot tell."""
    keep = _counts(first, rule) & _counts(second, rule)
    if not keep.any():
        return 0, None
    shared = int(keep.sum())
    columns: dict[str, NDArray[Any]] = {
        "metric": np.full(shared, metric, dtype=object),
        "value": first.values[keep],
        "against": second.values[keep],
        "weight": first.weights[keep],
        "against_weight": second.weights[keep],
        "state": first.states[keep],
        "against_state": second.states[keep],
        **{name: units[keep, column] for column, name in enumerate(UNIT)},
        "same_reply": np.zeros(shared, dtype=bool),
        "label": np.asarray(labels, dtype=object)[keep],
    }
    with suppress(BadData):  # a value outside the metric's range: no test, so the sets stay wide
        found = difference(columns, rule, coverage=level, min_clusters=2)
        return shared, to_tests([[estimate] for estimate in found.estimates])
    return shared, None


def _worse(tests: Tests) -> float:
    """Return the one-sided p-value of "the first system is not worse"."""
    return float(drop_p_values(tests)[0])


def _apart(tests: Tests, margin: float) -> float:
    """Return the one-sided p-value of "the first system is worse by the margin or more"."""
    return float(drop_p_values(tests.turned(), tolerance=-margin)[0])
