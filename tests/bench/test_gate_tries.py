"""The bench of the ledger of tries agrees with `gate`, keeps its rate, and is what the document shows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import echat_eval as ev
from bench.gate import tries
from bench.gate.draws import MARGIN, Cell, tries_of
from bench.gate.simulate import Layout
from echat_eval.gate import MetricRule, Policy

ROOT = Path(__file__).resolve().parents[2]


def test_any_number_of_tries_keeps_the_rate_of_one() -> None:
    found = json.loads(tries.RESULTS.read_text(encoding="utf-8"))
    for row in found["cells"]:
        assert row["runs"] >= 10_000
        for name in ("each its own test set", "all the same test set"):
            assert row[f"{name}, with ledger"]["10"] <= 3.0
            assert row[f"{name}, without ledger"]["10"] > 10


def test_the_document_shows_the_committed_result() -> None:
    text = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
    for part in tries.table(json.loads(tries.RESULTS.read_text(encoding="utf-8"))).split("\n\n"):
        assert part in text


def test_series_of_the_bench_agree_with_gates_that_share_a_ledger(tmp_path: Path) -> None:
    cell, number = Cell("lognormal", 8, 0.0, 60), 3
    drops = tries_of(cell, np.random.default_rng(4), 12, number, anew=True) + MARGIN + 4.0
    without, with_ledger = tries.series(Layout(cell), drops)
    run = next(r for r in range(12) if (without[r] != with_ledger[r]).any() and with_ledger[r].any())
    cluster, task = cell.layout
    rows = {
        "sample_id": np.arange(cell.samples).astype(str),
        "task": task.astype(str),
        "cluster": cluster.astype(str),
        "metric": "score",
        "state": "value",
    }
    against = pd.DataFrame({**rows, "value": 150.0})
    against.to_csv(tmp_path / "old.csv", index=False)
    rule = MetricRule(higher_is_better=True, low=0, high=300, critical=False)
    policy = Policy(margin=MARGIN, metrics={"score": rule})
    for k in range(number):
        table = pd.DataFrame({**rows, "value": 150.0 + drops[run, k]})
        found = ev.gate(table, tmp_path / "old.csv", policy, ledger=tmp_path / "tries.jsonl")
        assert found.tries.startswith(f"try {k + 1} of")
        assert (found.low is not None and found.low > -MARGIN) == with_ledger[run, k]
        alone = ev.gate(table, tmp_path / "old.csv", policy)
        assert (alone.low is not None and alone.low > -MARGIN) == without[run, k]


def test_a_try_needs_more_than_the_one_before() -> None:
    cell = Cell("lognormal", 20, 0.1, 600)
    without, with_ledger = tries.series(
        Layout(cell), tries_of(cell, np.random.default_rng(0), 60, 4, anew=True) + 2 * MARGIN
    )
    assert not (with_ledger & ~without).any()
    assert with_ledger[:, 0].mean() > with_ledger[:, 3].mean()
    assert without.mean() == pytest.approx(without[:, 0].mean(), abs=0.15)
