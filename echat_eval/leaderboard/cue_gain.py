"""Cue gain: the position of a system between its floor and its ceiling, with a Fieller interval.

    gain = (system - floor) / (ceiling - floor)

0 is the same language model with the transcript only, 1 the same model with the gold labels. The gain is a
ratio of two means that share samples, so its interval is Fieller's: all g for which the mean of
(system - floor) - g (ceiling - floor) does not differ from 0. If the interval of the denominator includes 0,
floor and ceiling do not differ and the gain is undefined, with a reason.

Source: Fieller (1954), Journal of the Royal Statistical Society B 16(2).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from echat_eval.errors import BadData
from echat_eval.stats import Design, Estimate, as_design, cluster_mean
from echat_eval.stats.quantiles import student_quantile

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from echat_eval.stats.factors import Clusters

__all__ = ["Gain", "cue_gain", "paired_gain"]

Ident = TypeVar("Ident", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """A gain and its interval.

    Attributes:
        value: None if undefined.
        low, high: two-sided Fieller interval; None if undefined.
        reason: why the gain is undefined; None if it is defined.
        room: ceiling minus floor, with its interval.
        n, clusters: shared samples of system, floor and ceiling, and their clusters.
        missing: samples left out because a score of one of the three is missing; no bound covers them.
    """

    value: float | None
    low: float | None
    high: float | None
    reason: str | None
    room: Estimate
    n: int
    clusters: int
    level: float
    missing: int = 0


def paired_gain(
    system: Mapping[Ident, float],
    floor: Mapping[Ident, float],
    ceiling: Mapping[Ident, float],
    clusters: Mapping[Ident, Hashable],
    *,
    level: float = 0.95,
) -> Gain:
    """Return the gain on the samples that have a value in all three.

    Raises:
        BadData: no such sample.
    """
    shared = [ident for ident in system if ident in floor and ident in ceiling]
    if not shared:
        raise BadData("system, floor and ceiling share no sample with a value; run them on the same tasks")
    return cue_gain(
        [system[i] for i in shared],
        [floor[i] for i in shared],
        [ceiling[i] for i in shared],
        [clusters[i] for i in shared],
        level=level,
    )


def cue_gain(
    system: ArrayLike,
    floor: ArrayLike,
    ceiling: ArrayLike,
    clusters: Clusters,
    *,
    level: float = 0.95,
) -> Gain:
    """Return the gain of a system between its floor and its ceiling.

    Args:
        system, floor, ceiling: (samples,) scores of the same samples by the same judge.
        clusters: (samples,) labels or (samples, 2) units.
    """
    above = np.asarray(system, dtype=float) - np.asarray(floor, dtype=float)
    room = np.asarray(ceiling, dtype=float) - np.asarray(floor, dtype=float)
    design = as_design(clusters)
    width = cluster_mean(room, design, level=level)

    def undefined(reason: str) -> Gain:
        return Gain(
            value=None,
            low=None,
            high=None,
            reason=reason,
            room=width,
            n=width.n,
            clusters=width.clusters,
            level=level,
        )

    if width.clusters < 2:
        return undefined("one cluster gives no spread between clusters")
    if width.low is None or width.high is None:
        if width.value == 0:
            return undefined("floor and ceiling have the same scores")
    elif width.low <= 0 <= width.high:
        return undefined(
            f"ceiling minus floor is {width.value:.1f} [{width.low:.1f}, {width.high:.1f}]: "
            "its interval includes 0"
        )
    value = float(above.mean() / room.mean())
    low, high = _fieller(above, room, design, level)
    return Gain(
        value=value,
        low=low,
        high=high,
        reason=None,
        room=width,
        n=width.n,
        clusters=width.clusters,
        level=level,
    )


def _fieller(
    above: np.ndarray, room: np.ndarray, design: Design, level: float
) -> tuple[float | None, float | None]:
    """Return the roots of (N - g D)^2 = t^2 Var(N - g D), which is quadratic in g."""

    def variance(values: np.ndarray) -> float:
        return float(cluster_mean(values, design, level=level).se or 0.0) ** 2

    # The degrees of freedom of N - gD, taken at the gain itself.
    df = cluster_mean(above - above.mean() / room.mean() * room, design, level=level).df
    if df is None:
        return None, None
    t2 = student_quantile(df, 0.5 + level / 2) ** 2
    numerator, denominator = float(above.mean()), float(room.mean())
    covariance = (variance(above + room) - variance(above - room)) / 4  # by polarisation
    a = denominator**2 - t2 * variance(room)
    b = -2 * (numerator * denominator - t2 * covariance)
    c = numerator**2 - t2 * variance(above)
    discriminant = b * b - 4 * a * c
    if a <= 0 or discriminant < 0:
        return None, None
    root = math.sqrt(discriminant)
    return (-b - root) / (2 * a), (-b + root) / (2 * a)
