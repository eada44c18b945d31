"""The same draws through other gates: statgate, evalproof, evalsig, truescore, and NeMo's rule as a formula.

    python -m venv rivals && rivals/bin/pip install statgate==0.1.1 evalproof==0.2.1 evalsig==0.1.2 \
        truescore==0.7.4 numpy scipy
    rivals/bin/python bench/gate/rivals.py --runs 1000
    python bench/gate/rivals.py --table                            the rates as Markdown (docs/gate.md)

They run in an environment of their own. Each is called by its public function with its defaults, bootstrap
draws cut to 1000 (evalsig 400; its clustered form 400 runs a cell, and none with 200 clusters). statgate
averages the rows of a case and treats cases as independent; it is given one row per case, and one cluster per
case. A rule that the result file lacks is added to it, on the same draws. Percent of runs in which the
right-or-wrong metric, pooled over all tasks,

    at the margin   truly dropped by the margin, and was let through (nominal 2.5)
    nothing changed did not change, and was called worse (nominal 2.5; evalsig and evalproof 5)
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm, t

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.gate.draws import MARGIN, Cell, draw  # noqa: E402
from echat_eval.stats import cluster_mean  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "gate_sim_rivals.json"
CELLS = [Cell("lognormal", g, icc, 200) for icc in (0.1, 0.25, 0.0) for g in (10, 40, 6, 200)]
BINARY = 2
Rule = Callable[[np.ndarray, np.ndarray, np.ndarray, int], bool]


def statgate_ships(b: np.ndarray, c: np.ndarray, cluster: np.ndarray, seed: int) -> bool:
    from statgate.core.bootstrap import bca_mean_interval

    return bool(bca_mean_interval(c - b, resamples=1000, seed=seed).low > -MARGIN)


def statgate_clustered_ships(b: np.ndarray, c: np.ndarray, cluster: np.ndarray, seed: int) -> bool:
    sums, counts = np.bincount(cluster, weights=c - b), np.bincount(cluster)
    return statgate_ships(np.zeros(counts.size), sums / counts, cluster, seed)


def nemo_passes(b: np.ndarray, c: np.ndarray, cluster: np.ndarray, seed: int) -> bool:
    d = c - b
    return bool(d.mean() - t.ppf(0.975, d.size - 1) * d.std(ddof=1) / d.size**0.5 >= -MARGIN)


def nemo_clustered_passes(b: np.ndarray, c: np.ndarray, cluster: np.ndarray, seed: int) -> bool:
    d = c - b
    sums, groups = np.bincount(cluster, weights=d - d.mean()), cluster.max() + 1
    se = np.sqrt((sums**2).sum() * groups / (groups - 1)) / d.size
    return bool(d.mean() - norm.ppf(0.975) * se >= -MARGIN)


def ours_passes(b: np.ndarray, c: np.ndarray, cluster: np.ndarray, seed: int) -> bool:
    return (cluster_mean(c - b, cluster, change=True, width=100.0).low or -np.inf) > -MARGIN


def ours_drop(b: np.ndarray, c: np.ndarray, cluster: np.ndarray, seed: int) -> bool:
    return (cluster_mean(c - b, cluster, change=True, width=100.0).high or 0.0) < 0


def evalproof_fails(b: np.ndarray, c: np.ndarray, cluster: np.ndarray, seed: int) -> bool:
    from evalproof.stats import mcnemar_exact

    lost, won = int((b > c).sum()), int((c > b).sum())
    return lost >= won and mcnemar_exact(lost, won) < 0.05


def evalsig_drop(b: np.ndarray, c: np.ndarray, cluster: np.ndarray, seed: int) -> bool:
    from evalsig.inference.mcnemar import mcnemar_test

    got = mcnemar_test(c / 100, b / 100, alternative="greater")
    return bool(got.p_value < 0.05 and b.mean() > c.mean())


def evalsig_clustered_drop(b: np.ndarray, c: np.ndarray, cluster: np.ndarray, seed: int) -> bool:
    from evalsig.inference.cluster_bootstrap import cluster_bootstrap_ci

    got = cluster_bootstrap_ci(c, b, cluster, alternative="greater", n_resamples=400, rng=seed)
    return bool(got.p_value < 0.05 and b.mean() > c.mean())


def truescore_worse(b: np.ndarray, c: np.ndarray, cluster: np.ndarray, seed: int) -> bool:
    from truescore.compare import paired_bootstrap

    return bool(paired_bootstrap(c, b, clusters=cluster, n_bootstrap=1000, seed=seed).high < 0)


AT_MARGIN: dict[str, Rule] = {
    "echat-eval": ours_passes,
    "statgate": statgate_ships,
    "statgate, case = cluster": statgate_clustered_ships,
    "NeMo rule": nemo_passes,
    "NeMo rule, clustered": nemo_clustered_passes,
}
NOTHING_CHANGED: dict[str, Rule] = {
    "echat-eval": ours_drop,
    "truescore, clustered": truescore_worse,
    "evalproof": evalproof_fails,
    "evalsig": evalsig_drop,
    "evalsig, clustered": evalsig_clustered_drop,
}
#: Rules that treat every row as independent.
ROWS = ("statgate", "evalproof", "evalsig")


def most(name: str, cell: Cell, runs: int) -> int:
    """Return how many runs a rule gets; evalsig's clustered bootstrap takes up to 0.1 s a run."""
    if name == "evalsig, clustered":
        return min(runs, 400) if cell.clusters <= 40 else 0
    return runs


