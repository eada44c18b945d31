"""The cost of missing rows, of failed replies and of repeated tries.

    python bench/gate/daily.py --runs 2000           all parts, to bench/results/gate_daily.json
    python bench/gate/daily.py --table               all parts as Markdown (docs/gate.md)

The score of 0 to 100 of `bench/gate/draws.py`, 600 samples in nested clusters, one rule: the pooled primary's
margin. In percent of runs,

    cannot tell     an equal candidate, some of whose rows are missing: the worse a reply, the likelier its
                    row is missing. The gate takes each at its worst and at its best.
    passes          an equal candidate of a cue contrast (-100 to 100, margin 2, independent samples, normal
                    differences), some of whose replies failed, which counts as -100
    some try passes of k candidates whose true drop is the margin of 3, at least one passes: each with a test
                    set and a baseline of its own, or all with the same; and 1 - (1 - p)^k for the p of one.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.gate.draws import MARGIN, Cell, draw, tries_of  # noqa: E402
from bench.gate.simulate import LEVEL, WIDTH, Layout, cell_sums, tests_of  # noqa: E402
from echat_eval.analysis.bounds import Tests, drop_p_values, worst_case_bounds  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "gate_daily.json"
SHARES = (0.0, 0.005, 0.01, 0.02, 0.03, 0.05)
MARGINS = (MARGIN, 5.0)
MISSING_CELLS = (Cell("lognormal", 100, 0.0, 600), Cell("lognormal", 100, 0.1, 600))
FAILED_CELLS = tuple((samples, sd) for samples in (120, 400, 1000) for sd in (5.0, 15.0))
FAILED_MARGIN, CONTRAST, CONTRAST_LEVEL = 2.0, 200.0, 5.0  # margin, width of the range, the usual contrast
TRIES = (1, 3, 10)
TRIED_CELLS = (
    Cell("lognormal", 20, 0.1, 600),
    Cell("lognormal", 100, 0.0, 600),
    Cell("lognormal", 100, 0.1, 600),
)
STEP = 100  # runs drawn at once


def missing_rows(values: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """(runs, samples) True where a row is missing: a share of each run's, with odds of 110 - value."""
    count = round(share * values.shape[-1])
    keys = np.log(110.0 - values) + rng.gumbel(size=values.shape)
    rank = np.argsort(np.argsort(-keys, axis=-1), axis=-1)
    found: np.ndarray = rank < count
    return found


def imputed_tests(layout: Layout, ours: np.ndarray, theirs: np.ndarray, missing: np.ndarray) -> Tests:
    """Return (3, runs) tests of (runs, samples) scores: observed, missing at their worst, at their best."""
    bounds = [
        layout.tests(cell_sums(np.where(missing, bound, ours) - theirs, layout.starts), None)
        for bound in (0.0, WIDTH)
    ]
    seen = cell_sums(np.where(missing, 0.0, ours - theirs), layout.starts)
    sums = layout.grouped(seen, None)
    sizes = layout.grouped(np.add.reduceat(1.0 - missing, layout.starts, axis=-1), None)
    observed = [tests_of(sums[:, run], sizes[run], WIDTH, LEVEL) for run in range(len(ours))]
    parts = [
        *([np.stack([getattr(test, name)[0] for test in observed]) for name in ("value", "se", "df")]),
        *(np.stack([test.of_bounds[side][0] for test in observed]) for side in (0, 1)),
    ]
    rows = [parts, *([t.value[0], t.se[0], t.df[0], t.of_bounds[0][0], t.of_bounds[1][0]] for t in bounds)]
    value, se, df, low, high = (np.stack([row[i] for row in rows]) for i in range(5))
    return Tests(value=value, se=se, df=df, se_low=low, se_high=high)


def cannot_tell(tests: Tests, margin: float) -> np.ndarray:
    """(runs,) whether the gate neither passes nor finds a drop beyond the margin."""
    low, _ = worst_case_bounds(tests, level=LEVEL)
    undecided: np.ndarray = ~(low > -margin) & (drop_p_values(tests, tolerance=margin) > 0.05)
    return undecided


def measure_missing(cell: Cell, runs: int) -> list[dict[str, Any]]:
    layout, rng = Layout(cell), np.random.default_rng([*cell.seed, 15])
    tally = dict.fromkeys([(margin, share) for margin in MARGINS for share in SHARES], 0)
    for start in range(0, runs, STEP):
        drawn = draw(cell, rng, min(STEP, runs - start))
        ours, theirs = (values[0].astype(float) for values in (drawn.equal, drawn.against))
        for share in SHARES:
            tests = imputed_tests(layout, ours, theirs, missing_rows(ours, share, rng))
            for margin in MARGINS:
                tally[margin, share] += int(cannot_tell(tests, margin).sum())
    return [
        {
            "clusters": cell.clusters,
            "icc": cell.icc,
            "samples": cell.samples,
            "margin": margin,
            "runs": runs,
            "cannot tell": {str(share): round(100 * tally[margin, share] / runs, 2) for share in SHARES},
        }
        for margin in MARGINS
    ]


