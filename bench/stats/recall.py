"""Coverage of the 95 % interval of a macro recall (UAR) where each label belongs to its own speakers.

    python bench/stats/recall.py --runs 20000      all cells, to bench/results/stats_recall.json
    python bench/stats/recall.py --table           the cells as Markdown

Age and gender belong to a speaker, so a rare label may have two or three speakers. The intervals are those of
the leaderboard (`stats.level_mean` with the labels as strata) and, for a paired difference of two systems,
those of `compare` and the gate (`stats.macro_mean`). Coverage below 93 % would be a fault. Where one speaker
has a whole label, the interval must be untold.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.support.cells import cells_of  # noqa: E402
from echat_eval.stats import Estimate, level_mean, macro_mean  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "stats_recall.json"
COLUMNS = ("coverage", "half-width", "untold")
#: Accuracies of the first, second, ... label.
RATES = (0.8, 0.7, 0.6, 0.75)
#: Samples per speaker.
SIZE = 10


@dataclass(frozen=True)
class Cell:
    """Speakers per label, and what is averaged.

    Attributes:
        nested: each label has its own speakers; False: every speaker has samples of every label.
        kind: "recall" of one system, a paired "difference" of two systems' recalls, or "normal" values.
        spread: a + b of the beta distribution of speakers' accuracies; small: speakers differ much.
    """

    speakers: tuple[int, ...]
    kind: Literal["recall", "difference", "normal"] = "recall"
    nested: bool = True
    spread: float = 10.0

    @property
    def name(self) -> str:
        """Return the cell in words."""
        what = "/".join(map(str, self.speakers)) + " speakers a label"
        if not self.nested:
            what = f"{self.speakers[0]} speakers, each with {len(self.speakers)} labels"
        return f"{self.kind}, {what}, beta {self.spread:g}"


CELLS = (
    *(Cell((10, 20, 2), kind) for kind in ("recall", "difference", "normal")),
    *(Cell((6, 12, 3), kind) for kind in ("recall", "difference", "normal")),
    Cell((10, 20, 2), spread=3.0),
    Cell((6, 12, 3), spread=3.0),
    Cell((20, 20, 20)),
    Cell((4, 4, 4, 4)),
    Cell((2, 2)),
    Cell((12, 12, 12, 12), nested=False),
    Cell((12, 12, 12, 12), "difference", nested=False),
    Cell((10, 20, 1)),
    Cell((10, 20, 1), "difference"),
)


def draw(cell: Cell, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return values, labels and speakers of one run."""
    labels = np.repeat(np.arange(len(cell.speakers)), np.array(cell.speakers) * SIZE)
    if cell.nested:
        speaker = np.repeat(np.arange(sum(cell.speakers)), SIZE)
    else:
        speaker = np.tile(np.repeat(np.arange(cell.speakers[0]), SIZE), len(cell.speakers))
    keys = np.unique(np.stack([speaker, labels]), axis=1, return_inverse=True)[1].reshape(-1)
    rates = np.array(RATES)[labels]
    if cell.kind == "normal":
        return rng.normal(size=keys.max() + 1)[keys] + rng.normal(0, 2, labels.size), labels, speaker
    _, first = np.unique(keys, return_index=True)
    own = rng.beta(rates[first] * cell.spread, (1 - rates[first]) * cell.spread)[keys]
    right = 100.0 * (rng.random(labels.size) < own)
    if cell.kind == "difference":  # the other system: nine answers in ten are the same
        again = 100.0 * (rng.random(labels.size) < own)
        right = np.where(rng.random(labels.size) < 0.7, 0.0, right - again)
    return right, labels, speaker


def measure(cell: Cell, runs: int, seed: int) -> dict[str, Any]:
    """Return the coverage of one cell."""
    began, rng = time.perf_counter(), np.random.default_rng([16, 1, seed])
    truth = 100.0 * float(np.mean(RATES[: len(cell.speakers)])) if cell.kind == "recall" else 0.0
    covered, widths, untold = 0, [], 0
    for _ in range(runs):
        found = interval(cell, *draw(cell, rng))
        if found.low is None or found.high is None:
            untold += 1
            continue
        covered += found.low <= truth <= found.high
        widths.append((found.high - found.low) / 2)
    known = runs - untold
    return {
        "cell": cell.name,
        "runs": runs,
        "coverage": round(100 * covered / known, 1) if known else None,
        "half-width": round(float(np.mean(widths)), 2) if known else None,
        "untold": round(100 * untold / runs, 1),
        "seconds": round(time.perf_counter() - began, 1),
    }


def interval(cell: Cell, values: np.ndarray, labels: np.ndarray, speaker: np.ndarray) -> Estimate:
    """Return the interval that the commands print."""
    if cell.kind == "recall":
        return level_mean(values, speaker, low=0.0, high=100.0, strata=labels)
    return macro_mean(values, labels, speaker, change=cell.kind == "difference", width=200.0)


if __name__ == "__main__":
    cells_of(__doc__, CELLS, measure, RESULTS, COLUMNS, runs=20_000)
