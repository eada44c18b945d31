"""Confidence sets of ranks, and equivalence, from tests of all pairs of systems.

A rank is 1 plus the number of better systems. Every pair is tested in both directions, "the first is not
worse than the second" and the reverse, and Holm's method adjusts all of these tests as one family. A system
is then worse than those that beat it and better than those it beats; the others may be on either side:

    set of a system = 1 + number that beat it ... number of systems - number that it beats

All sets hold their true ranks at once with the probability `level`, because a set is wrong only if one of
the rejections is. Equivalence is the same engine with a margin: two one-sided tests of "the systems differ
by the margin or more", Holm over the pairs.

Sources: Mogstad, Romano, Shaikh and Wilhelm (2024), Review of Economic Studies 91(1); Holm (1979), see
`families`; Schuirmann (1987), Journal of Pharmacokinetics and Biopharmaceutics 15(6). Measured by
bench/stats/ranks.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.errors import BadData
from echat_eval.stats.families import holm

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["RankSet", "equivalent", "rank_sets"]


@dataclass(frozen=True, slots=True)
class RankSet:
    """The ranks that a system can have, from `low` to `high`; 1 is best.

    >>> str(RankSet(1, 3)), str(RankSet(2, 2)), RankSet(1, 3).rank
    ('1 to 3', '2', None)
    """

    low: int
    high: int

    @property
    def rank(self) -> int | None:
        """Return the rank; None if the set holds several."""
        return self.low if self.low == self.high else None

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low} to {self.high}"


def rank_sets(p_worse: ArrayLike, *, level: float = 0.95) -> list[RankSet]:
    """Return the confidence set of every system's rank.

    Args:
        p_worse: (systems, systems) one-sided p-values, not adjusted: [i, j] is small if system i is worse
            than system j. NaN: no test, so either may be the better one. The diagonal is not read.
        level: simultaneous coverage of all sets.

    Raises:
        BadData: not a square matrix.

    >>> p = [[1.0, 1.0, 1.0], [0.9, 1.0, 1.0], [0.001, 0.001, 1.0]]  # the third is worse than both others
    >>> [str(found) for found in rank_sets(p)]
    ['1 to 2', '1 to 2', '3']
    """
    p = np.asarray(p_worse, dtype=np.float64)
    if p.ndim != 2 or p.shape[0] != p.shape[1]:
        raise BadData(f"got p-values of shape {p.shape}; expected one row and one column per system")
    worse = _rejected(p, ~np.eye(len(p), dtype=bool), level)
    beaten_by, beats = worse.sum(axis=1), worse.sum(axis=0)
    return [RankSet(1 + int(a), len(p) - int(b)) for a, b in zip(beaten_by, beats, strict=True)]


def equivalent(p_apart: ArrayLike, *, level: float = 0.95) -> NDArray[np.bool_]:
    """Return which pairs of systems are shown to differ by less than a margin, (systems, systems).

    Args:
        p_apart: (systems, systems) symmetric p-values of "they differ by the margin or more", not adjusted:
            the larger of the two one-sided p-values. NaN: no test.
        level: probability that no pair is called equivalent that differs by the margin or more.
    """
    p = np.asarray(p_apart, dtype=np.float64)
    shown = _rejected(p, np.triu(np.ones_like(p, dtype=bool), 1), level)
    return shown | shown.T


def _rejected(p: NDArray[np.float64], family: NDArray[np.bool_], level: float) -> NDArray[np.bool_]:
    """Return which tests of a family Holm's method rejects; others are not rejected."""
    rejected = np.zeros(p.shape, dtype=bool)
    if family.any():
        rejected[family] = holm(p[family]) <= 1 - level
    return rejected
