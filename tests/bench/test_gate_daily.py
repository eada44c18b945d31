"""The bench of missing rows agrees with `decide`, and its document with its result."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.gate import daily
from bench.gate.draws import MARGIN, Cell, draw, tries_of
from bench.gate.simulate import LEVEL, Layout
from echat_eval.analysis.bounds import worst_case_bounds
from echat_eval.errors import Exit
from echat_eval.gate import MetricRule, Policy, decide

ROOT = Path(__file__).resolve().parents[2]
CELL = Cell("lognormal", 12, 0.1, 200)


@pytest.mark.slow
def test_batched_bounds_with_missing_rows_agree_with_decide() -> None:
    rng, layout = np.random.default_rng(3), Layout(CELL)
    drawn = draw(CELL, rng, 6)
    ours, theirs = drawn.equal[0].astype(float) + 4.0, drawn.against[0].astype(float)
    ours = np.clip(ours, 0, 100)
    missing = daily.missing_rows(ours, 0.02, rng)
    assert missing.sum(axis=1).tolist() == [4] * 6
    tests = daily.imputed_tests(layout, ours, theirs, missing)
    low, high = worst_case_bounds(tests, level=LEVEL)
    cluster, task = CELL.layout
    rows = pd.DataFrame(
        {
            "sample_id": np.arange(CELL.samples),
            "task": task.astype(str),
            "cluster": cluster.astype(str),
            "system": "s",
            "metric": "score",
        }
    )
    rule = MetricRule(higher_is_better=True, low=0, high=100, critical=False)
    for margin in (2.0, 8.0):
        undecided = daily.cannot_tell(tests, margin)
        for run in range(6):
            gone = missing[run]
            candidate = rows.assign(
                value=np.where(gone, np.nan, ours[run]), state=np.where(gone, "missing", "value")
            )
            against = rows.assign(value=theirs[run], state="value")
            got = decide(candidate, against, Policy(margin=margin, metrics={"score": rule}))
            assert got.low == pytest.approx(low[run])
            assert got.high == pytest.approx(high[run])
            assert (got.exit_code == Exit.CANNOT_TELL) == undecided[run]


def test_worse_replies_are_likelier_to_be_missing() -> None:
    values = np.random.default_rng(0).uniform(0, 100, (200, 600))
    missing = daily.missing_rows(values, 0.05, np.random.default_rng(1))
    assert values[missing].mean() < values[~missing].mean() - 10


def test_tries_drop_by_the_margin_and_are_related_only_on_one_test_set() -> None:
    cell = Cell("lognormal", 20, 0.1, 600)
    for anew, related in ((True, 0.0), (False, 0.5)):
        drops = tries_of(cell, np.random.default_rng(2), 300, 2, anew=anew).mean(axis=2)
        assert drops.mean() == pytest.approx(-MARGIN, abs=0.4)
        assert np.corrcoef(drops.T)[0, 1] == pytest.approx(related, abs=0.2)


def test_the_document_shows_the_committed_result() -> None:
    found = json.loads(daily.RESULTS.read_text(encoding="utf-8"))
    text = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
    for part in daily.table(found).split("\n\n"):
        assert part in text
