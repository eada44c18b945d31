"""Bounds and one-sided p-values over many differences at once, at the least favourable imputation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.stats import Estimate

__all__ = ["Tests", "drop_p_values", "to_tests", "two_sided_p_values", "worst_case_bounds"]
if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tests:
    """Oriented differences (above 0 is better), or levels, under test.

    Attributes:
        value, se, df: (imputations, ..., tests). NaN in `se` or `df`: cannot tell. `se` 0: nothing varied.
        se_low, se_high: standard errors of the lower and the upper bound, likewise; None: both are `se`.
    """

    value: Floats
    se: Floats
    df: Floats
    se_low: Floats | None = None
    se_high: Floats | None = None

    @property
    def of_bounds(self) -> tuple[Floats, Floats]:
        """Return the standard errors of the lower and the upper bound."""
        low = self.se if self.se_low is None else self.se_low
        return low, self.se if self.se_high is None else self.se_high

    def turned(self) -> Tests:
        """Return the tests of the negated values."""
        low, high = self.of_bounds
        return Tests(value=-self.value, se=self.se, df=self.df, se_low=high, se_high=low)

    def imputation(self, number: int) -> Tests:
        """Return the tests under one imputation only."""
        only = slice(number, number + 1)
        low, high = self.of_bounds
        return Tests(
            value=self.value[only],
            se=self.se[only],
            df=self.df[only],
            se_low=low[only],
            se_high=high[only],
        )


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

    se, low, high = column("se"), column("se_low"), column("se_high")
    return Tests(
        value=column("value"),
        se=se,
        df=column("df"),
        se_low=np.where(np.isnan(low), se, low),
        se_high=np.where(np.isnan(high), se, high),
    )


def worst_case_bounds(tests: Tests, *, level: float) -> tuple[Floats, Floats]:
    """Return the lowest lower and the highest upper bound over the imputations.

    Both have shape (..., tests); NaN: cannot tell.
    """
    from scipy.special import stdtrit

    q, (low, high) = stdtrit(tests.df, 0.5 + level / 2), tests.of_bounds
    return (tests.value - q * low).min(axis=0), (tests.value + q * high).max(axis=0)


def drop_p_values(tests: Tests, *, tolerance: Floats | float = 0.0) -> Floats:
    """Return one-sided p-values of "not worse than -tolerance", the largest over the imputations.

    Shape (..., tests); 1 where the test cannot be made.
    """
    from scipy.special import stdtr

    shifted = tests.value + tolerance
    se = tests.of_bounds[1]
    constant = se == 0
    t = shifted / np.where(constant, 1.0, se)
    p = np.where(constant, np.where(shifted < 0, 0.0, 1.0), stdtr(tests.df, t))
    return np.asarray(np.nan_to_num(p, nan=1.0).max(axis=0))


def two_sided_p_values(tests: Tests) -> Floats:
    """Return two-sided p-values of "no difference", the largest over the imputations, shape (..., tests)."""
    smaller = np.minimum(drop_p_values(tests), drop_p_values(tests.turned()))
    return np.asarray(np.minimum(1.0, 2 * smaller))


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