def failed_counts(samples: int) -> dict[str, int]:
    """Return how many replies fail in each column: none, one, and the most that the guard accepts."""
    return {"none": 0, "one": 1, "2 %": int(0.02 * samples)}


def measure_failed(samples: int, sd: float, runs: int) -> dict[str, Any]:
    rng, counts = np.random.default_rng([samples, int(sd), 17]), failed_counts(samples)
    passes: dict[str, float] = {}
    differences = rng.normal(0.0, sd, (runs, samples))
    for name, count in counts.items():
        differences[:, :count] = -100.0 - CONTRAST_LEVEL
        tests = tests_of(cell_sums(differences, np.arange(samples)), np.ones(samples), CONTRAST, LEVEL)
        low, _ = worst_case_bounds(tests, level=LEVEL)
        passes[name] = round(100 * float((low > -FAILED_MARGIN).mean()), 2)
    return {"samples": samples, "sd": sd, "margin": FAILED_MARGIN, "runs": runs, "passes": passes}


def measure_tries(cell: Cell, runs: int) -> dict[str, Any]:
    layout, rng = Layout(cell), np.random.default_rng([*cell.seed, 16])
    row: dict[str, Any] = {
        "clusters": cell.clusters,
        "icc": cell.icc,
        "samples": cell.samples,
        "margin": MARGIN,
        "runs": runs,
    }
    for name, anew in (("each its own test set", True), ("all the same test set", False)):
        passed = np.concatenate(
            [
                worst_case_bounds(
                    layout.tests(
                        cell_sums(tries_of(cell, rng, STEP, max(TRIES), anew=anew), layout.starts), None
                    ),
                    level=LEVEL,
                )[0]
                > -MARGIN
                for _ in range(runs // STEP)
            ]
        )
        one = float(passed.mean())
        row[name] = {str(k): round(100 * float(passed[:, :k].any(axis=1).mean()), 2) for k in TRIES}
        if anew:
            row["one try"] = round(100 * one, 2)
            row["arithmetic"] = {str(k): round(100 * (1 - (1 - one) ** k), 2) for k in TRIES}
    return row


def table(found: dict[str, Any]) -> str:
    shares = " | ".join(f"{100 * share:g} %" for share in SHARES)
    lines = [
        f"| an equal candidate: cannot tell, by share of missing rows | {shares} |",
        "|---|" + "--:|" * len(SHARES),
    ]
    for row in found["missing"]:
        numbers = " | ".join(f"{row['cannot tell'][str(share)]:.0f}" for share in SHARES)
        lines.append(
            f"| {row['clusters']} clusters, ICC {row['icc']}, margin {row['margin']:g} | {numbers} |"
        )
    names = list(failed_counts(1))
    lines += ["", f"| an equal candidate passes, by failed replies | {' | '.join(names)} |"]
    lines.append("|---|" + "--:|" * len(names))
    for row in found["failed"]:
        numbers = " | ".join(f"{row['passes'][name]:.0f}" for name in names)
        lines.append(f"| {row['samples']} samples, sd {row['sd']:g}, margin {row['margin']:g} | {numbers} |")
    heads = " | ".join("one passes" if k == 1 else f"some of {k} passes" for k in TRIES)
    lines += ["", f"| candidates with a drop of the margin | {heads} |", "|---|" + "--:|" * len(TRIES)]
    for row in found["tries"]:
        for name in ("each its own test set", "all the same test set", "arithmetic"):
            numbers = " | ".join(f"{row[name][str(k)]:.1f}" for k in TRIES)
            lines.append(f"| {row['clusters']} clusters, ICC {row['icc']}, {name} | {numbers} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=2000, help="a multiple of 100")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print the result file as Markdown")
    given = parser.parse_args()
    if given.table:
        print(table(json.loads(given.out.read_text())))
        return
    began = time.perf_counter()
    found: dict[str, Any] = {"python": platform.python_version(), "numpy": np.__version__}
    found["missing"] = [row for cell in MISSING_CELLS for row in measure_missing(cell, given.runs)]
    found["failed"] = [measure_failed(*cell, given.runs) for cell in FAILED_CELLS]
    found["tries"] = [measure_tries(cell, given.runs) for cell in TRIED_CELLS]
    found["seconds"] = round(time.perf_counter() - began, 1)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
