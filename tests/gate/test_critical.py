"""The simulation of the gate agrees with `decide`."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bench.gate import simulate as gate_sim
from bench.gate.draws import MARGIN, METRICS, Cell, Draw, draw
from echat_eval.analysis.bounds import drop_p_values, worst_case_bounds
from echat_eval.errors import Exit
from echat_eval.gate import MetricRule, Policy, decide
from echat_eval.stats import holm

SCORE = MetricRule(higher_is_better=True, low=0, high=100)


def frame(cell: Cell, values: np.ndarray) -> pd.DataFrame:
    """(4, samples) scores of one run as a long table."""
    cluster, task = cell.layout
    rows = pd.DataFrame(
        {
            "sample_id": np.arange(cell.samples),
            "task": [f"task {t}" for t in task],
            "cluster": [f"c{c}" for c in cluster],
            "system": "s",
        }
    )
    return pd.concat([rows.assign(metric=name, value=values[m]) for m, name in enumerate(METRICS)])


@pytest.mark.slow
@pytest.mark.parametrize(
    "cell", [Cell("zipf", 8, 0.25, 200), Cell("lognormal", 40, 0.1, 320)], ids=lambda c: c.name
)
@pytest.mark.parametrize("side", ["equal", "lower"])
def test_batched_simulation_agrees_with_decide(cell: Cell, side: str) -> None:
    drawn: Draw = draw(cell, np.random.default_rng(9), 4)
    candidate, layout = getattr(drawn, side), gate_sim.Layout(cell)
    sums = gate_sim.cell_sums(candidate - drawn.against, layout.starts)
    pooled = layout.tests(sums[:, 0], None)
    low, high = worst_case_bounds(pooled, level=gate_sim.LEVEL)
    drops, beyond = (
        np.column_stack(
            [drop_p_values(pooled, tolerance=t), gate_sim.task_p_values(layout, sums, tolerance=t)]
        )
        for t in (0.0, MARGIN)
    )
    codes, adjusted = gate_sim.outcome_codes(pooled, beyond), holm(drops)
    rule = Policy(margin=MARGIN, metrics=dict.fromkeys(METRICS, SCORE))
    seen = set()
    for run in range(4):
        got = decide(frame(cell, candidate[:, run]), frame(cell, drawn.against[:, run]), rule)
        assert got.low == pytest.approx(low[run])
        assert got.high == pytest.approx(high[run])
        assert sorted(r.p for r in got.rules if r.p is not None) == pytest.approx(sorted(adjusted[run]))
        assert len(got.rules) == 22, "21 differences and the guard against rows left out"
        if not any(r.state == "broken" for r in got.rules if r.kind == "guard"):
            assert got.exit_code == codes[run]
        seen.add(got.exit_code)
    assert Exit.CANNOT_TELL in seen


def test_draws_have_the_stated_drop_and_correlation() -> None:
    cell = Cell("lognormal", 20, 0.25, 400)
    drawn = draw(cell, np.random.default_rng(1), 400)
    drop = (drawn.against - drawn.lower).mean(axis=(1, 2))
    assert drop[[0, 2]] == pytest.approx([3.0, 3.0], abs=1.0)
    assert abs(float((drawn.equal - drawn.against).mean())) < 1.0
    d, cluster = (drawn.equal - drawn.against)[0].astype(float), cell.layout[0]
    one, two = d[:, :-1][:, cluster[:-1] == cluster[1:]], d[:, 1:][:, cluster[:-1] == cluster[1:]]
    assert float((one * two).mean() / (d**2).mean()) == pytest.approx(0.25, abs=0.04)
    assert (drawn.against[0] == 100).mean() > 0.1
    assert (drawn.against[0] == 0).mean() > 0.02
    assert set(np.unique(drawn.against[2])) == {0.0, 100.0}


@pytest.mark.slow
def test_a_small_simulation_keeps_its_error_rates() -> None:
    """A tripwire for the estimator, not the proof: that is bench/gate/simulate.py with 20,000 runs a cell."""
    row = gate_sim.measure(Cell("lognormal", 10, 0.25, 200), 3000)
    for name in ("score", "binary"):
        assert row[f"false pass {name}"] < 3.6
        assert row[f"false drop {name}"] < 6.0
        assert row[f"power {name}"] > 78
