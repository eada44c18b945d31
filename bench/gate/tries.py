"""The ledger of tries: how often repeated tries find a pass, and what the ledger costs an equal candidate.

    python bench/gate/tries.py --runs 10000          to bench/results/gate_tries.json
    python bench/gate/tries.py --table               the result as Markdown (docs/gate.md)

The score and the cells of `bench/gate/daily.py`, one rule: the pooled primary's margin. In percent,

    some try passes   of series of k candidates whose true drop is the margin, each with a test set and a
                      baseline of its own (independent tries, where the sum of their errors is the sharpest
                      bound), or all with the same; without a ledger, and with it
    equal passes      of candidates that are equal to the baseline, by the number of the try
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

from bench.gate.daily import TRIED_CELLS  # noqa: E402
from bench.gate.draws import MARGIN, Cell, draw, tries_of  # noqa: E402
from bench.gate.simulate import LEVEL, Layout, cell_sums  # noqa: E402
from echat_eval.analysis.bounds import worst_case_bounds  # noqa: E402
from echat_eval.gate.tries import share_of_error  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "gate_tries.json"
TRIES = (1, 3, 10)
#: Margin of the candidates that are equal: with 3, most cells are too small for any pass.
EQUAL_MARGIN = 5.0
STEP = 100  # runs drawn at once


def passes(layout: Layout, differences: np.ndarray, margin: float, number: int | None) -> np.ndarray:
    """(runs,) whether the lower bound of try `number` is above -margin; None: without a ledger."""
    share = 1.0 if number is None else share_of_error(number, None)
    level = 1 - (1 - LEVEL) * share
    low, _ = worst_case_bounds(layout.tests(cell_sums(differences, layout.starts), None, level), level=level)
    passed: np.ndarray = low > -margin
    return passed


def series(layout: Layout, differences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(runs, tries) which tries pass without a ledger, and with it."""
    tries = range(differences.shape[1])
    without = [passes(layout, differences[:, k], MARGIN, None) for k in tries]
    with_ledger = [passes(layout, differences[:, k], MARGIN, k + 1) for k in tries]
    return np.stack(without, axis=1), np.stack(with_ledger, axis=1)


def measure(cell: Cell, runs: int) -> dict[str, Any]:
    layout, rng = Layout(cell), np.random.default_rng([*cell.seed, 22])
    row: dict[str, Any] = {
        "clusters": cell.clusters,
        "icc": cell.icc,
        "samples": cell.samples,
        "margin": MARGIN,
        "runs": runs,
    }
    for name, anew in (("each its own test set", True), ("all the same test set", False)):
        found = [
            series(layout, tries_of(cell, rng, STEP, max(TRIES), anew=anew)) for _ in range(runs // STEP)
        ]
        for ledger, part in (("without", 0), ("with", 1)):
            passed = np.concatenate([both[part] for both in found])
            row[f"{name}, {ledger} ledger"] = {
                str(k): round(100 * float(passed[:, :k].any(axis=1).mean()), 2) for k in TRIES
            }
    tally = np.zeros(len(TRIES) + 1)
    for _ in range(runs // STEP):
        drawn = draw(cell, rng, STEP)
        differences = drawn.equal[0].astype(float) - drawn.against[0]
        tally += [passes(layout, differences, EQUAL_MARGIN, number).sum() for number in (None, *TRIES)]
    shares = np.round(100 * tally / runs, 2).tolist()
    row["equal passes"] = dict(zip(("without", *map(str, TRIES)), shares, strict=True))
    return row


def table(found: dict[str, Any]) -> str:
    heads = " | ".join("one passes" if k == 1 else f"some of {k} passes" for k in TRIES)
    lines = [f"| candidates with a drop of the margin | {heads} |", "|---|" + "--:|" * len(TRIES)]
    for row in found["cells"]:
        for name in ("each its own test set", "all the same test set"):
            for ledger in ("without", "with"):
                numbers = " | ".join(f"{row[f'{name}, {ledger} ledger'][str(k)]:.1f}" for k in TRIES)
                lines.append(
                    f"| {row['clusters']} clusters, ICC {row['icc']}, {name}, {ledger} ledger | {numbers} |"
                )
    heads = " | ".join(f"try {k}" for k in TRIES)
    lines += ["", f"| an equal candidate passes, margin {EQUAL_MARGIN:g} | without ledger | {heads} |"]
    lines.append("|---|" + "--:|" * (len(TRIES) + 1))
    for row in found["cells"]:
        numbers = " | ".join(f"{share:.0f}" for share in row["equal passes"].values())
        lines.append(f"| {row['clusters']} clusters, ICC {row['icc']} | {numbers} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10_000, help="a multiple of 100")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print the result file as Markdown")
    given = parser.parse_args()
    if given.table:
        print(table(json.loads(given.out.read_text())))
        return
    began = time.perf_counter()
    found: dict[str, Any] = {"python": platform.python_version(), "numpy": np.__version__}
    found["cells"] = [measure(cell, given.runs) for cell in TRIED_CELLS]
    found["seconds"] = round(time.perf_counter() - began, 1)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
