"""Coverage and width of people's mean rating with a judge's scores of all replies, beside people alone.

    python bench/judges/ppi.py                    all cells, to bench/results/judges_ppi.json
    python bench/judges/ppi.py --table            the cells as Markdown

A rating is 50 + the quality of cluster and reply (sd 14 each) + the rater's severity + noise (sd 15). The
judge sees the quality through noise of its own and is 8 points too strict; the noise is such that its
correlation with the ratings, over clusters and after the raters' noise, is that of the cell. Clusters, raters
and replies are drawn anew in each run, and the rated clusters are a random draw of them, except in the last
two cells. The truth is the mean over all of them.

    width               of the interval with the judge, in shares of that of people alone (means of the runs)
    used                share of the runs in which the judge was used
    coverage, judge     of the interval of the judge's scores alone
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.support.cells import cells_of  # noqa: E402
from echat_eval.stats import cluster_mean, powered_mean  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "judges_ppi.json"
COLUMNS = ("coverage", "coverage, people", "coverage, judge", "half-width, people", "width", "used")
#: Standard deviations of the quality of clusters and of replies, and of a rating's noise.
QUALITY, NOISE = (14.0, 14.0), 15.0
BIAS = -8.0
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Cell:
    """Rated clusters and all, replies in each, correlation, and raters.

    Attributes:
        sizes: fewest and most replies of a cluster.
        each: raters of a reply.
        grades: ratings are whole grades, 0 to this; None: any number.
        saturated: the judge gives the upper half of the replies the same score.
        matched: a rating is 1 or 0, with the probability that the number in percent gives.
        picked: what the rated clusters are the best in: "quality" or "judge"; None: drawn at random.
    """

    rated: int
    clusters: int
    correlation: float
    sizes: tuple[int, int] = (1, 1)
    raters: int = 20
    each: int = 3
    severity: float = 0.0
    grades: int | None = None
    saturated: bool = False
    matched: bool = False
    crossed: bool = False
    picked: str | None = None

    @property
    def name(self) -> str:
        """Return the cell in words."""
        fewest, most = self.sizes
        replies = f" of {fewest}" if fewest == most else f" of {fewest} to {most}"
        text = f"{self.rated} of {self.clusters} clusters{replies if most > 1 else ''}"
        if self.crossed:
            text = f"{self.rated} of {self.clusters} replies, {self.clusters // 20} speakers x 20 sentences"
        text += f", correlation {self.correlation:g}, {self.each} of {self.raters} raters"
        text += f", severity sd {self.severity:g}" if self.severity else ""
        text += f", grades 0 to {self.grades}" if self.grades else ""
        text += ", match question" if self.matched else ""
        text += ", saturated judge" if self.saturated else ""
        return text + (f"; picked by {self.picked}" if self.picked else "")


CELLS = (
    Cell(40, 400, 0.7),
    Cell(40, 400, 0.7, sizes=(5, 5)),
    Cell(40, 400, 0.7, sizes=(1, 9)),
    Cell(100, 1000, 0.7),
    Cell(40, 400, 0.7, grades=5),
    Cell(40, 400, 0.7, saturated=True),
    Cell(40, 400, 0.7, severity=5.0),
    Cell(40, 400, 0.7, severity=10.0),
    Cell(40, 400, 0.7, raters=8, severity=5.0),
    Cell(40, 400, 0.5, matched=True),
    Cell(60, 600, 0.7, crossed=True),
    Cell(40, 400, 0.85, each=8),
    Cell(20, 400, 0.7),
    Cell(10, 400, 0.7),
    Cell(40, 400, 0.0),
    Cell(20, 400, 0.0),
    Cell(10, 400, 0.0),
    Cell(40, 400, 0.0, sizes=(1, 9)),
    Cell(40, 400, -0.5),
    Cell(40, 400, 0.7, picked="judge"),
    Cell(40, 400, 0.7, picked="quality"),
)


@dataclass(frozen=True)
class World:
    """Replies of one run: their clusters or units, quality, and the judge's scores."""

    clusters: NDArray[np.int64]
    quality: Floats
    judged: Floats

    @classmethod
    def drawn(cls, cell: Cell, rng: np.random.Generator) -> World:
        """Return one draw of the cell's replies."""
        if cell.crossed:
            units = np.stack(np.divmod(np.arange(cell.clusters), 20), axis=1)
            parts = [rng.normal(0, 6.0, units[:, k].max() + 1)[units[:, k]] for k in (0, 1)]
            quality = sum(parts) + rng.normal(0, 18.0, cell.clusters)
            noise = rng.normal(0, 1, cell.clusters) * float(quality.std())
            return cls(units, quality, _judge(cell, quality, noise, 1.0))
        sizes = rng.integers(cell.sizes[0], cell.sizes[1] + 1, cell.clusters)
        clusters = np.repeat(np.arange(cell.clusters), sizes)
        drawn = [
            rng.normal(0, QUALITY[0], cell.clusters)[clusters] + rng.normal(0, QUALITY[1], len(clusters))
            for _ in range(2)
        ]
        return cls(clusters, drawn[0], _judge(cell, drawn[0], drawn[1], float(np.mean(cell.sizes))))

    def rated(self, cell: Cell, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the positions of the rated replies."""
        if cell.crossed:
            return rng.permutation(cell.clusters)[: cell.rated]
        by = {"judge": self.judged, "quality": self.quality}.get(cell.picked or "")
        if by is None:
            order = rng.permutation(cell.clusters)
        else:
            order = np.argsort(-np.bincount(self.clusters, weights=by))
        return np.flatnonzero(np.isin(self.clusters, order[: cell.rated]))


def _judge(cell: Cell, quality: Floats, noise: Floats, size: float) -> Floats:
    """Return scores whose correlation with the ratings, over clusters of this size, is the cell's."""
    between, within = (QUALITY[0] ** 2, QUALITY[1] ** 2) if not cell.crossed else (0.0, 396.0)
    of_quality = between + within / size
    of_ratings = of_quality + NOISE**2 / cell.each / size
    share = cell.correlation**2 * of_ratings / of_quality  # of the judge's variance
    if cell.matched:
        share = cell.correlation**2
    assert share <= 1, cell.name
    sign = np.sign(cell.correlation)
    scores = 50 + BIAS + sign * np.sqrt(share) * quality + np.sqrt(1 - share) * noise
    return np.asarray(np.minimum(scores, 50 + BIAS) if cell.saturated else scores)


def ratings(
    cell: Cell, quality: Floats, rng: np.random.Generator
) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Return ratings in percent of their range, which reply each is of, and who rated it."""
    order = rng.random((len(quality), cell.raters)).argsort(axis=1)[:, : cell.each]
    reply = np.repeat(np.arange(len(quality), dtype=np.int64), cell.each)
    rater = order.ravel().astype(np.int64)
    severity = rng.normal(0, cell.severity, cell.raters) if cell.severity else np.zeros(cell.raters)
    mean = 50 + quality[reply] + severity[rater]
    if cell.matched:
        return np.asarray(100.0 * (100 * rng.random(len(mean)) < mean), dtype=np.float64), reply, rater
    values = np.clip(mean + rng.normal(0, NOISE, len(mean)), 0, 100)
    if cell.grades:
        values = np.rint(values / 100 * cell.grades) * 100 / cell.grades
    return np.asarray(values, dtype=np.float64), reply, rater


def truth(cell: Cell, rng: np.random.Generator) -> float:
    """Return the mean of the ratings over all clusters and raters, which the ends of the range may move."""
    if not cell.grades:
        return 50.0  # symmetric about 50
    drawn = 50 + rng.normal(0, np.hypot(np.hypot(*QUALITY), NOISE), 1_000_000)
    return float((np.rint(np.clip(drawn, 0, 100) / 100 * cell.grades) * 100 / cell.grades).mean())


def measure(cell: Cell, runs: int, seed: int) -> dict[str, Any]:
    """Return coverage and widths of one cell."""
    began, rng = time.perf_counter(), np.random.default_rng([17, 21, seed])
    exact = truth(cell, rng)
    covered, widths, used = np.zeros(3), np.zeros(2), 0
    for _ in range(runs):
        world = World.drawn(cell, rng)
        at = world.rated(cell, rng)
        values, reply, rater = ratings(cell, world.quality[at], rng)
        found = powered_mean(
            values, at[reply], rater.tolist(), world.judged, world.clusters, low=0.0, high=100.0
        )
        used += found.reason is None
        judge = cluster_mean(world.judged, world.clusters)
        for k, estimate in enumerate((found.estimate, found.people.estimate, judge)):
            assert estimate.low is not None
            assert estimate.high is not None
            covered[k] += estimate.low <= exact <= estimate.high
            if k < len(widths):
                widths[k] += (estimate.high - estimate.low) / 2
    shown = [
        *np.round(100 * covered / runs, 1).tolist(),
        round(widths[1] / runs, 2),
        round(widths[0] / widths[1], 3),
        round(100 * used / runs, 1),
    ]
    row: dict[str, Any] = {"cell": cell.name, "runs": runs, **dict(zip(COLUMNS, shown, strict=True))}
    return row | {"seconds": round(time.perf_counter() - began, 1)}


if __name__ == "__main__":
    cells_of(__doc__, CELLS, measure, RESULTS, COLUMNS, runs=4_000)
