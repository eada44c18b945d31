"""How often the gate is wrong on dialogue-shaped scores, cell by cell.

    python bench/gate/simulate.py --runs 20000 --jobs 2            all cells, to bench/results/gate_sim.json
    python bench/gate/simulate.py --runs 4000 --above 3            again the cells with a false pass above 3 %
    python bench/gate/simulate.py --table                          the cells as Markdown (gate_sim.md)
    python bench/gate/simulate.py --summary                        their summary (docs/gate.md)

Cells that are in the result file with as many runs are not drawn again. Every run goes through
`echat_eval.stats.spread` and `echat_eval.gate.rules`, which `echat_eval.gate.decide` calls on frames;
tests/gate/test_critical.py checks that both agree. A cell lists, in percent of runs:

    false pass    the pooled primary's true drop is the margin, and the gate passes (nominal 2.5)
    false drop    nothing changed, and any of the 21 critical differences (5 tasks x 4 metrics and the pooled
                  primary) is called a drop (nominal 5)
    false regress the same and the outcome is "regress"
    power         the true difference lies one smallest detectable difference above -margin, as taken from
                  another run's upper 80 % limit of the spread, and the gate passes (at least 80)
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.gate.draws import MARGIN, METRICS, PRIMARIES, Cell, all_cells, draw  # noqa: E402
from echat_eval.analysis.bounds import Tests, drop_p_values, worst_case_bounds  # noqa: E402
from echat_eval.errors import Exit  # noqa: E402
from echat_eval.gate.rules import outcomes  # noqa: E402
from echat_eval.stats import detectable_difference, spread  # noqa: E402
from echat_eval.stats.tails import Moves, one_sided_errors  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "gate_sim.json"
Count = Callable[[str, "np.ndarray | float"], None]
LEVEL, FAMILY_ERROR, POWER, WIDTH = 0.95, 0.05, 0.8, 100.0
CHUNK = 40_000  # samples drawn at once; keeps the arrays in cache


def cell_sums(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """(4, 4, runs, parts): moves up and down and their squares, summed over parts, for each metric.

    A part is a cluster's samples of one task.
    """
    up, down = np.maximum(values, 0), np.maximum(-values, 0)
    sums = [np.add.reduceat(v, starts, axis=-1) for v in (up, down, up * up, down * down)]
    return np.stack(sums).astype(np.float64)


def tests_of(sums: np.ndarray, sizes: np.ndarray, width: float, level: float) -> Tests:
    """Return (1, ...) tests of means from (4, ..., clusters) sums as in `cell_sums` and (clusters,) sizes."""
    kept = sizes > 0
    up, down, up_squares, down_squares = sums[..., kept]
    sizes = sizes[kept]
    n = int(sizes.sum())
    mean = (up - down).sum(axis=-1) / n
    residuals, shares = up - down - mean[..., None] * sizes, sizes / n
    squares = up_squares.sum(axis=-1), down_squares.sum(axis=-1)
    found = spread(residuals, shares, squares=np.maximum(sum(squares) - n * mean**2, 0.0), n=n)
    moves = Moves(up=up, down=down, squares=squares)
    low, high = one_sided_errors(residuals, shares, found, n=n, level=level, moves=moves, width=width)
    df = np.broadcast_to(found.df, mean.shape)
    return Tests(value=mean[None], se=found.se[None], df=df[None], se_low=low[None], se_high=high[None])


class Layout:
    """Where a cell's parts lie, and how parts become clusters of a task or of the pool."""

    def __init__(self, cell: Cell) -> None:
        cluster, task = cell.layout
        code = cluster * 5 + task
        self.starts = np.flatnonzero(np.diff(code, prepend=-1))
        self.code = code[self.starts]
        self.counts = np.diff(np.append(self.starts, len(code)))
        self.clusters = cell.clusters

    def grouped(self, parts: np.ndarray, task: int | None) -> np.ndarray:
        """(..., parts) to (..., clusters), of one task or of all."""
        out = np.zeros((*parts.shape[:-1], self.clusters))
        for t in range(5) if task is None else (task,):
            here = self.code % 5 == t
            out[..., self.code[here] // 5] += parts[..., here]
        return out

    def tests(self, sums: np.ndarray, task: int | None, level: float = LEVEL) -> Tests:
        sizes = self.grouped(self.counts.astype(float), task)
        return tests_of(self.grouped(sums, task), sizes, WIDTH, level)


def task_p_values(layout: Layout, sums: np.ndarray, tolerance: float) -> np.ndarray:
    """(runs, 20) p-values of a drop beyond the tolerance, of every task and metric."""
    found = [drop_p_values(layout.tests(sums, task), tolerance=tolerance) for task in range(5)]
    return np.concatenate(found, axis=0).T


def outcome_codes(pooled: Tests, p_values: np.ndarray) -> np.ndarray:
    """(runs,) exit codes of the gate with one rule, the pooled primary's margin."""
    low, _ = worst_case_bounds(pooled, level=LEVEL)
    return outcomes(
        holds=(low > -MARGIN)[:, None],
        drop_p=p_values,
        broken=np.zeros((len(low), 0), bool),
        family_error=FAMILY_ERROR,
    )


def measure(cell: Cell, runs: int) -> dict[str, Any]:
    began, layout, rng = time.perf_counter(), Layout(cell), np.random.default_rng(cell.seed)
    tally: dict[str, float] = {}

    def count(name: str, hits: np.ndarray | float) -> None:
        tally[name] = tally.get(name, 0.0) + float(np.sum(hits))

    step, done = max(1, CHUNK // cell.samples), 0
    kept: dict[str, list[np.ndarray]] = {}
    while done < runs:
        now = min(step, runs - done)
        drawn = draw(cell, rng, now)
        for name, candidate in (("equal", drawn.equal), ("lower", drawn.lower)):
            kept.setdefault(name, []).append(cell_sums(candidate - drawn.against, layout.starts))
        done += now
        if sum(part.shape[2] for part in kept["equal"]) >= 2000 or done >= runs:
            whole = {name: np.concatenate(parts, axis=2) for name, parts in kept.items()}
            weigh(layout, whole, count)
            kept = {}
    row: dict[str, object] = {
        "shape": cell.shape,
        "clusters": cell.clusters,
        "icc": cell.icc,
        "samples": cell.samples,
        "largest_share": round(cell.sizes.max() / cell.samples, 3),
        "runs": runs,
    }
    row |= {
        name: round(hits / runs * (1 if name.startswith("mean") else 100), 3) for name, hits in tally.items()
    }
    return row | {"seconds": round(time.perf_counter() - began, 1)}


def weigh(layout: Layout, drawn: dict[str, np.ndarray], count: Count) -> None:
    """Judge a batch of runs and count what came out."""
    p_tasks, p_beyond = (task_p_values(layout, drawn["equal"], tolerance) for tolerance in (0.0, MARGIN))
    for primary in PRIMARIES:
        name = METRICS[primary]
        pooled = layout.tests(drawn["equal"][:, primary], None)
        codes = outcome_codes(pooled, np.column_stack([drop_p_values(pooled, tolerance=MARGIN), p_beyond]))
        dropped = np.column_stack([drop_p_values(pooled), p_tasks])
        count(f"false drop {name}", outcome_codes_any_drop(dropped))
        count(f"false regress {name}", codes == Exit.REGRESS)
        count(f"pass when equal {name}", codes == Exit.DONE)
        value, se, df = pooled.value[0], pooled.of_bounds[0][0], pooled.df[0]
        seen = detectable_difference(se, df, level=LEVEL, power=POWER, limit=0.8)
        # Each run's promise is kept or broken by the next run, moved to to the promised difference.
        moved = Tests(value=(value + np.roll(seen, 1) - MARGIN)[None], se=se[None], df=df[None])
        count(f"power {name}", worst_case_bounds(moved, level=LEVEL)[0] > -MARGIN)
        count(f"mean detectable {name}", seen)
        count(f"mean df {name}", df)
        lower = layout.tests(drawn["lower"][:, primary], None)
        count(
            f"false pass {name}",
            outcome_codes(lower, drop_p_values(lower, tolerance=MARGIN)[:, None]) == Exit.DONE,
        )


def outcome_codes_any_drop(p_values: np.ndarray) -> np.ndarray:
    """(runs,) whether any critical difference is called a drop, whatever the result of the primary."""
    codes = outcomes(
        holds=np.zeros((len(p_values), 1), bool),
        drop_p=p_values,
        broken=np.zeros((len(p_values), 0), bool),
        family_error=FAMILY_ERROR,
    )
    regressed: np.ndarray = codes == Exit.REGRESS
    return regressed


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--samples", type=int, help="only cells of this many samples")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument(
        "--above", type=float, help="only cells whose false pass in --out is above it, percent"
    )
    parser.add_argument("--table", action="store_true", help="print the cells of --out as Markdown")
    parser.add_argument("--summary", action="store_true", help="print the worst rates of --out as Markdown")
    given = parser.parse_args()
    if given.table:
        print(table(json.loads(given.out.read_text())["cells"]))
        return
    if given.summary:
        print(summary(json.loads(given.out.read_text())["cells"]))
        return
    found = json.loads(given.out.read_text()) if given.out.exists() else {"cells": []}
    done = {
        (c["shape"], c["clusters"], c["icc"], c["samples"]) for c in found["cells"] if c["runs"] >= given.runs
    }
    todo = [c for c in all_cells() if (c.shape, c.clusters, c.icc, c.samples) not in done]
    todo = [c for c in todo if given.samples in {None, c.samples}]
    if given.above is not None:
        worst = {key(c): max(rates(c, "false pass")) for c in found["cells"]}
        todo = [c for c in todo if worst.get((c.shape, c.clusters, c.icc, c.samples), 0.0) > given.above]
    found["machine"] = {"python": platform.python_version(), "numpy": np.__version__, "cores": os.cpu_count()}
    found["margin"], found["level"], found["family_error"] = MARGIN, LEVEL, FAMILY_ERROR
    with ProcessPoolExecutor(given.jobs) as pool:
        for cell, row in zip(todo, pool.map(measure, todo, [given.runs] * len(todo)), strict=True):
            found["cells"] = [c for c in found["cells"] if key(c) != key(row)] + [row]
            given.out.parent.mkdir(parents=True, exist_ok=True)
            given.out.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
            print(
                cell.name,
                json.dumps({k: v for k, v in row.items() if k.startswith(("false", "power"))}),
                flush=True,
            )


def key(row: dict[str, object]) -> tuple[object, ...]:
    return row["shape"], row["clusters"], row["icc"], row["samples"]


def rates(row: dict[str, Any], name: str) -> tuple[float, float]:
    """Return a rate of a cell for both primaries, in percent."""
    return float(row[f"{name} score"]), float(row[f"{name} binary"])


def summary(cells: list[dict[str, Any]]) -> str:
    """Return the worst and the usual rates over all cells and both primaries."""
    false_pass = [(rate, c["runs"]) for c in cells for rate in rates(c, "false pass")]
    worst, runs = max(false_pass)
    error = 100 * (worst / 100 * (1 - worst / 100) / runs) ** 0.5
    mean, above = (100 * np.mean(x) for x in zip(*((r / 100, r > 3) for r, _ in false_pass), strict=True))
    power = [rate for c in cells for rate in rates(c, "power")]
    lines = [
        "| rate | percent |",
        "|---|--:|",
        f"| worst false pass, and its Monte Carlo error ({runs:,} runs) | {worst:.2f}; {error:.2f} |",
        f"| mean false pass; share above 3 % | {mean:.2f}; {above:.0f} |",
    ]
    for name in ("false drop", "false regress"):
        lines.append(f"| worst {name} | {max(max(rates(c, name)) for c in cells):.2f} |")
    lines.append(
        f"| least power; mean; share below 80 % | {min(power):.1f}; {np.mean(power):.1f}; "
        f"{100 * np.mean([p < 80 for p in power]):.0f} |"
    )
    for primary in ("score", "binary"):
        equal = [float(c[f"pass when equal {primary}"]) for c in cells]
        often, span = sum(e >= 80 for e in equal), f"{min(equal):.1f} to {max(equal):.1f}"
        lines.append(
            f"| an equal candidate passes, {primary}: median; range | {np.median(equal):.1f}; {span} |"
        )
        lines.append(f"| the same: cells, of {len(cells)}, with at least 80 % | {often} |")
    return "\n".join(lines)


def table(cells: list[dict[str, Any]]) -> str:
    lines = [
        "| sizes | clusters | largest | ICC | samples | runs | false pass, score / binary | false drop | "
        "false regress | power, score / binary |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for c in sorted(cells, key=lambda c: (str(c["shape"]), c["clusters"], c["icc"], c["samples"])):

        def worst(name: str, c: dict[str, Any] = c) -> float:
            return max(float(c[f"{name} score"]), float(c[f"{name} binary"]))

        false_pass = f"{c['false pass score']:.2f} / {c['false pass binary']:.2f}"
        power = f"{c['power score']:.0f} / {c['power binary']:.0f}"
        lines.append(
            f"| {c['shape']} | {c['clusters']} | {100 * c['largest_share']:.0f} % | {c['icc']} "
            f"| {c['samples']} | {c['runs']} | {false_pass} | {worst('false drop'):.2f} "
            f"| {worst('false regress'):.2f} | {power} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
