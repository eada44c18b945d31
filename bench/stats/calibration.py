"""How often the interval of the calibration error contains 0, and the true error.

    python bench/stats/calibration.py --runs 10000     all cells, to bench/results/stats_calibration.json
    python bench/stats/calibration.py --table          the cells as Markdown

A calibrated classifier's interval should contain 0 in at least 95 % of runs (beside it: the jackknife
interval of the plain error). An overconfident classifier is right with its confidence - `gap`; its true
error is the gap. Clips of one speaker share a tendency to be right: their normal scores correlate by
`correlation`.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtri, stdtrit

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.support.cells import cells_of  # noqa: E402
from echat_eval.checks.calibration import calibration  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "stats_calibration.json"
COLUMNS = ("contains 0", "coverage", "half-width", "contains 0, jackknife")
#: Resamples per interval; fewer than by default, for speed.
DRAWS = 500


@dataclass(frozen=True)
class Cell:
    """Speakers, clips of each, gap, correlation within speakers, and the two parameters of the confidence."""

    speakers: int
    size: int
    gap: float = 0.0
    correlation: float = 0.0
    shape: tuple[float, float] = (4.0, 1.5)

    @property
    def name(self) -> str:
        """Return the cell in words."""
        kind = f"overconfident by {self.gap:g}" if self.gap else "calibrated"
        linked = f", correlation {self.correlation:g}" if self.correlation else ""
        sure = ", very confident" if self.shape[1] < 1 else ""
        return f"{kind}, {self.speakers} x {self.size} clips{linked}{sure}"


CELLS = (
    Cell(200, 1),
    Cell(1000, 1),
    Cell(20, 10),
    Cell(20, 10, correlation=0.2),
    Cell(8, 25, correlation=0.2),
    Cell(200, 1, shape=(12.0, 0.4)),
    Cell(200, 1, gap=0.1),
    Cell(1000, 1, gap=0.1),
    Cell(20, 10, gap=0.1, correlation=0.2),
)


def draw(cell: Cell, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return confidence, right and speaker of one run."""
    speaker = np.repeat(np.arange(cell.speakers), cell.size)
    confidence = np.maximum(rng.beta(*cell.shape, speaker.size), cell.gap)
    shared = rng.normal(size=cell.speakers)[speaker] * cell.correlation**0.5
    score = shared + rng.normal(size=speaker.size) * (1 - cell.correlation) ** 0.5
    return confidence, (score < ndtri(confidence - cell.gap)).astype(float), speaker


def error_of(confidence: np.ndarray, right: np.ndarray, bins: int = 10) -> float:
    """Return the plain error, from counts per bin."""
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    return float(np.abs(np.bincount(bin_of, weights=right - confidence)).sum() / len(right))


def jackknife_low(confidence: np.ndarray, right: np.ndarray, speaker: np.ndarray, bins: int = 10) -> float:
    """Return the lower end of the interval that leaves out one speaker at a time."""
    groups, bin_of = int(speaker.max()) + 1, np.minimum((confidence * bins).astype(int), bins - 1)
    sums = np.bincount(speaker * bins + bin_of, weights=right - confidence, minlength=groups * bins)
    each, sizes = sums.reshape(groups, bins), np.bincount(speaker)
    left_out = np.abs(each.sum(axis=0) - each).sum(axis=1) / (len(right) - sizes)
    variance = (groups - 1) / groups * ((left_out - left_out.mean()) ** 2).sum()
    return error_of(confidence, right) - float(stdtrit(groups - 1, 0.975)) * float(np.sqrt(variance))


def measure(cell: Cell, runs: int, seed: int) -> dict[str, Any]:
    """Return how often 0 and the true error are in the interval."""
    began, rng = time.perf_counter(), np.random.default_rng([16, 6, seed])
    zero, covered, width, plain = 0, 0, 0.0, 0
    for run in range(runs):
        confidence, right, speaker = draw(cell, rng)
        found = calibration(confidence, right, speaker, draws=DRAWS, seed=run)
        assert found.low is not None
        assert found.high is not None
        zero += found.low == 0
        covered += found.low <= cell.gap <= found.high
        width += (found.high - found.low) / 2
        plain += jackknife_low(confidence, right, speaker) <= 0
    return {
        "cell": cell.name,
        "runs": runs,
        "contains 0": round(100 * zero / runs, 1),
        "coverage": round(100 * covered / runs, 1),
        "half-width": round(width / runs, 3),
        "contains 0, jackknife": round(100 * plain / runs, 1),
        "seconds": round(time.perf_counter() - began, 1),
    }


if __name__ == "__main__":
    cells_of(__doc__, CELLS, measure, RESULTS, COLUMNS, runs=10_000)
