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
from scipy.special import stdtr, stdtrit

from echat_eval.errors import Exit
from echat_eval.stats import Estimate, detectable_difference, holm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = [
    "Outcome",
    "RuleKind",
    "RuleResult",
    "State",
    "Tests",
    "drop_p_values",
    "outcomes",
    "seen_after",
    "sure_bounds",
    "to_tests",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Tests:
    """Oriented differences (above 0 is better), or levels, ready to be tested.

    Attributes:
        value, se, df: (fills, ..., tests). NaN in `se` or `df`: cannot tell. `se` 0: nothing varied.
    """

    value: Floats
    se: Floats
    df: Floats

    def fill(self, number: int) -> Tests:
        """Return the tests under one fill alone."""
        one = slice(number, number + 1)
        return Tests(value=self.value[one], se=self.se[one], df=self.df[one])


def to_tests(estimates: Sequence[Sequence[Estimate | None]]) -> Tests:
    """Return (fills, tests) arrays of estimates; None is a test that cannot be made.

    An estimate with a standard error but no interval (nothing varied) keeps its `se` of 0: whether that is
    an answer is for the caller, who knows whether the scores behind it varied.
    """

    def column(name: str) -> Floats:
        return np.array(
            [[_number(getattr(one, name, None)) for one in row] for row in estimates], dtype=np.float64
        )

    return Tests(value=column("value"), se=column("se"), df=column("df"))


def sure_bounds(tests: Tests, *, level: float) -> tuple[Floats, Floats]:
    """Return the lowest lower and the highest upper bound over the fills: (..., tests) each, NaN: untold."""
    half = stdtrit(tests.df, 0.5 + level / 2) * tests.se
    return (tests.value - half).min(axis=0), (tests.value + half).max(axis=0)


def drop_p_values(tests: Tests, *, tolerance: Floats | float = 0.0) -> Floats:
    """Return one-sided p-values of "not worse than -tolerance": (..., tests), the largest over the fills.

    1 where the test cannot be made.
    """
    shifted = tests.value + tolerance
    still = tests.se == 0
    t = shifted / np.where(still, 1.0, tests.se)
    p = np.where(still, np.where(shifted < 0, 0.0, 1.0), stdtr(tests.df, t))
    return np.asarray(np.nan_to_num(p, nan=1.0).max(axis=0))


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


def seen_after(estimate: Estimate | None, *, level: float, power: float) -> float | None:
    """Return the smallest detectable difference a run like this one can promise, or None."""
    if estimate is None or not estimate.se or estimate.df is None:
        return None
    return float(detectable_difference(estimate.se, estimate.df, level=level, power=power, limit=0.8))


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
