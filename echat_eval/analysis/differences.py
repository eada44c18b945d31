"""Differences and levels under three imputations: as observed, missing at their worst, at their best."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from echat_eval.analysis.pairs import UNIT
from echat_eval.errors import BadData
from echat_eval.stats import (
    Estimate,
    as_design,
    cluster_mean,
    label_strata,
    level_mean,
    macro_mean,
    ratio_difference,
)
from echat_eval.stats.quantiles import student_quantile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from echat_eval.analysis.metric_rule import MetricRule
    from echat_eval.stats.factors import Clusters, Design

    Floats = NDArray[np.float64]
    #: Columns of `Pairs.frame`; a mapping of them does as well, so that a leaderboard needs no pandas.
    Rows = pd.DataFrame | Mapping[str, Sequence[object] | NDArray[Any]]

__all__ = ["ImputedEstimates", "difference", "level", "observed_differences", "share_over"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImputedEstimates:
    """One number under the three imputations.

    Attributes:
        estimates: observed, missing at their worst, missing at their best. None: cannot tell.
        n: rows that count, missing ones included.
        clusters: clusters of those rows.
        missing: how many of those rows have no value on one side or the other.
        why: reason for "cannot tell"; empty if every estimate exists.
        design: speakers and sentences of those rows; None without rows.
    """

    estimates: tuple[Estimate | None, Estimate | None, Estimate | None]
    n: int
    clusters: int
    missing: int
    why: str = ""
    design: Design | None = None

    @property
    def observed(self) -> Estimate | None:
        """Return the estimate from the rows that have values."""
        return self.estimates[0]

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """Return the lowest lower and the highest upper bound over the imputations; None: cannot tell."""
        lows = [None if estimate is None else estimate.low for estimate in self.estimates]
        highs = [None if estimate is None else estimate.high for estimate in self.estimates]
        known = [(a, b) for a, b in zip(lows, highs, strict=True) if a is not None and b is not None]
        if len(known) < len(self.estimates):
            return None, None
        return min(low for low, _ in known), max(high for _, high in known)

    @property
    def widened(self) -> bool:
        """Return whether missing rows leave a bound open."""
        return self.missing > 0 and None in self.estimates


@dataclass(frozen=True, slots=True)
class _Side:
    """Values and weights of one system on the given rows; NaN where missing."""

    value: Floats
    weight: Floats
    missing: NDArray[np.bool_]
    counts: NDArray[np.bool_]


def difference(
    rows: Rows,
    rule: MetricRule,
    *,
    coverage: float,
    min_clusters: int,
    design_of: Callable[[Design], Design] | None = None,
) -> ImputedEstimates:
    """Return candidate minus baseline, oriented so that above 0 is better.

    Args:
        rows: rows of `Pairs.frame`: one metric, one task or several.
        rule: direction, range and average of the metric.
        coverage: coverage of the intervals.
        min_clusters: with fewer clusters the answer is "cannot tell".
        design_of: what to make of the design of the rows that count, such as `Design.fixing`.
    """
    ours, theirs = _side(rows, rule, ""), _side(rows, rule, "against_")
    counts = ours.counts & theirs.counts
    bad, good = (rule.low, rule.highest) if rule.higher_is_better else (rule.highest, rule.low)
    missing = (ours.missing | theirs.missing) & counts
    facts = _RowFacts(rows, counts, missing, min_clusters, design_of)

    def estimate(keep: NDArray[np.bool_], a: Floats, b: Floats) -> Estimate | None:
        design, x, y = facts.design(keep), a[keep], b[keep]
        if rule.average == "ratio":
            found = ratio_difference(
                x, ours.weight[keep], y, theirs.weight[keep], design, level=coverage, width=rule.width
            )
        elif rule.average == "macro":
            found = macro_mean(
                x - y, facts.strata(keep), design, level=coverage, change=True, width=rule.width
            )
        else:
            found = cluster_mean(x - y, design, level=coverage, change=True, width=rule.width)
        same = bool(facts.same_reply[keep].all() and (x == y).all())
        ends = (None, None) if rule.width is None else (-rule.width, rule.width)
        return _with_interval(found, ends, rule.width, min_clusters, same_replies=same)

    observed = estimate(counts & ~missing, ours.value, theirs.value) if (counts & ~missing).any() else None
    at_bounds = (
        [observed, observed]
        if not missing.any()
        else [
            None
            if a is None or b is None
            else estimate(
                counts, np.where(ours.missing, a, ours.value), np.where(theirs.missing, b, theirs.value)
            )
            for a, b in ((bad, good), (good, bad))
        ]
    )
    return facts.imputed([observed, *at_bounds], rule.sign)


def observed_differences(rows: Rows, rule: MetricRule) -> tuple[NDArray[np.bool_], Floats]:
    """Return which rows of `Pairs.frame` have a value on both sides, and the differences of these rows."""
    ours, theirs = _side(rows, rule, ""), _side(rows, rule, "against_")
    keep = ours.counts & theirs.counts & ~ours.missing & ~theirs.missing
    return keep, (ours.value - theirs.value)[keep]


def level(
    rows: Rows,
    rule: MetricRule,
    *,
    coverage: float,
    min_clusters: int,
    design_of: Callable[[Design], Design] | None = None,
) -> ImputedEstimates:
    """Return the candidate's own mean, not oriented; arguments as in `difference`."""
    side = _side(rows, rule, "")
    bad, good = (rule.low, rule.highest) if rule.higher_is_better else (rule.highest, rule.low)
    missing = side.missing & side.counts
    facts = _RowFacts(rows, side.counts, missing, min_clusters, design_of)

    def estimate(keep: NDArray[np.bool_], a: Floats) -> Estimate | None:
        x, design = a[keep], facts.design(keep)
        found = level_mean(
            x,
            design,
            low=rule.low,
            high=rule.high,
            weights=side.weight[keep] if rule.average == "ratio" else None,
            strata=facts.strata(keep) if rule.average == "macro" else None,
            level=coverage,
        )
        return _with_interval(found, (rule.low, rule.high), rule.width, min_clusters)

    observed = estimate(side.counts & ~missing, side.value) if (side.counts & ~missing).any() else None
    at_bounds = (
        [observed, observed]
        if not missing.any()
        else [
            None if bound is None else estimate(side.counts, np.where(side.missing, bound, side.value))
            for bound in (bad, good)
        ]
    )
    return facts.imputed([observed, *at_bounds], 1.0)


