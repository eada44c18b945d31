"""Differences and levels under three fills: as observed, missing values at their worst, at their best."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import stdtrit

from echat_eval.errors import BadData
from echat_eval.stats import Estimate, cluster_mean, macro_mean, ratio_difference

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from echat_eval.analysis.metric_rule import MetricRule

    Floats = NDArray[np.float64]

__all__ = ["ImputedEstimates", "difference", "level", "share_over"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImputedEstimates:
    """One number under the three fills.

    Attributes:
        estimates: observed, missing at their worst, missing at their best. None: cannot tell.
        n: rows that count, missing ones included.
        clusters: of those rows.
        missing: how many of them miss a value on one side or the other.
        why: what cannot be told, and why; empty if it can.
    """

    estimates: tuple[Estimate | None, Estimate | None, Estimate | None]
    n: int
    clusters: int
    missing: int
    why: str = ""

    @property
    def observed(self) -> Estimate | None:
        """Return the estimate from the rows that have values."""
        return self.estimates[0]

    @property
    def widened(self) -> bool:
        """Whether missing rows leave a bound open."""
        return self.missing > 0 and None in self.estimates


@dataclass(frozen=True, slots=True)
class _Side:
    """Values and weights of one system on the rows at hand; NaN where missing."""

    value: Floats
    weight: Floats
    missing: NDArray[np.bool_]
    counts: NDArray[np.bool_]


def difference(
    rows: pd.DataFrame, rule: MetricRule, *, coverage: float, min_clusters: int
) -> ImputedEstimates:
    """Return candidate minus against, turned so that above 0 is better.

    Args:
        rows: of `Pairs.frame`, one metric, one task or several.
        rule: what the metric means.
        coverage: of the intervals.
        min_clusters: with fewer the answer is "cannot tell".
    """
    ours, theirs = _side(rows, rule, ""), _side(rows, rule, "against_")
    counts = ours.counts & theirs.counts
    bad, good = (rule.low, rule.high) if rule.higher_is_better else (rule.high, rule.low)
    gap = (ours.missing | theirs.missing) & counts
    facts = _Facts(rows, rule, counts, gap, coverage, min_clusters)

    def estimate(keep: NDArray[np.bool_], a: Floats, b: Floats) -> Estimate | None:
        clusters, x, y = facts.clusters[keep], a[keep], b[keep]
        if rule.average == "ratio":
            found = ratio_difference(x, ours.weight[keep], y, theirs.weight[keep], clusters, level=coverage)
        elif rule.average == "macro":
            found = macro_mean(x - y, facts.labels(keep), clusters, level=coverage)
        else:
            found = cluster_mean(x - y, clusters, level=coverage)
        frozen = bool(np.ptp(x) == 0 and np.ptp(y) == 0)
        return _told(found, frozen, rule, min_clusters)

    observed = estimate(counts & ~gap, ours.value, theirs.value) if (counts & ~gap).any() else None
    filled = (
        [observed, observed]
        if not gap.any()
        else [
            None
            if a is None or b is None
            else estimate(
                counts, np.where(ours.missing, a, ours.value), np.where(theirs.missing, b, theirs.value)
            )
            for a, b in ((bad, good), (good, bad))
        ]
    )
    return facts.fills([observed, *filled], rule.sign)


def level(rows: pd.DataFrame, rule: MetricRule, *, coverage: float, min_clusters: int) -> ImputedEstimates:
    """Return the candidate's own mean, not turned; arguments as in `difference`."""
    side = _side(rows, rule, "")
    bad, good = (rule.low, rule.high) if rule.higher_is_better else (rule.high, rule.low)
    gap = side.missing & side.counts
    facts = _Facts(rows, rule, side.counts, gap, coverage, min_clusters)

    def estimate(keep: NDArray[np.bool_], a: Floats) -> Estimate | None:
        x, clusters = a[keep], facts.clusters[keep]
        if rule.average == "macro":
            found = macro_mean(x, facts.labels(keep), clusters, level=coverage)
        else:
            weights = side.weight[keep] if rule.average == "ratio" else None
            found = cluster_mean(x, clusters, weights=weights, level=coverage)
        return _told(found, bool(np.ptp(x) == 0), rule, min_clusters)

    observed = estimate(side.counts & ~gap, side.value) if (side.counts & ~gap).any() else None
    filled = (
        [observed, observed]
        if not gap.any()
        else [
            None if end is None else estimate(side.counts, np.where(side.missing, end, side.value))
            for end in (bad, good)
        ]
    )
    return facts.fills([observed, *filled], 1.0)


