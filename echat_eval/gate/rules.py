"""How tests and limits become one outcome; the arithmetic of the gate, for one run or a batch of them.

    pass         every rule holds: the pooled primary difference's lower bound is above -margin, and so on
    regress      not pass, and some critical difference lies below 0 (Holm over the family of them), or a
                 hard limit is broken
    cannot tell  anything else

The first axis of every estimate is the *fill*: what was observed, every missing value at its worst, every
missing value at its best. A rule holds, and a drop is sure, only if that is so under each of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from echat_eval.errors import Exit
from echat_eval.stats import Estimate, detectable_difference, holm

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
    """What became of one rule.

    Attributes:
        name: what is asked, such as "empathy, pooled: drop below 3".
        kind: "primary", "margin", "guard", "floor", "share" or "latency".
        state: "holds", "broken", or "open" where the data cannot tell.
        value, low, high: the number the rule is about, and its interval; None: cannot tell.
        p: Holm-adjusted p-value of a drop; None where the rule makes no test.
        detail: one sentence for people.
        n, clusters: what the number rests on.
        blocking: for a guard that is open: a drop beyond the tolerance may hide behind missing values.
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


def outcomes(
    *, holds: NDArray[np.bool_], drop_p: Floats, broken: NDArray[np.bool_], family_error: float
) -> NDArray[np.int64]:
    """Return the exit code of every run of a batch.

    Args:
        holds: (..., rules) every rule that must hold for a pass.
        drop_p: (..., tests) p-values of the critical differences, not yet adjusted.
        broken: (..., limits) hard limits that are broken.
        family_error: chance of any false alarm among the critical differences that is borne.
    """
    dropped = (holm(drop_p) <= family_error).any(axis=-1)
    passed = holds.all(axis=-1)
    regressed = ~passed & (dropped | broken.any(axis=-1))
    return np.where(passed, int(Exit.DONE), np.where(regressed, int(Exit.REGRESS), int(Exit.CANNOT_TELL)))


def min_detectable(estimate: Estimate | None, *, level: float, power: float) -> float | None:
    """Return the smallest detectable difference a run like this one can promise, or None."""
    if estimate is None or not estimate.se or estimate.df is None:
        return None
    return float(detectable_difference(estimate.se, estimate.df, level=level, power=power, limit=0.8))
