"""Uncertainty of a mean over clusters: standard error and degrees of freedom.

With cluster shares h_g of the weight and residual sums S_g over clusters, the variance of a mean is CR2's,
and its degrees of freedom are Satterthwaite's; both have a closed form for an intercept:

    Var = sum_g S_g^2 / (1 - h_g) / n^2
    1 / df = sum_g h_g^2 + (sum_g a_g)^2 - sum_g a_g^2,   a_g = h_g^2 / (1 - h_g)

Clusters of equal size give Student's t on the cluster means. This df assumes independent samples within a
cluster. If they correlate and the sizes differ, it is too high, and a gate that uses it passes too often
(bench/gate/simulate.py). The df that uses the within-cluster correlation estimated from the same data
(Imbens and Kolesar) is too low. Here 1 / df is the mean of the two; it equals the published df if the data
show no correlation within clusters, or if sizes are equal.

Sources: Bell and McCaffrey (2002), Survey Methodology 28(2); Imbens and Kolesar (2016), Review of Economics
and Statistics 98(4); Pustejovsky and Tipton (2018), Journal of Business & Economic Statistics 36(4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["ALL_IN_ONE", "Spread", "crossed_spread", "satterthwaite", "spread", "working_variances"]

#: Share of the weight in one cluster above which the others are too small to estimate a spread.
ALL_IN_ONE = 1 - 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Uncertainty of a mean over clusters, one number per batch entry.

    Attributes:
        se: (...,) standard error; NaN if one cluster has all the weight.
        df: (...,) degrees of freedom; NaN likewise.
        correlation: (...,) estimated within-cluster correlation, in [0, 1].
    """

    se: Floats
    df: Floats
    correlation: Floats


def spread(sums: Floats, shares: Floats, *, squares: Floats, n: int) -> Spread:
    """Return CR2 standard errors and degrees of freedom of means, for a batch at once.

    Args:
        sums: (..., clusters) residuals summed per cluster, in units where the mean's error is total / n.
        shares: (..., clusters) each cluster's share of the weight, summing to 1; broadcast over a batch.
        squares: (...,) sum of the squared residuals of samples.
        n: number of samples.
    """
    estimable = (shares < ALL_IN_ONE).all(axis=-1)
    rest = np.where(shares < ALL_IN_ONE, 1.0 - shares, 1.0)
    variance = (sums**2 / rest).sum(axis=-1) / n**2
    rho = _correlation(sums, shares, squares, n)
    sizes = n * shares
    independent = satterthwaite(shares, sizes, rest)
    correlated = satterthwaite(shares, working_variances(sizes, rho[..., None]), rest)
    return Spread(
        se=np.where(estimable, np.sqrt(variance), np.nan),
        df=np.where(estimable, 2.0 / (1.0 / independent + 1.0 / correlated), np.nan),
        correlation=rho,
    )


def crossed_spread(speakers: Spread, sentences: Spread, cells: Spread) -> Spread:
    """Return the spread of a mean over two crossed factors from the one-way spreads.

    The variance is V_speakers + V_sentences - V_cells: what varies within cells counts once. It can
    fall below what one factor alone shows, even below 0, so the larger one-way variance is its lower limit.
    The degrees of freedom are those of the factor with fewer: min(speakers, sentences) - 1 if balanced.

    Sources: Cameron, Gelbach and Miller (2011), Journal of Business & Economic Statistics 29(2); MacKinnon,
    Nielsen and Webb (2021), the same journal 39(2); Menzel (2021), Econometrica 89(5).
    """
    both = speakers.se**2 + sentences.se**2 - cells.se**2
    larger = np.maximum(speakers.se, sentences.se)
    return Spread(
        se=np.sqrt(np.maximum(both, larger**2)),
        df=np.minimum(speakers.df, sentences.df),
        correlation=np.maximum(speakers.correlation, sentences.correlation),
    )


def working_variances(sizes: Floats, rho: Floats) -> Floats:
    """Return the variances of cluster sums for a within-cluster correlation of `rho`."""
    return (1 - rho) * sizes + rho * sizes**2


def _correlation(sums: Floats, shares: Floats, squares: Floats, n: int) -> Floats:
    """Return the within-cluster correlation that matches the ANOVA ratio, in [0, 1]."""
    sizes = np.where(shares > 0, n * shares, 1.0)

    def expected(variances: Floats) -> tuple[Floats, Floats]:
        total = variances.sum(axis=-1, keepdims=True)
        of_sums = variances - 2 * shares * variances + shares**2 * total
        return (of_sums / sizes).sum(axis=-1), n - total[..., 0] / n

    between_0, within_0 = expected(n * shares)
    between_1, within_1 = expected((n * shares) ** 2)
    ratio = (sums**2 / sizes).sum(axis=-1) / np.where(squares > 0, squares, 1.0)
    slope = (between_1 - between_0) - ratio * (within_1 - within_0)
    rho = (ratio * within_0 - between_0) / np.where(slope > 1e-9, slope, 1.0)
    return np.where((slope > 1e-9) & (squares > 0), np.clip(rho, 0.0, 1.0), 0.0)


def satterthwaite(shares: Floats, variances: Floats, rest: Floats) -> Floats:
    """Return the degrees of freedom of CR2's variance for these variances of cluster sums.

    It is trace(M)^2 / trace(M^2), M the covariance of the cluster sums' residuals over sqrt(1 - share);
    M is diagonal plus rank 2, so both traces cost one pass over the clusters.
    """
    total = variances.sum(axis=-1)
    d = 1.0 / rest
    vv, vh, hh = (
        (d * a * b).sum(axis=-1) for a, b in ((variances, variances), (variances, shares), (shares, shares))
    )
    off = shares**2 * total[..., None] - 2 * shares * variances  # diagonal of the rank-2 part
    trace = (d * (variances + off)).sum(axis=-1)
    square = (d**2 * variances * (variances + 2 * off)).sum(axis=-1)
    square = square + 2 * vv * hh + 2 * vh**2 + (total * hh) ** 2 - 4 * total * vh * hh
    return np.asarray(trace**2 / np.where(square > 0, square, np.nan))
