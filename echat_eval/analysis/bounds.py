"""Bounds and one-sided p-values over many differences at once, at the least favourable imputation."""

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
    """Oriented differences (above 0 is better), or levels, under test.

    Attributes:
        value, se, df: (imputations, ..., tests). NaN in `se` or `df`: cannot tell. `se` 0: nothing varied.
    """

    value: Floats
    se: Floats
    df: Floats

    def imputation(self, number: int) -> Tests:
        """Return the tests under one imputation only."""
        only = slice(number, number + 1)
        return Tests(value=self.value[only], se=self.se[only], df=self.df[only])


def to_tests(estimates: Sequence[Sequence[Estimate | None]]) -> Tests:
    """Return (imputations, tests) arrays of estimates; None marks a test that cannot be made.

    An estimate with a standard error but no interval (nothing varied) keeps its `se` of 0. The caller decides
    whether that is an answer: it depends on whether the underlying scores varied.
    """

    def column(name: str) -> Floats:
        return np.array(
            [[_number(getattr(estimate, name, None)) for estimate in row] for row in estimates],
            dtype=np.float64,
        )

    return Tests(value=column("value"), se=column("se"), df=column("df"))


def worst_case_bounds(tests: Tests, *, level: float) -> tuple[Floats, Floats]:
    """Return the lowest lower and the highest upper bound over the imputations.

    Both have shape (..., tests); NaN: cannot tell.
    """
    half = stdtrit(tests.df, 0.5 + level / 2) * tests.se
    return (tests.value - half).min(axis=0), (tests.value + half).max(axis=0)


def drop_p_values(tests: Tests, *, tolerance: Floats | float = 0.0) -> Floats:
    """Return one-sided p-values of "not worse than -tolerance", the largest over the imputations.

    Shape (..., tests); 1 where the test cannot be made.
    """
    shifted = tests.value + tolerance
    constant = tests.se == 0
    t = shifted / np.where(constant, 1.0, tests.se)
    p = np.where(constant, np.where(shifted < 0, 0.0, 1.0), stdtr(tests.df, t))
    return np.asarray(np.nan_to_num(p, nan=1.0).max(axis=0))


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
