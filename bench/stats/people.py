"""Coverage of the 95 % interval of people's mean rating, with raters as a second factor.

    python bench/stats/people.py --runs 20000      all cells, to bench/results/stats_people.json
    python bench/stats/people.py --table           the cells as Markdown

Each rating is 50 + the reply's quality (sd 20) + the rater's severity + noise (sd 10), cut to 0 to 100.
Raters and replies are drawn anew in each run, and the truth is the mean over both. `over replies` is the
interval that ignores raters.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.support.cells import cells_of  # noqa: E402
from echat_eval.stats import level_mean, rated_mean  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "stats_people.json"
COLUMNS = ("coverage", "half-width", "coverage, over replies", "half-width, over replies")


@dataclass(frozen=True)
class Cell:
    """Raters, replies, replies per speaker, sd of severity, and raters per reply (0: all)."""

    raters: int
    replies: int
    severity: float
    per_speaker: int = 1
    each: int = 0

    @property
    def name(self) -> str:
        """Return the cell in words."""
        who = f"{self.each} of {self.raters}" if self.each else f"{self.raters}"
        speakers = f" of {self.replies // self.per_speaker} speakers" if self.per_speaker > 1 else ""
        return f"{who} raters x {self.replies} replies{speakers}, severity sd {self.severity:g}"


CELLS = (
    Cell(3, 60, 10.0),
    Cell(3, 60, 0.0),
    Cell(2, 60, 10.0),
    Cell(5, 60, 10.0),
    Cell(10, 60, 5.0),
    Cell(3, 60, 10.0, per_speaker=6),
    Cell(12, 120, 10.0, each=3),
    Cell(20, 40, 10.0),
)


def measure(cell: Cell, runs: int, seed: int) -> dict[str, Any]:
    """Return the coverage of one cell."""
    began, rng = time.perf_counter(), np.random.default_rng([16, 5, seed])
    reply, rater = (axis.ravel() for axis in np.indices((cell.replies, cell.raters)))
    covered, widths = np.zeros(2), np.zeros(2)
    for _ in range(runs):
        speaker = np.arange(cell.replies) // cell.per_speaker
        quality = rng.normal(0, 14, speaker[-1] + 1)[speaker] + rng.normal(0, 14, cell.replies)
        severity = rng.normal(0, cell.severity, cell.raters)
        keep = np.full(reply.size, True)
        if cell.each:
            order = rng.random((cell.replies, cell.raters)).argsort(axis=1).argsort(axis=1)
            keep = order.ravel() < cell.each
        who, what = rater[keep], reply[keep]
        values = np.clip(50 + quality[what] + severity[who] + rng.normal(0, 10, who.size), 0, 100)
        both = rated_mean(values, speaker[what], who.tolist(), low=0.0, high=100.0).estimate
        alone = level_mean(values, speaker[what], low=0.0, high=100.0)
        for k, found in enumerate((both, alone)):
            assert found.low is not None
            assert found.high is not None
            covered[k] += found.low <= 50 <= found.high
            widths[k] += (found.high - found.low) / 2
    numbers = [*np.round(100 * covered / runs, 1).tolist(), *np.round(widths / runs, 2).tolist()]
    names = (COLUMNS[0], COLUMNS[2], COLUMNS[1], COLUMNS[3])
    row: dict[str, Any] = {"cell": cell.name, "runs": runs, **dict(zip(names, numbers, strict=True))}
    return row | {"seconds": round(time.perf_counter() - began, 1)}


if __name__ == "__main__":
    cells_of(__doc__, CELLS, measure, RESULTS, COLUMNS, runs=20_000)
