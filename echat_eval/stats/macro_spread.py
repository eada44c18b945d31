"""Uncertainty of a mean of strata means: CR2's variance and its exact degrees of freedom.

Cluster g has m_gk of the n_k samples of stratum k, and h_gk = m_gk / n_k. Its residual sum in the stratum is
e_gk. For K strata the variance of the mean of their means is

    Var = sum_g (sum_k a_gk e_gk)^2,   a_gk = 1 / (K n_k sqrt(1 - h_gk))

The terms are linear in the samples, so Satterthwaite's degrees of freedom, trace(M)^2 / trace(M^2) with M the
terms' covariance, are exact for any covariance of the samples. M is diagonal plus rank 2 K. As in `spread`,
1 / df is the mean of the two for independent samples and for the within-cluster correlation that the data
show. Where each label belongs to its own speakers, the terms of different labels are independent, and the
degrees of freedom are few where one label has few speakers.

Sources: Bell and McCaffrey (2002), Survey Methodology 28(2); Pustejovsky and Tipton (2018), Journal of
Business & Economic Statistics 36(4). Measured by bench/stats/recall.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from echat_eval.stats.spread import ALL_IN_ONE, Spread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["macro_spread"]


def macro_spread(sums: Floats, counts: Floats, *, squares: float) -> Spread:
    """Return the spread of the mean of strata means; NaN if one cluster has a whole stratum.

    Args:
        sums: (clusters, strata) residuals from the strata's means, summed per cluster and stratum.
        counts: (clusters, strata) numbers of samples.
        squares: sum of the squared residuals of samples.
    """
    shares = counts / counts.sum(axis=0)
    rho = _correlation(sums, counts, squares)
    if (shares >= ALL_IN_ONE).any():
        unknown = np.asarray(np.nan)
        return Spread(se=unknown, df=unknown, correlation=np.asarray(rho))
    weights = 1 / (counts.shape[1] * counts.sum(axis=0) * np.sqrt(1 - shares))
    variance = float(((weights * sums).sum(axis=1) ** 2).sum())
    inverse = [1 / _freedom(weights, counts, correlation) for correlation in (0.0, rho)]
    return Spread(
        se=np.asarray(np.sqrt(variance)), df=np.asarray(2 / sum(inverse)), correlation=np.asarray(rho)
    )


def _freedom(weights: Floats, counts: Floats, rho: float) -> float:
    """Return Satterthwaite's degrees of freedom for a within-cluster correlation of `rho`."""
    diagonal, left, middle = _covariance(weights, counts, rho)
    inner = middle @ left.T @ left
    trace = diagonal.sum() + np.trace(inner)
    square = (diagonal**2).sum() + 2 * np.trace(middle @ left.T @ (diagonal[:, None] * left))
    return float(trace**2 / (square + np.trace(inner @ inner)))


def _covariance(weights: Floats, counts: Floats, rho: float) -> tuple[Floats, Floats, Floats]:
    """Return d, F and C of the covariance diag(d) + F C F' of the weighted residual sums of clusters.

    d is that of the sums of samples; the rest is due to the strata's estimated means.
    """
    strata = counts.shape[1]
    own = (weights * counts).sum(axis=1, keepdims=True)
    of_cluster = (1 - rho) * weights * counts + rho * counts * own  # (clusters, strata)
    total = (1 - rho) * np.diag(counts.sum(axis=0)) + rho * counts.T @ counts
    left = np.hstack([of_cluster, weights * counts / counts.sum(axis=0)])
    nothing, unit = np.zeros((strata, strata)), np.eye(strata)
    return (weights * of_cluster).sum(axis=1), left, np.block([[nothing, -unit], [-unit, total]])


def _correlation(sums: Floats, counts: Floats, squares: float) -> float:
    """Return the within-cluster correlation that matches the ANOVA ratio of the residuals, in [0, 1]."""
    sizes, totals = counts.sum(axis=1), counts.sum(axis=0)

    def expected(rho: float) -> tuple[float, float]:
        """Return the expected squares between clusters and in all."""
        diagonal, left, middle = _covariance(np.ones_like(counts), counts, rho)
        between = diagonal + ((left @ middle) * left).sum(axis=1)
        of_means = (1 - rho) * totals + rho * (counts**2).sum(axis=0)
        return float((between / sizes).sum()), float(sizes.sum() - (of_means / totals).sum())

    (between_0, all_0), (between_1, all_1) = expected(0.0), expected(1.0)
    if not squares > 0:
        return 0.0
    ratio = float((sums.sum(axis=1) ** 2 / sizes).sum()) / squares
    slope = (between_1 - between_0) - ratio * (all_1 - all_0)
    return float(np.clip((ratio * all_0 - between_0) / slope, 0.0, 1.0)) if slope > 1e-9 else 0.0
