"""How often is a run that stops when it is decided wrong, and how many calls does it make?

    python bench/gate/sequential.py --runs 400 --every 2 --jobs 2    to bench/results/gate_sequential.json
    python bench/gate/sequential.py --runs 400                       the same in all cells
    python bench/gate/sequential.py --table           the result as Markdown

The draws are those of bench/gate/simulate.py, in the cells with at least two looks (20 clusters or more).
Clusters come in random order, a new one every 50 runs. Each look decides with the errors of
`gate.looks.look_policy` on the clusters asked so far, among 21 critical differences. A cell whose false pass
is above 3 % is drawn anew with four times the runs. Percent of runs, for the primary score:

    false pass       the true drop is the margin, and some look passes (our limit 3.0)
    false regress    nothing changed, and some look finds a drop beyond the margin in the family (5.5)
    same verdict     as the decision on all clusters without looks, mean over four truths (at least 93)
    calls            share of the samples that were asked

The truths: an equal candidate; a drop of the margin; *twice*, twice the smallest detectable difference of
the whole run above -margin; *below*, as far below -margin. For differences that no metric of 0 to 100 can
have, the nearest one is drawn.

Rivals, on the same runs: a fixed sample as small as the mean of the looks when equal, and an asymptotic
confidence sequence at the same looks (Waudby-Smith et al., 2024, Annals of Statistics 52(6)), for the pooled
difference alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.gate.draws import MARGIN, Cell, all_cells, draw  # noqa: E402
from bench.gate.simulate import FAMILY_ERROR, LEVEL, POWER, WIDTH, Layout, cell_sums, tests_of  # noqa: E402
from bench.support.machine import machine  # noqa: E402
from echat_eval.analysis.bounds import Tests, drop_p_values, worst_case_bounds  # noqa: E402
from echat_eval.errors import Exit  # noqa: E402
from echat_eval.gate import Policy  # noqa: E402
from echat_eval.gate.looks import Look, look_policy  # noqa: E402
from echat_eval.gate.rules import outcomes  # noqa: E402
from echat_eval.stats import detectable_difference  # noqa: E402
from echat_eval.stats.sequential import planned_looks  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "gate_sequential.json"
BATCH = 50
TRUTHS = ("equal", "margin", "twice", "below")
POLICY = Policy(margin=MARGIN, metrics={"score": {"higher_is_better": True}}, level=LEVEL)  # type: ignore[dict-item]


def cells() -> list[Cell]:
    """Return the cells with at least two looks."""
    return [cell for cell in all_cells() if len(planned_looks(cell.clusters)) > 1]


class Batch:
    """Runs of one truth: sums over parts, (4, metrics, runs, parts), and where the parts lie."""

    def __init__(self, layout: Layout, sums: np.ndarray) -> None:
        self.layout, self.sums = layout, sums

    def tests(self, kept: np.ndarray, task: int | None, level: float, metric: int | None = None) -> Tests:
        """Return the tests on some clusters, of one task or pooled."""
        layout, sums = self.layout, self.sums if metric is None else self.sums[:, metric]
        mask = kept[layout.code // 5].astype(float)
        sizes = layout.grouped(layout.counts * mask, task)
        return tests_of(layout.grouped(sums * mask, task), sizes, WIDTH, level)

    def codes(self, kept: np.ndarray, level: float, family_error: float) -> np.ndarray:
        """(runs,) exit codes of the gate on some clusters."""
        pooled = self.tests(kept, None, level, 0)
        p = [drop_p_values(pooled, tolerance=MARGIN)[None]]
        p += [drop_p_values(self.tests(kept, task, level), tolerance=MARGIN) for task in range(5)]
        low, _ = worst_case_bounds(pooled, level=level)
        return outcomes(
            holds=(low > -MARGIN)[:, None],
            drop_p=np.nan_to_num(np.concatenate(p, axis=0).T, nan=1.0),
            broken=np.zeros((len(low), 0), bool),
            family_error=family_error,
        )

    def sequence_codes(self, kept: np.ndarray, total: int) -> np.ndarray:
        """(runs,) exit codes of an asymptotic confidence sequence for the pooled difference."""
        pooled, m, error = self.tests(kept, None, LEVEL, 0), int(kept.sum()), 1 - LEVEL
        tuned = (-2 * np.log(error) + np.log(-2 * np.log(error)) + 1) / total
        grown = m * tuned
        half = pooled.se[0] * np.sqrt(2 * (grown + 1) / grown * np.log(np.sqrt(grown + 1) / error))
        value = pooled.value[0]
        codes = np.where(value - half > -MARGIN, int(Exit.DONE), int(Exit.CANNOT_TELL))
        return np.where(value + half < -MARGIN, int(Exit.REGRESS), codes)


def stopped(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first decided code of (looks, runs), and the number of its look."""
    decided = codes != Exit.CANNOT_TELL
    at = np.where(decided.any(axis=0), decided.argmax(axis=0), len(codes) - 1)
    return codes[at, np.arange(codes.shape[1])], at


