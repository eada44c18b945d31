"""Time and memory of the gate on many rows, and of 10,000 bootstrap draws.

    python bench/gate/rows.py --rows 1000000

Writes bench/results/gate_rows.json: seconds to read two CSV tables of that many rows each, to decide, the
process's peak memory, and the seconds of 10,000 cluster bootstrap draws of 1,400 samples x 60 columns.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from echat_eval.analysis import read_table  # noqa: E402
from echat_eval.gate import MetricRule, Policy, decide  # noqa: E402
from echat_eval.stats import cluster_bootstrap  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "gate_rows.json"


def write(path: Path, rows: int, seed: int) -> None:
    """Five tasks, four metrics, samples in clusters of ten."""
    samples, rng = rows // 4, np.random.default_rng(seed)
    number = np.arange(samples)
    one = pd.DataFrame(
        {
            "task": np.array(list("abcde"))[number % 5],
            "sample_id": number,
            "system": "s",
            "cluster": number // 10,
        }
    )
    parts = [one.assign(metric=f"m{m}", value=np.round(rng.uniform(0, 100, samples), 1)) for m in range(4)]
    pd.concat(parts).to_csv(path, index=False)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    rows = given.rows
    found: dict[str, object] = {"rows": rows, "cores": os.cpu_count(), "python": platform.python_version()}
    clusters = np.arange(1400)  # every sample its own: the slowest case
    began = time.perf_counter()
    cluster_bootstrap(np.random.default_rng(0).random((1400, 60)), clusters, draws=10_000)
    found["bootstrap_seconds"] = round(time.perf_counter() - began, 2)
    found["bootstrap_clusters"] = int(clusters.max()) + 1
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / "a.csv", Path(folder) / "b.csv"]
        for seed, path in enumerate(paths):
            write(path, rows, seed)
        began = time.perf_counter()
        candidate, against = (read_table(path) for path in paths)
        found["read_seconds"] = round(time.perf_counter() - began, 1)
    score = MetricRule(higher_is_better=True, low=0, high=100)
    began = time.perf_counter()
    got = decide(candidate, against, Policy(margin=3, metrics={f"m{m}": score for m in range(4)}))
    found["decide_seconds"] = round(time.perf_counter() - began, 1)
    found["outcome"] = got.title
    found["peak_memory_gib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
    given.out.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
