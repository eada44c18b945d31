"""Bounds and one-sided p values over many differences at once, with missing rows at their worst."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtr, stdtrit

from echat_eval.stats import Estimate

__all__ = ["Tests", "drop_p_values", "to_tests", "worst_case_bounds"]
if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


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


def worst_case_bounds(tests: Tests, *, level: float) -> tuple[Floats, Floats]:
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


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
