"""How one metric is compared: direction, average, range, margin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from echat_eval.records import failure_value

__all__ = ["MetricRule"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRule:
    """Meaning of one metric and the requirements on it.

    Attributes:
        higher_is_better: direction; there is no default.
        low, high: the range; None where it is open. Missing values are imputed with each end.
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
    def width(self) -> float | None:
        """Return the width of a closed range."""
        return None if self.low is None or self.high is None else self.high - self.low

    @property
    def failure_value(self) -> float | None:
        """Return the value of a failed row without one; None: the row is in no mean."""
        return failure_value(self.worst, self.low, self.high, higher_is_better=self.higher_is_better)