def measure(cell: Cell, runs: int, known: dict[str, object]) -> dict[str, object]:
    """Return a row of the result: what is known of the cell, and the rules that it lacks."""
    rng, cluster = np.random.default_rng(cell.seed), cell.layout[0]
    tally: dict[str, int] = {}
    began = time.perf_counter()
    for start in range(0, runs, 200):
        drawn = draw(cell, rng, min(200, runs - start))
        sides = (("at the margin", AT_MARGIN, drawn.lower), ("nothing changed", NOTHING_CHANGED, drawn.equal))
        for run in range(drawn.against.shape[1]):
            b = drawn.against[BINARY, run].astype(float)
            for title, rules, candidate in sides:
                c = candidate[BINARY, run].astype(float)
                for name, rule in rules.items():
                    key = f"{title}: {name}"
                    if key not in known and start + run < most(name, cell, runs):
                        tally[key] = tally.get(key, 0) + rule(b, c, cluster, start + run)
    shares = {
        key: round(100 * hits / most(key.partition(": ")[2], cell, runs), 2) for key, hits in tally.items()
    }
    return {
        "clusters": cell.clusters,
        "icc": cell.icc,
        "samples": cell.samples,
        "shape": cell.shape,
        "runs": runs,
        "seconds": round(time.perf_counter() - began, 1),
        **known,
        **shares,
    }


def table(cells: list[dict[str, Any]]) -> str:
    """Return the rates as Markdown, one column per cell; a rule of independent rows is marked as such."""
    cells = sorted(cells, key=lambda cell: (cell["clusters"], cell["icc"]))
    heads = " | ".join(f"{cell['clusters']} clusters, ICC {cell['icc']}" for cell in cells)
    lines = [f"| rule | {heads} |", "|---|" + "---|" * len(cells)]
    for title, rules in (("at the margin", AT_MARGIN), ("nothing changed", NOTHING_CHANGED)):
        for name in rules:
            rates = [cell.get(f"{title}: {name}") for cell in cells]
            numbers = " | ".join("–" if rate is None else f"{rate:.1f}" for rate in rates)
            lines.append(f"| {title}: {name}{', rows' * (name in ROWS)} | {numbers} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print the cells of --out as Markdown")
    given = parser.parse_args()
    if given.table:
        print(table(json.loads(given.out.read_text())["cells"]))
        return
    found = json.loads(given.out.read_text())["cells"] if given.out.exists() else []
    cells = {(row["clusters"], row["icc"]): row for row in found if row["runs"] == given.runs}
    for cell in CELLS:
        cells[cell.clusters, cell.icc] = measure(cell, given.runs, cells.get((cell.clusters, cell.icc), {}))
        print(json.dumps(cells[cell.clusters, cell.icc]), flush=True)
        result = {"python": platform.python_version(), "numpy": np.__version__, "cells": list(cells.values())}
        given.out.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
