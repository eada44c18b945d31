"""Draws of dialogue-shaped scores: what the gate and its rivals are tried on. Needs numpy and scipy only.

Five tasks, four correlated metrics on every sample: two scores of 0 to 100 in whole points with pile-up at
both ends, two right-or-wrong ones (0 or 100). Two systems answer the same samples. Each system has its own
effect in each cluster, of a size that gives the *difference* the wanted within-cluster correlation (ICC).
Clusters are of unequal size and run through all tasks, as speakers do.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from scipy.stats import norm

TASK_LEVELS = np.array([75.0, 60.0, 55.0, 85.0, 70.0])
ITEM_SD, NOISE_SD, SHARED = 35.0, 25.0, 0.6  # SHARED: correlation of the four metrics' latent parts
METRICS = ("score", "score_2", "binary", "binary_2")
PRIMARIES = (0, 2)
MARGIN = 3.0
CLUSTERS, CORRELATIONS, SAMPLES = (6, 10, 20, 40, 100, 200), (0.0, 0.1, 0.25), (200, 600, 1400)
SHAPES = ("lognormal", "zipf")


@dataclass(frozen=True)
class Cell:
    shape: str
    clusters: int
    icc: float
    samples: int

    @property
    def name(self) -> str:
        return f"{self.shape} {self.clusters} clusters icc {self.icc} {self.samples} samples"

    @cached_property
    def sizes(self) -> np.ndarray:
        """(clusters,) samples in each: a lognormal's quantiles (sd 0.8 of the log), or 1 / rank."""
        ranks = np.arange(1, self.clusters + 1)
        weights = (
            np.exp(0.8 * norm.ppf((ranks - 0.5) / self.clusters)) if self.shape == "lognormal" else 1 / ranks
        )
        ideal = weights / weights.sum() * self.samples
        sizes: np.ndarray = np.maximum(1, np.floor(ideal)).astype(int)
        while sizes.sum() < self.samples:
            sizes[np.argmax(ideal - sizes)] += 1
        while sizes.sum() > self.samples:
            sizes[np.argmax(sizes - ideal - 1000 * (sizes == 1))] -= 1
        return sizes

    @cached_property
    def layout(self) -> tuple[np.ndarray, np.ndarray]:
        """(samples,) cluster and task of each sample, sorted by cluster, then task."""
        cluster, task = np.repeat(np.arange(self.clusters), self.sizes), np.arange(self.samples) % 5
        order = np.lexsort((task, cluster))
        return cluster[order], task[order]

    @cached_property
    def seed(self) -> list[int]:
        return [SHAPES.index(self.shape), self.clusters, int(self.icc * 100), self.samples]


def all_cells() -> list[Cell]:
    """Every cell, those that cost little first."""
    return [
        Cell(shape, g, icc, n) for n in SAMPLES for shape in SHAPES for g in CLUSTERS for icc in CORRELATIONS
    ]


def scored(latent: np.ndarray, metric: int) -> np.ndarray:
    """Return what the latent quality looks like in metric 0 to 3."""
    rounded: np.ndarray = np.clip(np.rint(latent), 0, 100)
    binary: np.ndarray = (latent > 50) * latent.dtype.type(100)
    return rounded if metric < 2 else binary


@cache
def cluster_sd(icc: float) -> np.ndarray:
    """(4,) sd of a system's effect in a cluster that gives differences this correlation within clusters."""
    if icc == 0:
        return np.zeros(4)
    rng, k = np.random.default_rng(7), 200_000
    level, other = TASK_LEVELS[np.arange(k) % 5], TASK_LEVELS[rng.permutation(k) % 5]
    item, item_2, b, c, b_2, c_2, ub, uc = rng.standard_normal((8, k))
    found = np.zeros(4)
    for metric in range(4):
        low, high = 0.0, 80.0
        for _ in range(16):
            sd = (low + high) / 2
            d = scored(level + ITEM_SD * item + NOISE_SD * c + sd * uc, metric)
            d = d - scored(level + ITEM_SD * item + NOISE_SD * b + sd * ub, metric)
            e = scored(other + ITEM_SD * item_2 + NOISE_SD * c_2 + sd * uc, metric)
            e = e - scored(other + ITEM_SD * item_2 + NOISE_SD * b_2 + sd * ub, metric)
            r = 2 * (d * e).mean() / ((d * d).mean() + (e * e).mean())
            low, high = (sd, high) if r < icc else (low, sd)
        found[metric] = sd
    return found


