"""How one metric is compared: direction, average, range, margin."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from echat_eval.errors import BadData
from echat_eval.records import failure_value
from echat_eval.stats import CAP_FACTOR, missing_cap

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["MetricRule", "cap_fault", "cap_note", "with_cap"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRule:
    """Meaning of one metric and the requirements on it.

    Attributes:
        higher_is_better: direction; there is no default.
        low, high: the range; None where it is open. Missing values are imputed with each end.
        missing_at_most: for a metric without an upper end: the most that a missing value counts as. By
            default `stats.CAP_FACTOR` times the largest value seen, which is printed.
        worst: value of a failed row without one; by default the bad end of the range, if that is closed.
        average: "mean" over samples; "ratio" sum(value x weight) / sum(weight); "macro" mean of the labels'
            means (a macro recall, if values are 0 and 1).
        margin: a pass requires that a drop of this size is excluded in every task. None: not required.
        critical: a drop in any task that is significantly larger than the tolerance (the margin; without
            one, the policy's margin in proportion to the range) is "regress".
        at_least, at_most: limit on the candidate's level over all tasks; its 95 % interval must meet it.
        unit: as printed in tables.
    """

    higher_is_better: bool
    low: float | None = None
    high: float | None = None
    missing_at_most: float | None = None
    worst: float | None = None
    average: Literal["mean", "ratio", "macro"] = "mean"
    margin: float | None = None
    critical: bool = True
    at_least: float | None = None
    at_most: float | None = None
    unit: str = ""

    @property
    def sign(self) -> float:
        """Return 1 where higher is better, else -1."""
        return 1.0 if self.higher_is_better else -1.0

    @property
    def change_unit(self) -> str:
        """Return the unit of a difference: two percentages differ by points."""
        return "points" if self.unit == "%" else self.unit

    @property
    def width(self) -> float | None:
        """Return the width of a closed range."""
        return None if self.low is None or self.high is None else self.high - self.low

    @property
    def highest(self) -> float | None:
        """Return the most that a missing value counts as; None: unknown."""
        return self.missing_at_most if self.high is None else self.high

    @property
    def failure_value(self) -> float | None:
        """Return the value of a failed row without one; None: the row is in no mean."""
        return failure_value(self.worst, self.low, self.high, higher_is_better=self.higher_is_better)


def cap_fault(rule: MetricRule) -> str:
    """Return why a rule's stated cap of missing values makes no sense; "" if it does."""
    most, low, high = rule.missing_at_most, rule.low, rule.high
    if most is None or (high is None and low is not None and most > low):
        return ""
    return (
        f"missing_at_most is {most:g}, low {low} and high {high}; expected a number above `low` and no "
        "`high`: it is the most that a missing value counts as where the range has no upper end"
    )


def with_cap(name: str, rule: MetricRule, values: ArrayLike) -> MetricRule:
    """Return the rule with a cap for missing values, where the metric has a lower end and no upper one.

    Args:
        name: name of the metric, for messages.
        rule: with or without a stated cap.
        values: of every system and task that is compared, so that all parts of a comparison have one cap; NaN
            is none.

    Raises:
        BadData: a value is above the stated cap.
    """
    if rule.high is not None:
        return rule
    seen = np.asarray(values, dtype=np.float64)
    if rule.missing_at_most is None:
        return rule if rule.low is None else replace(rule, missing_at_most=missing_cap(seen, rule.low))
    largest = float(seen[np.isfinite(seen)].max(initial=-np.inf))
    if largest > rule.missing_at_most:
        raise BadData(
            f"metric '{name}': a value is {largest:g}, above missing_at_most ({rule.missing_at_most:g}); "
            "state a number that no value exceeds"
        )
    return rule


def cap_note(name: str, rule: MetricRule, given: MetricRule, missing: int) -> str:
    """Return what missing values of a metric without an upper end count as; "" if it makes no difference.

    Args:
        name: name of the metric.
        rule: as `with_cap` returned it.
        given: the rule before that.
        missing: number of missing rows.
    """
    if not missing or rule.high is not None or rule.missing_at_most is None:
        return ""
    how = "as stated" if given.missing_at_most is not None else f"{CAP_FACTOR:g} x the largest value seen"
    return (
        f"{name}: it has no upper end; each missing value counts as at most {rule.missing_at_most:g} ({how})"
    )