def measure(cell: Cell, runs: int) -> dict[str, Any]:
    """Return the row of one cell."""
    began, layout, rng = time.perf_counter(), Layout(cell), np.random.default_rng([*cell.seed, 22])
    planned = planned_looks(cell.clusters)
    looks = [Look(number=k, clusters=g, samples=g) for k, g in enumerate(planned, 1)]
    at = [look_policy(POLICY, looks, look.number) for look in looks]
    detectable = 0.0
    found: dict[str, list[np.ndarray]] = {}

    def keep(name: str, values: np.ndarray) -> None:
        found.setdefault(name, []).append(values)

    while sum(map(len, found.get("same equal", []))) < runs:
        order = rng.permutation(cell.clusters)
        kept = [np.isin(np.arange(cell.clusters), order[:g]) for g in planned]
        shares = np.array([cell.sizes[order[:g]].sum() / cell.samples for g in planned])
        first = draw(cell, rng, BATCH)
        if not detectable:
            whole = Batch(layout, cell_sums(first.equal - first.against, layout.starts))
            tests = whole.tests(kept[-1], None, LEVEL, 0)
            seen = detectable_difference(
                tests.of_bounds[0][0], tests.df[0], level=LEVEL, power=POWER, limit=0.8
            )
            detectable = float(np.median(seen))
        drawn = [first.equal - first.against, first.lower - first.against]
        for drop in (MARGIN - 2 * detectable, MARGIN + 2 * detectable):
            other = draw(cell, rng, BATCH, drop=min(drop, 50.0))
            drawn.append(other.lower - other.against)
        for name, values in zip(TRUTHS, drawn, strict=True):
            batch = Batch(layout, cell_sums(values, layout.starts))
            whole_codes = batch.codes(kept[-1], LEVEL, FAMILY_ERROR)
            codes = np.stack([batch.codes(k, p.level, p.family_error) for k, p in zip(kept, at, strict=True)])
            code, look = stopped(codes)
            keep(f"code {name}", code)
            keep(f"whole {name}", whole_codes)
            keep(f"same {name}", code == whole_codes)
            keep(f"calls {name}", shares[look])
            sequence, look = stopped(np.stack([batch.sequence_codes(k, cell.clusters) for k in kept]))
            keep(f"sequence code {name}", sequence)
            keep(f"sequence same {name}", sequence == whole_codes)
            keep(f"sequence calls {name}", shares[look])
            used = (
                shares[stopped(codes)[1]].mean() if name == "equal" else float(np.mean(found["calls equal"]))
            )
            number = max(6, round(used * cell.clusters))
            small = batch.codes(np.isin(np.arange(cell.clusters), order[:number]), LEVEL, FAMILY_ERROR)
            keep(f"fixed code {name}", small)
            keep(f"fixed same {name}", small == whole_codes)
    joined = {name: np.concatenate(parts) for name, parts in found.items()}

    def percent(values: np.ndarray) -> float:
        return round(100 * float(np.mean(values)), 2)

    row: dict[str, Any] = {
        "shape": cell.shape,
        "clusters": cell.clusters,
        "icc": cell.icc,
        "samples": cell.samples,
        "looks": len(looks),
        "runs": len(joined["same equal"]),
        "detectable": round(detectable, 2),
        "seconds": round(time.perf_counter() - began, 1),
    }
    for rule in ("", "sequence ", "fixed "):
        row[f"{rule}false pass"] = percent(joined[f"{rule}code margin"] == Exit.DONE)
        row[f"{rule}false regress"] = percent(joined[f"{rule}code equal"] == Exit.REGRESS)
        row[f"{rule}same verdict"] = percent(np.concatenate([joined[f"{rule}same {t}"] for t in TRUTHS]))
        for truth in TRUTHS:
            row[f"{rule}decided {truth}"] = percent(joined[f"{rule}code {truth}"] != Exit.CANNOT_TELL)
            if rule != "fixed ":
                row[f"{rule}calls {truth}"] = percent(joined[f"{rule}calls {truth}"])
    row["median calls twice"] = round(100 * float(np.median(joined["calls twice"])), 1)
    row["whole passes equal"] = percent(joined["whole equal"] == Exit.DONE)
    return row


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the worst rates, and the usual calls, over cells."""
    large = [row for row in rows if row["samples"] >= 600 and row["clusters"] >= 40]
    facts: dict[str, Any] = {}
    for rule in ("", "sequence ", "fixed "):
        facts[f"{rule}worst false pass"] = max(row[f"{rule}false pass"] for row in rows)
        facts[f"{rule}worst false regress"] = max(row[f"{rule}false regress"] for row in rows)
        facts[f"{rule}least same verdict"] = min(row[f"{rule}same verdict"] for row in rows)
        facts[f"{rule}mean same verdict"] = mean(rows, f"{rule}same verdict")
        facts[f"{rule}mean false pass"] = mean(rows, f"{rule}false pass")
        for truth in TRUTHS:
            if rule != "fixed ":
                facts[f"{rule}calls {truth}"] = mean(rows, f"{rule}calls {truth}")
    facts["fixed calls"] = facts["calls equal"]
    facts["median calls twice, 600 samples and 40 clusters or more"] = max(
        (row["median calls twice"] for row in large), default=None
    )
    facts["cells"] = len(rows)
    return facts


def mean(rows: list[dict[str, Any]], name: str) -> float:
    """Return the mean of a figure over cells."""
    return round(float(np.mean([row[name] for row in rows])), 2)


def table(facts: dict[str, Any]) -> str:
    """Return the summary as Markdown."""
    lines = [
        "| rule | false pass: worst; mean | false regress: worst | same verdict: least; mean "
        "| calls: equal | at the margin | twice the detectable | below |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, rule in (
        ("looks", ""),
        ("confidence sequence", "sequence "),
        ("a fixed smaller sample", "fixed "),
    ):
        calls = [facts.get(f"{rule}calls {truth}", facts["fixed calls"]) for truth in TRUTHS]
        lines.append(
            f"| {name} | {facts[f'{rule}worst false pass']:.1f}; {facts[f'{rule}mean false pass']:.1f} "
            f"| {facts[f'{rule}worst false regress']:.1f} "
            f"| {facts[f'{rule}least same verdict']:.1f}; {facts[f'{rule}mean same verdict']:.1f} "
            f"| {' | '.join(f'{share:.0f}' for share in calls)} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--every", type=int, default=1, help="only every n-th cell")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print the summary as Markdown")
    given = parser.parse_args()
    if given.table:
        print(table(json.loads(given.out.read_text())["summary"]))
        return
    rows = []
    selected = cells()[:: given.every]
    with ProcessPoolExecutor(given.jobs) as pool:
        for cell, found in zip(
            selected, pool.map(measure, selected, [given.runs] * len(selected)), strict=True
        ):
            row = measure(cell, 4 * given.runs) if found["false pass"] > 3 else found
            rows.append(row)
            print(json.dumps(row), flush=True)
    facts = {"machine": machine(), "cells": rows, "summary": summary(rows), "margin": MARGIN}
    given.out.write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
