"""Does a run keep the chances that its plan prints?

    python bench/gate/plan.py --runs 10000        all layouts, to bench/results/gate_plan.json (minutes)
    python bench/gate/plan.py --table             the result as Markdown

Paired differences are normal with a standard deviation of 25 points, of which speakers and sentences have
given shares. Each row lists, in percent, the chance that the plan computes from these numbers and the share
of runs, for three events of the primary difference in a family of 21 tests:

    equal passes    nothing changed and the lower bound is above -margin
    drop shown      the true drop is the margin and it is significant at the first step of Holm
    twice shown     likewise for twice the margin

"from a run" is the mean chance of "equal passes" that plans from single runs print, with the middle 80 %.
Bounds are the gate's: `spread` or `crossed_spread`, and `one_sided_errors` on top.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.gate.crossed import LEVEL, SD, Cell, draws, spread_of  # noqa: E402
from bench.support.machine import machine  # noqa: E402
from echat_eval.stats import Design, as_design, crossed_spread  # noqa: E402
from echat_eval.stats.power import Layout, Variances, fitted_variances, layout_of, power_of  # noqa: E402
from echat_eval.stats.tails import one_sided_errors  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "gate_plan.json"
EVENTS = ("equal passes", "drop shown", "twice shown")
FAMILY = 1 - 2 * 0.05 / 21
#: Layout and margin: of these margins none makes every chance 0 or 100 %.
CELLS = (
    (Cell(8, 15, 0.1, 0.0, overlap=0.0), 8.0),
    (Cell(20, 10, 0.0, 0.0, overlap=0.0), 5.0),
    (Cell(20, 10, 0.25, 0.0, overlap=0.0), 8.0),
    (Cell(60, 10, 0.1, 0.0, overlap=0.0), 3.0),
    (Cell(200, 3, 0.1, 0.0, overlap=0.0), 3.0),
    (Cell(10, 20, 0.1, 0.1), 10.0),
    (Cell(20, 20, 0.25, 0.05), 9.0),
    (Cell(20, 20, 0.0, 0.0), 3.0),
    (Cell(12, 12, 0.0, 0.0), 5.0),
    (Cell(40, 12, 0.05, 0.25), 9.0),
    (Cell(20, 40, 0.1, 0.1, read=0.3), 7.0),
    (Cell(40, 24, 0.02, 0.02), 3.0),
)
#: Sizes of clusters, quantiles of a lognormal: the same number of samples in unequal clusters.
UNEQUAL = ((20, 10, 0.1, 6.0), (40, 15, 0.1, 4.0))
STEP_CELLS = 400_000


def truth(cell: Cell, design: Design) -> tuple[Variances, Layout]:
    """Return the variances that a cell is drawn from, and its layout."""
    total = SD**2
    variances = Variances(
        by_speaker=total * cell.by_speaker,
        by_sentence=total * cell.by_sentence,
        rest=total * (1 - cell.by_speaker - cell.by_sentence),
    )
    return variances, layout_of(design, correlation=cell.by_speaker)


def lognormal_design(clusters: int, mean: int) -> Design:
    """Return nested clusters whose sizes are quantiles of a lognormal."""
    from scipy.stats import norm

    sizes = np.exp(0.75 * norm.ppf((np.arange(clusters) + 0.5) / clusters))
    sizes = np.maximum(1, np.round(sizes * clusters * mean / sizes.sum())).astype(int)
    return as_design(np.repeat(np.arange(clusters), sizes))


def bounds(x: np.ndarray, design: Design) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return means, degrees of freedom and both one-sided errors of (runs, samples) differences."""
    mean = x.mean(axis=1)
    residual, n = x - mean[:, None], x.shape[1]
    spreads = [spread_of(residual, codes) for codes in design.partitions]
    found = crossed_spread(*spreads) if design.crossed else spreads[0]
    low, high = found.se, found.se
    for codes in design.factors:
        order = np.argsort(codes, kind="stable")
        starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
        sums = np.add.reduceat(residual[:, order], starts, axis=1)
        own_low, own_high = one_sided_errors(sums, np.bincount(codes) / n, found, n=n, level=LEVEL)
        low, high = np.maximum(low, own_low), np.maximum(high, own_high)
    return mean, np.broadcast_to(found.df, mean.shape), low, high


