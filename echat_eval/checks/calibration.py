"""Calibration error of a classifier, with an interval that contains 0 if it is calibrated.

The calibration error is a sum of absolute gaps, so noise alone makes it larger than 0. The interval is the
set of true errors that the data allow: the gaps of the bins lie within a distance q of the true gaps with
95 % probability, and the sum of absolute gaps cannot differ by more than that (the triangle inequality).
For a calibrated classifier the lower end is 0 in 95 % of samples; for others the interval covers at least
95 %.

q is the larger of two: that of consistency resampling, which draws for every clip whether it is right with
the stated confidence, and that of clusters with random signs, which keeps what clips of one speaker share.

Sources: Broecker and Smith (2007), Weather and Forecasting 22(3), for consistency resampling; Cameron,
Gelbach and Miller (2008), Review of Economics and Statistics 90(3), for random signs of clusters. Measured by
bench/stats/calibration.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri, stdtrit

from echat_eval.errors import BadData
from echat_eval.stats import as_design

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from echat_eval.stats.factors import Clusters

    Floats = NDArray[np.float64]

__all__ = ["Calibration", "calibration"]

#: Resamples behind an interval.
DRAWS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Expected calibration error of a classifier's confidence.

    Attributes:
        value: mean over clips of the gap of their bin between share right and confidence.
        by_chance: the mean value of a calibrated classifier with these confidences.
        low, high: 95 % interval of the true error; None with fewer than two clusters.
        n, clusters: clips and their clusters.
    """

    value: float
    by_chance: float
    low: float | None
    high: float | None
    n: int
    clusters: int


def calibration(
    confidence: Floats,
    right: Floats,
    clusters: Clusters,
    *,
    bins: int = 10,
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Calibration:
    """Return the calibration error with its interval.

    Args:
        confidence: (clips,) 0 to 1.
        right: (clips,) 1 for a correct label, 0 otherwise.
        clusters: (clips,) the cluster of each clip, or its `Unit`; where speakers and sentences cross, the
            noise of both is added.
        bins: number of bins of equal width.
        level: coverage.
        draws: resamples.
        seed: of the resamples.

    Raises:
        BadData: no clip, or a confidence outside 0 to 1.
    """
    if not len(confidence) or not ((confidence >= 0) & (confidence <= 1)).all():
        raise BadData("expected at least one clip, and confidences from 0 to 1")
    design, n, rng = as_design(clusters), len(confidence), np.random.default_rng(seed)
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    of_bin = (bin_of[:, None] == np.arange(bins)).astype(np.float64)  # (clips, bins)
    gaps = (right - confidence) @ of_bin / n
    value = float(np.abs(gaps).sum())
    calibrated = np.abs(((rng.random((draws, n)) < confidence) - confidence) @ of_bin / n).sum(axis=1)
    low = high = None
    if design.clusters >= 2:
        sizes = np.maximum(of_bin.sum(axis=0), 1.0)
        residuals = of_bin * ((right - confidence) - (gaps * n / sizes)[bin_of])[:, None]
        noise = sum((_noise(residuals, codes, draws, level, rng) for codes in design.factors), np.zeros(1))
        half = max(float(np.quantile(x, level)) for x in (calibrated, np.abs(noise).sum(axis=1)))
        low, high = max(0.0, value - half), min(1.0, value + half)
    return Calibration(
        value=value,
        by_chance=float(calibrated.mean()),
        low=low,
        high=high,
        n=n,
        clusters=design.clusters,
    )


def _noise(
    residuals: Floats, codes: NDArray[np.int64], draws: int, level: float, rng: np.random.Generator
) -> Floats:
    """Return draws of the gaps' noise, (draws, bins), from clusters with random signs.

    Few clusters show too little of it, in the tails, too: hence the factors.
    """
    groups, tail = int(codes.max()) + 1, 0.5 + level / 2
    sums = np.stack([np.bincount(codes, weights=column) for column in residuals.T], axis=1)
    factor = math.sqrt(groups / (groups - 1)) * float(stdtrit(groups - 1, tail) / ndtri(tail))
    return np.asarray(factor * rng.choice([-1.0, 1.0], (draws, groups)) @ sums / len(residuals))
