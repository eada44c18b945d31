"""How often a limit on a level counts as held although the truth lies on it.

    python bench/gate/levels.py --runs 20000         all cells, to bench/results/gate_levels.json
    python bench/gate/levels.py --table              the cells as Markdown

A candidate's level lies exactly on its limit; a rule holds if the whole 95 % interval meets the limit, which
should happen in at most 2.5 % of runs (our bound: 5.5). The intervals are those of `stats.level_mean`,
which the gate and the leaderboard use; beside it stands the interval of `cluster_mean`, cut at nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from echat_eval.stats import cluster_mean, level_mean, macro_mean  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "gate_levels.json"
#: (values, weights or None, strata or None)
Drawn = tuple[np.ndarray, np.ndarray | None, np.ndarray | None]


@dataclass(frozen=True)
class Cell:
    """Clusters of samples, one draw, the true level, the range, and whether the limit is an upper one."""

    name: str
    clusters: np.ndarray
    draw: Callable[[np.random.Generator], Drawn]
    truth: float
    high: float | None
    at_most: bool


def share(name: str, rate: float, groups: int, size: int, *, at_most: bool, spread: float = 10.0) -> Cell:
    """Return a share of events whose rate differs between clusters (beta with a + b = spread)."""
    clusters = np.repeat(np.arange(groups), size)

    def draw(rng: np.random.Generator) -> Drawn:
        rates = rng.beta(rate * spread, (1 - rate) * spread, groups) if size > 1 else np.full(groups, rate)
        return (rng.random(groups * size) < rates[clusters]).astype(float), None, None

    return Cell(f"{name} {rate:g}, {groups} x {size}", clusters, draw, rate, 1.0, at_most)


def error_rate(rate: float, groups: int, size: int) -> Cell:
    """Return a corpus error rate in percent, with rates that differ between clusters (gamma, shape 2)."""
    clusters = np.repeat(np.arange(groups), size)

    def draw(rng: np.random.Generator) -> Drawn:
        words = rng.integers(3, 20, groups * size)
        rates = np.minimum(rng.gamma(2.0, rate / 2, groups)[clusters], 1.0)
        return 100 * rng.binomial(words, rates) / words, words.astype(float), None

    return Cell(
        f"word error rate {100 * rate:g} %, {groups} x {size}", clusters, draw, 100 * rate, None, True
    )


def recall(groups: int, size: int) -> Cell:
    """Return a macro recall of four labels, the rarest a tenth of the samples."""
    clusters, rates = np.repeat(np.arange(groups), size), np.array([0.95, 0.9, 0.8, 0.7])

    def draw(rng: np.random.Generator) -> Drawn:
        label = np.searchsorted([0.4, 0.7, 0.9], rng.random(groups * size))
        return (rng.random(groups * size) < rates[label]).astype(float), None, label

    return Cell(f"macro recall, {groups} x {size}", clusters, draw, float(rates.mean()), 1.0, False)


CELLS = (
    share("failures", 0.02, 120, 1, at_most=True),
    share("failures", 0.02, 40, 10, at_most=True),
    share("latency above the limit,", 0.05, 120, 1, at_most=True),
    share("latency above the limit,", 0.05, 20, 30, at_most=True),
    share("latency above the limit,", 0.05, 60, 10, at_most=True),
    share("accuracy", 0.95, 120, 1, at_most=False),
    share("accuracy", 0.9, 20, 20, at_most=False),
    recall(40, 10),
    recall(200, 1),
    error_rate(0.05, 20, 10),
    error_rate(0.05, 40, 5),
    error_rate(0.02, 100, 1),
)


def measure(cell: Cell, runs: int, seed: int) -> dict[str, object]:
    began, rng = time.perf_counter(), np.random.default_rng([16, seed])
    held, plain_held, outside = 0, 0, 0
    for _ in range(runs):
        values, weights, strata = cell.draw(rng)
        found = level_mean(values, cell.clusters, low=0.0, high=cell.high, weights=weights, strata=strata)
        if strata is None:
            plain = cluster_mean(values, cell.clusters, weights=weights)
        else:
            plain = macro_mean(values, strata, cell.clusters)
        for kind, estimate in (("ours", found), ("plain", plain)):
            if estimate.low is None or estimate.high is None:
                continue
            meets = estimate.high <= cell.truth if cell.at_most else estimate.low >= cell.truth
            held += kind == "ours" and meets
            plain_held += kind == "plain" and meets
            top = np.inf if cell.high is None else cell.high
            outside += kind == "plain" and (estimate.low < 0 or estimate.high > top)
    return {
        "cell": cell.name,
        "runs": runs,
        "held": round(100 * held / runs, 2),
        "held, plain interval": round(100 * plain_held / runs, 2),
        "plain interval outside the range": round(100 * outside / runs, 2),
        "seconds": round(time.perf_counter() - began, 1),
    }


def table(rows: list[dict[str, object]]) -> str:
    lines = [
        "| level on its limit | held | held, plain interval | plain interval outside the range |",
        "|---|--:|--:|--:|",
    ]
    names = ("held", "held, plain interval", "plain interval outside the range")
    lines += [f"| {row['cell']} | " + " | ".join(f"{row[n]:.1f}" for n in names) + " |" for row in rows]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print the cells of --out as Markdown")
    given = parser.parse_args()
    if given.table:
        print(table(json.loads(given.out.read_text())["cells"]))
        return
    rows = []
    for seed, cell in enumerate(CELLS):
        rows.append(measure(cell, given.runs, seed))
        print(json.dumps(rows[-1]), flush=True)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps({"cells": rows}, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