def share_over(values: Floats, limit: float, clusters: NDArray[np.int64], *, coverage: float) -> Estimate:
    """Return the share of values above a limit; none or all of them has an interval too (see `_told`)."""
    found = cluster_mean((values > limit).astype(float), clusters, level=coverage)
    return found if found.low is not None or found.se is None else _never_varied(found, 1.0)


class _Facts:
    """The rows' clusters and labels, and what they allow to be told."""

    def __init__(
        self, rows: pd.DataFrame, rule: MetricRule, counts: Any, gap: Any, coverage: float, least: int
    ):
        self.clusters = rows["cluster"].to_numpy()
        self._labels, self._rule, self._least = rows["label"], rule, least
        self._n, self._missing = int(counts.sum()), int(gap.sum())
        self._groups = len(np.unique(self.clusters[counts]))

    def labels(self, keep: NDArray[np.bool_]) -> NDArray[Any]:
        column = self._labels.to_numpy(dtype=object)[keep]
        if any(label is None or label != label for label in column):
            raise BadData("average 'macro' needs a label in every row; add a column 'label' or use 'mean'")
        return column

    def fills(self, estimates: list[Estimate | None], sign: float) -> ImputedEstimates:
        turned = [_turned(one, sign) for one in estimates]
        why = ""
        if self._n == self._missing:
            why = "no row has a value on both sides" if self._n else "no row is applicable"
        elif self._groups < self._least:
            why = f"{self._groups} clusters; {self._least} are needed"
        elif turned[0] is None:
            why = "the values do not vary, or a label lies in one cluster"
        elif None in turned:
            why = "missing values and a metric without a closed range"
        return ImputedEstimates(
            estimates=(turned[0], turned[1], turned[2]),
            n=self._n,
            clusters=self._groups,
            missing=self._missing,
            why=why,
        )


def _side(rows: pd.DataFrame, rule: MetricRule, prefix: str) -> _Side:
    name = "against" if prefix else "value"
    state = rows[f"{prefix}state"].to_numpy(dtype=object)
    value = rows[name].to_numpy(dtype=np.float64).copy()
    unscored = (state == "failed") & np.isnan(value)
    if rule.failure_value is not None:
        value[unscored] = rule.failure_value
    outside = np.zeros(len(value), bool)
    for end, past in ((rule.low, np.less), (rule.high, np.greater)):
        if end is not None:
            outside |= past(value, end)
    if outside.any():
        raise BadData(
            f"value {value[outside][0]:g} lies outside the range {rule.low} to {rule.high} of the policy; "
            "correct the range or the table"
        )
    missing = state == "missing"
    weight = rows[f"{prefix}weight"].to_numpy(dtype=np.float64)
    other = (
        rows["weight" if prefix else "against_weight"].to_numpy(dtype=np.float64)
        if ("against_weight" in rows)
        else weight
    )
    return _Side(value, np.where(missing, other, weight), missing, missing | ~np.isnan(value))


def _told(found: Estimate, frozen: bool, rule: MetricRule, min_clusters: int) -> Estimate | None:
    """Return an estimate with an interval, or None.

    A difference that is the same in every sample has no width where the scores behind it vary: nothing
    changed, or everything moved together. Where they do not vary either (a stuck judge, a saturated metric)
    the spread is unknown, and the interval is what that many clusters can exclude on the metric's range.
    """
    if found.se is None or found.clusters < min_clusters:
        return None
    if found.low is not None:
        return found
    if not frozen:
        return replace(found, low=found.value, high=found.value)
    return None if rule.width is None else _never_varied(found, rule.width)


def _never_varied(found: Estimate, width: float) -> Estimate:
    """Return the estimate with the exact bound: how many clusters may differ when none of these did."""
    tail = (1 - found.level) / 2
    half = width * (1 - tail ** (1 / found.clusters))
    df = found.df or 1.0
    return replace(
        found, low=found.value - half, high=found.value + half, se=half / float(stdtrit(df, 1 - tail))
    )


def _turned(one: Estimate | None, sign: float) -> Estimate | None:
    if one is None or sign > 0:
        return one
    low = None if one.high is None else -one.high
    return replace(one, value=0.0 - one.value, low=low, high=None if one.low is None else -one.low)