def expected(metric: int, sd: float, shift: float) -> float:
    """Return the exact mean over tasks of a metric whose latent has this sd and is lowered by `shift`."""
    level = TASK_LEVELS - shift
    if metric >= 2:
        return float(100 * norm.sf((50 - level) / sd).mean())
    return float(norm.sf((np.arange(1, 101) - 0.5 - level[:, None]) / sd).sum(axis=1).mean())


@cache
def shift_for(icc: float, drop: float) -> np.ndarray:
    """(4,) how far the latent goes down for the metric's mean to go down by `drop` points."""
    out = np.zeros(4)
    for metric in range(4):
        sd = float(np.sqrt(ITEM_SD**2 + NOISE_SD**2 + cluster_sd(icc)[metric] ** 2))
        low, high = -100.0, 100.0
        for _ in range(60):
            middle = (low + high) / 2
            gone = expected(metric, sd, 0) - expected(metric, sd, middle)
            low, high = (middle, high) if gone < drop else (low, middle)
        out[metric] = middle
    return out


@dataclass(frozen=True)
class Draw:
    """(4, runs, samples) float32 scores: of the run held against, an equal candidate, one `MARGIN` lower."""

    against: np.ndarray
    equal: np.ndarray
    lower: np.ndarray


def draw(cell: Cell, rng: np.random.Generator, runs: int, drop: float = MARGIN) -> Draw:
    """Draw runs of both systems; the lower candidate drops by `drop` points.

    Equal and lower candidate share their noise; no statistic mixes them.
    """
    cluster, task = cell.layout
    level = TASK_LEVELS[task].astype(np.float32)
    sd, shift = cluster_sd(cell.icc).astype(np.float32), shift_for(cell.icc, drop).astype(np.float32)
    common, own = np.float32(SHARED**0.5), np.float32((1 - SHARED) ** 0.5)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32)

    n, g = cell.samples, cell.clusters
    shared = [normal(runs, n) * common for _ in range(3)]
    shared_u = [normal(runs, g) * common for _ in range(2)]
    out = np.empty((3, 4, runs, n), np.float32)
    for m in range(4):
        item = (shared[0] + own * normal(runs, n)) * np.float32(ITEM_SD) + level
        for side in (0, 1):
            latent = (shared[1 + side] + own * normal(runs, n)) * np.float32(NOISE_SD) + item
            if sd[m] > 0:
                latent += ((shared_u[side] + own * normal(runs, g)) * sd[m])[:, cluster]
            out[side, m] = scored(latent, m)
            if side == 1 and m in PRIMARIES:
                out[2, m] = scored(latent - shift[m], m)
            elif side == 1:
                out[2, m] = out[1, m]
    return Draw(against=out[0], equal=out[1], lower=out[2])


def tries_of(cell: Cell, rng: np.random.Generator, runs: int, tries: int, *, anew: bool) -> np.ndarray:
    """(runs, tries, samples) float32 differences of candidates `MARGIN` lower in the first score.

    Args:
        cell: the sizes of the clusters and their correlation.
        rng: source of the draws.
        runs, tries: how many series of tries, and tries in each.
        anew: every try has a test set and a baseline of its own; if not, those of a series are the same.
    """
    cluster, task = cell.layout
    sd, shift = np.float32(cluster_sd(cell.icc)[0]), np.float32(shift_for(cell.icc, MARGIN)[0])
    shape = (runs, tries if anew else 1, cell.samples)

    def latent(item: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        noise = rng.standard_normal(shape, dtype=np.float32) * np.float32(NOISE_SD)
        effect = rng.standard_normal((*shape[:2], cell.clusters), dtype=np.float32) * sd
        found: np.ndarray = item + noise + effect[..., cluster]
        return found

    item = rng.standard_normal(shape, dtype=np.float32) * np.float32(ITEM_SD)
    item += TASK_LEVELS[task].astype(np.float32)
    against = scored(latent(item, shape), 0)
    lower: np.ndarray = scored(latent(item, (runs, tries, cell.samples)) - shift, 0) - against
    return lower
