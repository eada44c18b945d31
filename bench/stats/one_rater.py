"""Is a judge like one rater found to differ from one, and is a worse judge?

    python bench/stats/one_rater.py --runs 500     all cells, to bench/results/stats_one_rater.json
    python bench/stats/one_rater.py --table        the cells as Markdown

A grade is a whole number of 0 to 5: the reply's quality (sd 1 around 2.5) + the rater's severity + noise
(sd 1). The judge is one more such rater, or a noisier one; the comparison is that of `check judge --ratings`
(`report.rating.judge_agreement`). Replies belong to speakers, and raters are drawn anew in each run.

    holds 0          the interval of "judge minus one rater" contains 0, in percent of runs, by statistic
    judge - rater    mean of that difference, interval alpha
    judge - people   mean of the judge's interval alpha against the mean of all raters, minus alpha among the
                     people: the comparison that flatters a judge
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.support.cells import cells_of  # noqa: E402
from echat_eval.report.rating.agreement import interval_alpha, jackknifed, krippendorff_alpha  # noqa: E402
from echat_eval.report.rating.judge_agreement import STATISTICS, RatedReplies  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "stats_one_rater.json"
#: Column -> statistic whose interval it counts.
HOLDS = {
    "holds 0, kappa": "quadratic kappa",
    "holds 0, alpha": "Krippendorff's alpha",
}
COLUMNS = (*HOLDS, "judge - rater", "judge - people")


@dataclass(frozen=True)
class Cell:
    """Raters, replies, speakers, sd of severity, and the judge's noise sd."""

    raters: int
    replies: int
    speakers: int
    severity: float = 0.0
    judge_noise: float = 1.0

    @property
    def name(self) -> str:
        """Return the cell in words."""
        judge = "like a rater" if self.judge_noise == 1 else f"with {self.judge_noise:g} x the noise"
        severity = f", severity sd {self.severity:g}" if self.severity else ""
        replies = f"{self.raters} raters x {self.replies} replies of {self.speakers} speakers"
        return f"{replies}{severity}, judge {judge}"


CELLS = (
    Cell(4, 60, 30),
    Cell(4, 60, 12),
    Cell(3, 40, 20),
    Cell(8, 60, 20),
    Cell(4, 120, 30),
    Cell(4, 60, 20, severity=0.5),
    Cell(4, 60, 20, judge_noise=2.0),
    Cell(4, 120, 30, judge_noise=2.0),
)


def grades_of(cell: Cell, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the grades, (replies, raters + the judge), and the speaker of each reply."""
    speaker = np.arange(cell.replies) % cell.speakers
    of_speaker = rng.normal(0, 0.5, cell.speakers)[speaker]
    quality = 2.5 + of_speaker + rng.normal(0, np.sqrt(0.75), cell.replies)
    noise = rng.normal(0, 1, (cell.replies, cell.raters + 1))
    noise[:, -1] *= cell.judge_noise
    severity = rng.normal(0, cell.severity, cell.raters + 1)
    return np.clip(np.rint(quality[:, None] + severity + noise), 0, 5), speaker


def difference(pairs: RatedReplies, statistic: str, rows: np.ndarray) -> float | None:
    """Return the agreement of the judge minus that of one rater, both with the other raters."""
    both = pairs.left_out(STATISTICS[statistic], rows)
    return None if both is None else both[0] - both[1]


def measure(cell: Cell, runs: int, seed: int) -> dict[str, Any]:
    """Return what one cell shows."""
    began, rng = time.perf_counter(), np.random.default_rng([16, 8, seed])
    holds, differences, flattered = dict.fromkeys(HOLDS, 0), list[float](), list[float]()
    for _ in range(runs):
        grades, speaker = grades_of(cell, rng)
        pairs = RatedReplies(grades[:, :-1], grades[:, -1])
        for column, statistic in HOLDS.items():
            found = jackknifed(partial(difference, pairs, statistic), speaker.tolist())
            assert found.low is not None
            assert found.high is not None
            holds[column] += found.low <= 0 <= found.high
        alpha = difference(pairs, "Krippendorff's alpha", np.arange(cell.replies))
        people = grades[:, :-1]
        among, judge = (
            krippendorff_alpha(people.tolist(), "interval"),
            interval_alpha(grades[:, -1], people.mean(axis=1)),
        )
        assert alpha is not None
        assert among is not None
        assert judge is not None
        differences.append(alpha)
        flattered.append(judge - among)
    shares = {column: round(100 * count / runs, 1) for column, count in holds.items()}
    means = {"judge - rater": float(np.mean(differences)), "judge - people": float(np.mean(flattered))}
    row_of = {"cell": cell.name, "runs": runs, **shares, **{k: round(v, 3) for k, v in means.items()}}
    return row_of | {"seconds": round(time.perf_counter() - began, 1)}


if __name__ == "__main__":
    cells_of(__doc__, CELLS, measure, RESULTS, COLUMNS, runs=500)
