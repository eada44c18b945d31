"""Looks at a run that grows: how much error each look may spend.

Lan and DeMets' spending function of the O'Brien-Fleming type. The statistic at information fraction t behaves
as Brownian motion; the boundary of each look is where the chance to cross it, and none before, is what the
function spends between the looks. The tails are used with Student's t, whose quantiles are wider where few
clusters have been asked. Looks that share levels of a second factor correlate more than Brownian motion does,
by which their joint error can only become smaller (Slepian).

A bound at the level of its look is a repeated confidence bound: over all looks together it misses the truth
as often as one look's bound at the whole error, whenever the run stops.

Sources: Lan and DeMets (1983), Biometrika 70(3); Armitage, McPherson and Rowe (1969), Journal of the Royal
Statistical Society A 132(2); Jennison and Turnbull (1989), the same B 51(3).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from echat_eval.errors import BadData

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["look_tails", "planned_looks", "spent_error"]

#: Points of the grid over the score, and how many standard deviations it reaches.
_POINTS, _REACH = 801, 9.0
MOST_LOOKS = 5
FEWEST_CLUSTERS = 10


def planned_looks(clusters: int, *, most: int = MOST_LOOKS, fewest: int = FEWEST_CLUSTERS) -> tuple[int, ...]:
    """Return the numbers of clusters at which a run is looked at: equal steps, and at least `fewest` each.

    >>> planned_looks(100), planned_looks(24), planned_looks(12)
    ((20, 40, 60, 80, 100), (12, 24), (12,))
    """
    looks = max(1, min(most, clusters // fewest))
    return tuple(round(clusters * (k + 1) / looks) for k in range(looks))


def spent_error(fraction: float, error: float) -> float:
    """Return the one-sided error that may have been spent at an information fraction.

    >>> round(spent_error(1.0, 0.025), 6)
    0.025
    """
    return float(2 * ndtr(ndtri(error / 2) / np.sqrt(fraction)))


@lru_cache(maxsize=64)
def _tails(fractions: tuple[float, ...], error: float) -> tuple[float, ...]:
    tails = []
    grid = density = np.array([])
    before = spent = 0.0
    for t in fractions:
        goal, step = spent_error(t, error) - spent, np.sqrt(t - before)

        def crossing(
            bound: float, t: float = t, step: float = step, grid: Floats = grid, density: Floats = density
        ) -> float:
            if not grid.size:
                return float(ndtr(-bound))
            return float((density * ndtr((grid - bound * np.sqrt(t)) / step)).sum())

        bound = brentq(lambda b, goal=goal, crossing=crossing: crossing(b) - goal, -1.0, 12.0, xtol=1e-10)
        top = bound * np.sqrt(t)
        points, weights = _simpson(-_REACH * np.sqrt(t), top)
        if grid.size:
            rising = np.exp(-0.5 * ((points[:, None] - grid) / step) ** 2) / (step * np.sqrt(2 * np.pi))
            found = (rising * density).sum(axis=1)
        else:
            found = np.exp(-0.5 * points**2 / t) / np.sqrt(2 * np.pi * t)
        grid, density = points, found * weights
        before, spent = t, spent_error(t, error)
        tails.append(float(ndtr(-bound)))
    return tuple(tails)


def look_tails(fractions: Sequence[float], error: float) -> tuple[float, ...]:
    """Return the one-sided tail of each look's boundary.

    Args:
        fractions: of the information at each look, rising, the last at most 1.
        error: one-sided error of all looks.

    Raises:
        BadData: fractions that do not rise within (0, 1].

    The O'Brien-Fleming boundaries of five looks at 0.025:

    >>> [round(float(-ndtri(tail)), 2) for tail in look_tails((0.2, 0.4, 0.6, 0.8, 1.0), 0.025)]
    [4.88, 3.36, 2.68, 2.29, 2.03]
    """
    found = tuple(float(t) for t in fractions)
    if not found or found[0] <= 0 or found[-1] > 1 or any(b <= a for a, b in pairwise(found)):
        raise BadData(f"got information fractions {found}; expected numbers that rise within (0, 1]")
    return _tails(found, float(error))


def _simpson(low: float, high: float) -> tuple[Floats, Floats]:
    """Return points and weights of Simpson's rule."""
    points = np.linspace(low, high, _POINTS)
    weights = np.full(_POINTS, 2.0)
    weights[1::2] = 4.0
    weights[[0, -1]] = 1.0
    return points, weights * (high - low) / (_POINTS - 1) / 3
