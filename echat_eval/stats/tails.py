"""One-sided corrections of an interval for skewed and for sparse differences.

`spread` and Student's t are right for symmetric cluster sums. Two cases are not:

- *Skew.* With a long tail to one side the bound on that side is too close. The t quantile q grows there by
  excess x (2 q^2 + 1) / (6 sqrt(G)), the first term of the Edgeworth expansion of Student's t. The excess is
  the skewness of the cluster sums beyond what G symmetric clusters show by chance.
- *Few clusters moved.* If at most half of the clusters changed, the rare change that was not drawn decides.
  Then the mean's up and down parts are bounded apart: the share of clusters that move down is at most
  Clopper and Pearson's limit, each by at most the largest mean move that was seen, and the share that could
  move without any being drawn by the metric's range. Both parts are combined as by Zou and Donner, and the
  wider interval holds.
  Clusters of unequal size count as 1 / sum h^2 clusters, h being their shares of the weight.

Sources: Johnson (1978), Journal of the American Statistical Association 73(363); Hall (1992), Journal of the
Royal Statistical Society B 54(1); Korn and Graubard (1998), Survey Methodology 24(2); Zou and Donner (2008),
Statistics in Medicine 27(10). Measured by bench/gate/sparse.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.stats.spread import spread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from echat_eval.stats.spread import Spread

    Floats = NDArray[np.float64]

__all__ = ["MOVED_SHARE", "Moves", "one_sided_errors", "share_limit", "skew_factor"]

#: At most this share of the clusters moved: too few for Student's t.
MOVED_SHARE = 0.5
#: From this number of clusters every skewness counts; with half as many, what exceeds half a standard error
#: of the skewness of normal sums.
_MANY_CLUSTERS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """How far each cluster's samples moved between two systems.

    Attributes:
        up, down: (..., clusters) sums over samples of weight x the move up, and down, both at least 0, in the
            units of `spread`'s sums.
        squares: (...,) two arrays: sums over samples of the squared weighted moves up, and down.
    """

    up: Floats
    down: Floats
    squares: tuple[Floats, Floats]


def one_sided_errors(
    sums: Floats,
    shares: Floats,
    found: Spread,
    *,
    n: int,
    level: float,
    moves: Moves | None = None,
    width: float | None = None,
) -> tuple[Floats, Floats]:
    """Return the standard errors of the lower and of the upper bound, (...,) each.

    A bound is the mean minus, or plus, Student's quantile times its error.

    Args:
        sums: (..., clusters) residuals summed per cluster.
        shares: (..., clusters) each cluster's share of the weight.
        found: the spread of these sums.
        n: number of samples.
        level: coverage of the two-sided interval.
        moves: for paired differences; None for other means, which get no bound for few moves.
        width: of the metric's range; None takes the largest move that was seen on either side.
    """
    from scipy.special import stdtrit

    q = stdtrit(found.df, 0.5 + level / 2)
    groups = max(int((shares > 0).sum(axis=-1).max()), 1)
    second = (sums**2).sum(axis=-1)
    third = (sums**3).sum(axis=-1)
    skew = np.where(second > 0, third / np.where(second > 0, second, 1.0) ** 1.5, 0.0) * np.sqrt(groups)
    low = found.se * skew_factor(-skew, groups, q)
    high = found.se * skew_factor(skew, groups, q)
    if moves is None:
        return low, high
    effective = 1 / (shares**2).sum(axis=-1)
    moved = (((moves.up > 0) | (moves.down > 0)) * shares).sum(axis=-1)
    few = moved <= MOVED_SHARE
    sides = []
    for up, down, squares in (
        (moves.up, moves.down, moves.squares),
        (moves.down, moves.up, moves.squares[::-1]),
    ):
        sides.append(_distance(up, down, squares[0], shares, effective, n=n, level=level, width=width) / q)
    return np.where(few, np.maximum(low, sides[0]), low), np.where(few, np.maximum(high, sides[1]), high)


def skew_factor(skew: Floats, groups: float, q: Floats) -> Floats:
    """Return how much farther a bound lies on the side of a long tail.

    Args:
        skew: (...,) skewness of the cluster sums towards that side.
        groups: number of clusters.
        q: (...,) quantile of Student's t.
    """
    chance = np.clip((_MANY_CLUSTERS - groups) / 40, 0.0, 0.5) * np.sqrt(6 / groups)
    step = (2 * q**2 + 1) / (6 * np.sqrt(groups)) / q
    return np.asarray(1 + np.maximum(0.0, skew - chance) * step)


def share_limit(count: Floats, n: Floats, tail: float) -> Floats:
    """Return the upper limit of a share, by Clopper and Pearson; neither number need be whole."""
    from scipy.special import betaincinv

    rest = np.maximum(n - count, 1e-9)
    return np.asarray(np.where(n - count <= 1e-9, 1.0, betaincinv(count + 1, rest, 1 - tail)))


def _distance(
    up: Floats,
    down: Floats,
    squares: Floats,
    shares: Floats,
    effective: Floats,
    *,
    n: int,
    level: float,
    width: float | None,
) -> Floats:
    """Return how far the lower bound lies below the mean if few clusters moved."""
    from scipy.special import stdtrit

    tail = (1 - level) / 2
    sizes = np.where(shares > 0, n * shares, 1.0)
    largest = (down / sizes).max(axis=-1)
    unseen = np.maximum(largest, (up / sizes).max(axis=-1)) if width is None else width
    gone = ((down > 0) * shares).sum(axis=-1) * effective
    mean_up, mean_down = up.sum(axis=-1) / n, down.sum(axis=-1) / n
    limit = np.maximum(
        largest * share_limit(gone, effective, tail),
        unseen * share_limit(np.zeros_like(gone), effective, tail),
    )
    residuals = up - mean_up[..., None] * n * shares
    part = spread(residuals, shares, squares=np.maximum(squares - n * mean_up**2, 0.0), n=n)
    half_up = np.minimum(np.nan_to_num(stdtrit(part.df, 0.5 + level / 2) * part.se), mean_up)
    return np.asarray(np.sqrt(half_up**2 + (np.maximum(limit, mean_down) - mean_down) ** 2))
