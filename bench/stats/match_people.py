"""Do intervals of match rates by people hold the truth over raters and contrast groups?

    python bench/stats/match_people.py            all cells, to bench/results/stats_match_people.json
    python bench/stats/match_people.py --table    the cells as Markdown

A rater names one of two voices. The probability of the right one is the system's rate + the rater's deviation
+ the group's, within 0 to 1; raters and groups are drawn anew in each run. The truth is the mean probability
over raters and groups.

    coverage, over groups    of the interval that ignores raters
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
from echat_eval.io.ratings import Rating  # noqa: E402
from echat_eval.report.rating.match import match_rates  # noqa: E402
from echat_eval.stats import level_mean  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "stats_match_people.json"
COLUMNS = ("coverage", "half-width", "coverage, over groups", "half-width, over groups")
#: Draws of a rater and a group for the truth.
DRAWS = 1_000_000


@dataclass(frozen=True)
class Cell:
    """Raters, groups of two voices, the system's rate in percent, and the sd of raters and groups."""

    raters: int
    groups: int
    rate: float = 65.0
    of_raters: float = 10.0
    of_groups: float = 15.0

    @property
    def name(self) -> str:
        """Return the cell in words."""
        sds = f"sd {self.of_raters:g} and {self.of_groups:g}"
        return f"{self.raters} raters x {self.groups} groups, rate {self.rate:g}, {sds}"


CELLS = (
    Cell(3, 30),
    Cell(8, 30),
    Cell(8, 60),
    Cell(20, 20),
    Cell(5, 30, of_raters=0.0),
    Cell(8, 30, rate=50.0, of_groups=0.0),
    Cell(8, 30, rate=90.0),
    Cell(5, 12),
)


def measure(cell: Cell, runs: int, seed: int) -> dict[str, Any]:
    """Return the coverage of one cell."""
    began, rng = time.perf_counter(), np.random.default_rng([16, 6, seed])
    sds = np.array([cell.of_raters, cell.of_groups]) / 100
    truth = 100 * np.clip(cell.rate / 100 + rng.normal(0, sds, (DRAWS, 2)).sum(axis=1), 0, 1).mean()
    groups = {("t", f"{group} {voice}"): str(group) for group in range(cell.groups) for voice in "ab"}
    covered, widths = np.zeros(2), np.zeros(2)
    for _ in range(runs):
        raters, of_group = rng.normal(0, sds[0], cell.raters), rng.normal(0, sds[1], cell.groups)
        chance = np.clip(cell.rate / 100 + raters[:, None] + np.repeat(of_group, 2), 0, 1)
        right = (rng.random(chance.shape) < chance).astype(float)
        ratings = [
            Rating(
                rater=str(rater),
                system="s",
                task=task,
                sample_id=sample,
                dimension="match",
                value=value,
                low=0,
                high=1,
            )
            for rater, row in enumerate(right)
            for (task, sample), value in zip(groups, row, strict=True)
        ]
        (both,) = match_rates(ratings, groups).values()
        of_reply = np.tile(np.repeat(np.arange(cell.groups), 2), cell.raters)
        alone = level_mean(100 * right.ravel(), of_reply, low=0.0, high=100.0)
        for k, found in enumerate((both.estimate, alone)):
            assert found.low is not None
            assert found.high is not None
            covered[k] += found.low <= truth <= found.high
            widths[k] += (found.high - found.low) / 2
    numbers = [*np.round(100 * covered / runs, 1).tolist(), *np.round(widths / runs, 2).tolist()]
    names = (COLUMNS[0], COLUMNS[2], COLUMNS[1], COLUMNS[3])
    row_of: dict[str, Any] = {"cell": cell.name, "runs": runs, **dict(zip(names, numbers, strict=True))}
    return row_of | {"seconds": round(time.perf_counter() - began, 1)}


if __name__ == "__main__":
    cells_of(__doc__, CELLS, measure, RESULTS, COLUMNS, runs=5_000)
