"""The outcome from tests and limits: the arithmetic of the gate, for one run or a batch of runs.

    pass         every rule holds: the lower bound of the pooled primary difference is above -margin, etc.
    regress      not pass, and a critical difference is significantly below its tolerance (Holm over the
                 family), or a hard limit is broken
    cannot tell  anything else

The first axis of every estimate is the *imputation*: observed values only, every missing value at its worst,
every missing value at its best. A rule holds, and a drop is significant, only if that is so at each of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from echat_eval.errors import Exit
from echat_eval.stats import Estimate, detectable_difference, holm

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from echat_eval.gate.reasons import Reason

    Floats = NDArray[np.float64]

__all__ = [
    "Outcome",
    "RuleKind",
    "RuleResult",
    "State",
    "min_detectable",
    "outcomes",
]

Outcome = Literal["pass", "regress", "cannot tell"]
State = Literal["holds", "broken", "open"]
RuleKind = Literal["primary", "margin", "guard", "floor", "share", "latency"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleResult:
    """Result of one rule.

    Attributes:
        name: the requirement, such as "empathy, all tasks: drop below 3".
        kind: "primary", "margin", "guard", "floor", "share" or "latency".
        state: "holds", "broken", or "open" where the data cannot tell.
        value, low, high: the tested number and its interval; None: cannot tell.
        p: Holm-adjusted p-value of a drop; None if the rule has no test.
        detail: one sentence for the reader.
        n, clusters: number of rows and clusters behind the value.
        blocking: for an open guard: missing values may hide a drop beyond the tolerance.
        reason: why an open rule is open; None if it is not.
        open_by: how far an open rule is from holding, such as "1.2 points"; empty without a number.
        remedy: a more precise next step than the reason's (see `gate.reasons`).
    """

    name: str
    kind: RuleKind
    state: State
    value: float | None
    low: float | None
    high: float | None
    p: float | None
    detail: str
    n: int
    clusters: int
    blocking: bool = False
    reason: Reason | None = None
    open_by: str = ""
    remedy: str = ""


def outcomes(
    *, holds: NDArray[np.bool_], drop_p: Floats, broken: NDArray[np.bool_], family_error: float
) -> NDArray[np.int64]:
    """Return the exit code of every run in a batch.

    Args:
        holds: (..., rules) every rule that must hold for a pass.
        drop_p: (..., tests) p-values of drops beyond the tolerance, not yet adjusted.
        broken: (..., limits) hard limits that are broken.
        family_error: accepted probability of any false alarm among the critical differences.
    """
    dropped = (holm(drop_p) <= family_error).any(axis=-1)
    passed = holds.all(axis=-1)
    regressed = ~passed & (dropped | broken.any(axis=-1))
    return np.where(passed, int(Exit.DONE), np.where(regressed, int(Exit.REGRESS), int(Exit.CANNOT_TELL)))


def min_detectable(estimate: Estimate | None, *, level: float, power: float) -> float | None:
    """Return the smallest detectable difference of a run like this one; None: cannot tell."""
    if estimate is None or not (se := estimate.se_low or estimate.se) or estimate.df is None:
        return None
    return float(detectable_difference(se, estimate.df, level=level, power=power, limit=0.8))