def share_over(values: Floats, limit: float, clusters: Clusters, *, coverage: float) -> Estimate:
    """Return the share of values above a limit, with an interval in 0 to 1."""
    return level_mean((values > limit).astype(float), clusters, low=0.0, high=1.0, level=coverage)


class _RowFacts:
    """Design, labels and counts of the rows behind an estimate."""

    def __init__(
        self,
        rows: Rows,
        counts: NDArray[np.bool_],
        missing: NDArray[np.bool_],
        min_clusters: int,
        design_of: Callable[[Design], Design] | None,
    ):
        self.same_reply = np.asarray(rows["same_reply"], dtype=bool)
        self._labels, self._min_clusters = np.asarray(rows["label"], dtype=object), min_clusters
        self._n, self._missing, self._counts = int(counts.sum()), int(missing.sum()), counts
        self._counted: Design | None = None
        if counts.any():
            counted = as_design(np.stack([np.asarray(rows[name]) for name in UNIT], axis=1)).take(counts)
            self._counted = counted if design_of is None else design_of(counted)
        self._clusters = 0 if self._counted is None else self._counted.clusters

    def design(self, keep: NDArray[np.bool_]) -> Design:
        """Return the design of some of the rows that count."""
        assert self._counted is not None
        return self._counted.take(keep[self._counts])

    def strata(self, keep: NDArray[np.bool_]) -> NDArray[np.int64]:
        return label_strata(self._labels[keep].tolist())

    def imputed(self, estimates: list[Estimate | None], sign: float) -> ImputedEstimates:
        oriented = [_oriented(estimate, sign) for estimate in estimates]
        why = ""
        if self._n == self._missing:
            why = "no row has a value on both sides" if self._n else "no row is applicable"
        elif self._counted is not None and self._clusters < self._min_clusters:
            why = f"{self._counted}; {self._min_clusters} clusters are needed; {self._counted.remedy}"
        elif oriented[0] is None:
            why = "the differences do not vary and the metric's range is open, or a label lies in one cluster"
        elif None in oriented:
            why = "missing values and a metric without a closed range"
        return ImputedEstimates(
            estimates=(oriented[0], oriented[1], oriented[2]),
            n=self._n,
            clusters=self._clusters,
            design=self._counted,
            missing=self._missing,
            why=why,
        )