def measure(cell: Cell, margin: float, runs: int, design: Design) -> dict[str, Any]:
    """Return the row of one layout."""
    began, rng = time.perf_counter(), np.random.default_rng([cell.speakers, cell.sentences, round(margin)])
    variances, layout = truth(cell, design)
    events = dict.fromkeys(EVENTS, 0)
    printed: list[float] = []
    done = 0
    while done < runs:
        now = min(max(1, STEP_CELLS // len(design)), runs - done)
        x = np.sum(draws(cell, design, rng, now), axis=0)
        mean, df, low, high = bounds(x, design)
        events["equal passes"] += int((mean - stdtrit(df, 0.5 + LEVEL / 2) * low > -margin).sum())
        q = stdtrit(df, 0.5 + FAMILY / 2)
        for name, drop in (("drop shown", margin), ("twice shown", 2 * margin)):
            events[name] += int((mean - drop + q * high < 0).sum())
        printed += [
            power_of(margin, fitted_variances(row, design), layout) for row in x[: max(0, 200 - len(printed))]
        ]
        done += now
    planned = {
        "equal passes": power_of(margin, variances, layout, level=LEVEL),
        "drop shown": power_of(margin, variances, layout, level=FAMILY, error_level=LEVEL),
        "twice shown": power_of(2 * margin, variances, layout, level=FAMILY, error_level=LEVEL),
    }
    return {
        "layout": str(design),
        "samples": len(design),
        "unequal": bool(not design.crossed and np.ptp(np.bincount(design.components)) > 0),
        "shares": [cell.by_speaker, cell.by_sentence],
        "margin": margin,
        "runs": runs,
        "planned": {name: round(100 * value, 2) for name, value in planned.items()},
        "runs with it": {name: round(100 * hits / runs, 2) for name, hits in events.items()},
        "from a run": round(100 * float(np.mean(printed)), 1),
        "from a run, middle 80 %": [round(100 * float(end), 1) for end in np.quantile(printed, [0.1, 0.9])],
        "seconds": round(time.perf_counter() - began, 1),
    }


def worst(rows: list[dict[str, Any]]) -> float:
    """Return the largest distance between a planned chance and the share of runs, in points."""
    return max(
        abs(float(row["planned"][name]) - float(row["runs with it"][name])) for row in rows for name in EVENTS
    )


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    lines = [
        "| layout, samples, variance shares, margin | equal passes: plan / runs | drop shown | twice shown "
        "| equal passes, planned from one run: mean, middle 80 % |",
        "|---|--:|--:|--:|--:|",
    ]
    for row in rows:
        pairs = (f"{row['planned'][name]:.1f} / {row['runs with it'][name]:.1f}" for name in EVENTS)
        shares = " / ".join(f"{share:g}" for share in row["shares"])
        uneven = ", unequal" if row["unequal"] else ""
        low, high = row["from a run, middle 80 %"]
        lines.append(
            f"| {row['layout']}{uneven}, {row['samples']}, {shares}, {row['margin']:g} | {' | '.join(pairs)} "
            f"| {row['from a run']:.0f}, {low:.0f} to {high:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print the result as Markdown")
    given = parser.parse_args()
    if given.table:
        print(table(json.loads(given.out.read_text())["rows"]))
        return
    cells = [(cell, margin, as_design(cell.units())) for cell, margin in CELLS]
    cells += [
        (Cell(clusters, size, share, 0.0, overlap=0.0), margin, lognormal_design(clusters, size))
        for clusters, size, share, margin in UNEQUAL
    ]
    rows = []
    for cell, margin, design in cells:
        rows.append(measure(cell, margin, given.runs, design))
        print(json.dumps(rows[-1]), flush=True)
    facts = {"machine": machine(), "rows": rows, "worst distance": round(worst(rows), 2)}
    given.out.write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