def _side(rows: Rows, rule: MetricRule, prefix: str) -> _Side:
    name, side = ("against", "baseline") if prefix else ("value", "candidate")
    metric = np.asarray(rows["metric"], dtype=object)
    location = f"metric '{metric[0]}' of the {side}" if len(metric) else side
    state = np.asarray(rows[f"{prefix}state"], dtype=object)
    value = np.array(rows[name], dtype=np.float64)
    unscored = (state == "failed") & np.isnan(value)
    if rule.failure_value is not None:
        value[unscored] = rule.failure_value
    outside = np.zeros(len(value), bool)
    for bound, is_beyond in ((rule.low, np.less), (rule.high, np.greater)):
        if bound is not None:
            outside |= is_beyond(value, bound)
    if outside.any():
        raise BadData(
            f"{location}: value {value[outside][0]:g} is outside the range {_range_text(rule)}; correct the "
            "range or the table"
        )
    missing = state == "missing"
    weight, counts = _weights(rows, prefix), missing | ~np.isnan(value)
    if rule.average == "ratio" and counts.any() and not weight[counts].any():
        raise BadData(
            f"{location}: every weight is 0; expected weights such as reference words, or `average: mean`"
        )
    return _Side(value, weight, missing, counts)


def _weights(rows: Rows, prefix: str) -> Floats:
    """Return the weights of one side: a missing row has the other side's; missing on both, the largest seen.

    The words of a reply that does not exist are unknown. With the largest weight, the bounds over missing
    values are the widest.
    """
    sides = [side for side in ("", "against_") if f"{side}weight" in rows]
    weight = {side: np.asarray(rows[f"{side}weight"], dtype=np.float64) for side in sides}
    missing = {side: np.asarray(rows[f"{side}state"], dtype=object) == "missing" for side in sides}
    seen = [w[~missing[side]] for side, w in weight.items()]
    largest = np.maximum(weight[prefix], np.concatenate(seen).max(initial=1.0))
    other = sides[sides.index(prefix) - 1]
    filled = np.where(missing[other], largest, weight[other])
    return np.where(missing[prefix], filled, weight[prefix])


def _range_text(rule: MetricRule) -> str:
    if rule.low is not None and rule.high is not None:
        return f"{rule.low:g} to {rule.high:g}"
    return f"from {rule.low:g}" if rule.low is not None else f"up to {rule.high:g}"


def _with_interval(
    found: Estimate,
    ends: tuple[float | None, float | None],
    width: float | None,
    min_clusters: int,
    *,
    same_replies: bool = False,
) -> Estimate | None:
    """Return an estimate with an interval between these ends, or None.

    Values that are all the same, and clusters that agree, have no spread of their own (see `means`), whether
    nothing moved or all moved together: the interval is what this number of clusters excludes on a range of
    this width. Only if all replies are the same bytes, and so are their scores, is it certain that nothing
    changed.
    """
    if found.se is None or found.clusters < min_clusters:
        return None
    if same_replies:
        return replace(found, low=0.0, high=0.0, se=0.0, se_low=0.0, se_high=0.0)
    if found.low is None and width is not None:
        found = _never_varied(found, width)
    if found.low is None or found.high is None:
        return None
    low, high = ends
    return replace(
        found,
        low=found.low if low is None else max(found.low, low),
        high=found.high if high is None else min(found.high, high),
    )


def _never_varied(found: Estimate, width: float) -> Estimate:
    """Return the estimate with the exact bound on how many clusters may differ when none of these did."""
    tail = (1 - found.level) / 2
    half = width * (1 - tail ** (1 / found.clusters))
    df = found.df or 1.0
    se = half / student_quantile(df, 1 - tail)
    return replace(found, low=found.value - half, high=found.value + half, se=se, se_low=se, se_high=se)


def _oriented(estimate: Estimate | None, sign: float) -> Estimate | None:
    if estimate is None or sign > 0:
        return estimate
    low = None if estimate.high is None else -estimate.high
    high = None if estimate.low is None else -estimate.low
    return replace(
        estimate,
        value=0.0 - estimate.value,
        low=low,
        high=high,
        se_low=estimate.se_high,
        se_high=estimate.se_low,
    )
