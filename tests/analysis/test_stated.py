"""Facts that tables and the command line state: honoured by compare, trend and gate, and never guessed."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import echat_eval as ev
from echat_eval.analysis import MetricRule, ScoredSystem, check_table, load_scored_system
from echat_eval.analysis.compare_runs import rules_of
from echat_eval.errors import UsageError
from tests.support.present import present

WORDS = np.tile([1.0, 12.0], 60)


def wer(short: float, long: float, **columns: Any) -> pd.DataFrame:
    """Return error rates, in percent, around one level for sentences of 1 word and another for those of 12."""
    value = np.where(WORDS == 1, short, long) + np.random.default_rng(1).normal(0, 1, len(WORDS))
    rows = {"task": "emotion", "sample_id": [f"s{i}" for i in range(len(WORDS))], "system": "ours"}
    facts = {"metric": "wer", "value": np.clip(value, 0, None), "weight": WORDS}
    return pd.DataFrame({**rows, **facts, **columns})


#: The corpus rate falls from 9.4 to 4.7, and the mean of the rows rises from 7.5 to 12.
OLD, NEW = partial(wer, 5, 10), partial(wer, 20, 4)
COLUMNS: dict[str, Any] = {"direction": "lower", "average": "ratio", "low": 0.0}


def ratio(frame: pd.DataFrame) -> float:
    return math.fsum(frame["value"] * frame["weight"]) / math.fsum(frame["weight"])


@pytest.mark.parametrize(
    ("columns", "metrics"),
    [
        (COLUMNS, None),
        ({"average": "ratio"}, "wer=lower"),
        ({}, "wer=lower,average=ratio"),
        ({}, "wer=lower,average=ratio,low=0"),
        ({}, {"wer": "lower,average=ratio"}),
        ({}, {"wer": MetricRule(higher_is_better=False, average="ratio")}),
        ({"average": "mean"}, "wer=lower,average=ratio"),  # the command comes first
    ],
)
def test_a_stated_ratio_is_compared_as_the_ratio(columns: dict[str, Any], metrics: Any) -> None:
    old, new = OLD(**columns), NEW(**columns)
    pooled = ev.compare(old, new, metrics=metrics).comparisons[0].cells[0]
    assert present(pooled.difference).value == pytest.approx(ratio(old) - ratio(new))
    assert present(pooled.low) > 0
    plain = ev.compare(old, new, metrics="wer=lower,average=mean").comparisons[0].cells[0]
    assert present(plain.high) < 0


def test_weights_without_an_average_are_refused_and_weights_that_do_not_differ_mean_nothing() -> None:
    with pytest.raises(
        UsageError, match="'wer': its weights differ and no average is stated; write average=ratio"
    ):
        ev.compare(OLD(), NEW(), metrics="wer=lower")
    equal = [table(weight=3.0) for table in (OLD, NEW)]
    assert present(ev.compare(*equal, metrics="wer=lower").comparisons[0].cells[0].difference).value < 0


@pytest.mark.parametrize(("weight", "assumed"), [(None, 12.0), (40.0, 40.0)], ids=["unknown", "stated"])
def test_a_row_of_a_ratio_that_both_lack_has_the_largest_weight(weight: Any, assumed: float) -> None:
    """The rows of one word each: with their own weight, the bounds would hide most of what they may be."""
    rule = {"wer": MetricRule(higher_is_better=False, average="ratio", low=0, missing_at_most=30)}
    gone = WORDS[:20] == 1

    def compared(*fill: tuple[float, Any]) -> tuple[float, float]:
        tables = [OLD(), NEW()]
        for table, (value, words) in zip(tables, fill, strict=True):
            table.loc[np.flatnonzero(gone), ["value", "weight"]] = value, words
        cell = ev.compare(*tables, metrics=rule).comparisons[0].cells[0]
        return present(cell.low), present(cell.high)

    worst, best = compared((0, assumed), (30, assumed)), compared((30, assumed), (0, assumed))
    assert compared((np.nan, weight), (np.nan, weight)) == pytest.approx((worst[0], best[1]))
    # A row that one side lacks has the weight of the other.
    assert compared((5, 2), (np.nan, weight))[0] == pytest.approx(compared((5, 2), (30, 2))[0])


def test_the_trend_is_that_of_the_stated_average() -> None:
    tables = [table(**COLUMNS) for table in (OLD, NEW, NEW)]
    pooled, *_ = ev.compare(*tables).trends
    assert pooled.means == pytest.approx([ratio(table) for table in tables])
    assert pooled.slope.value > 0


def test_the_gate_takes_facts_from_the_columns(tmp_path: Path) -> None:
    policy = {"margin": 1, "metrics": {"wer": {}}}
    passed = ev.gate(NEW(**COLUMNS), OLD(**COLUMNS), policy)
    assert (passed.outcome, present(passed.difference).value > 0) == ("pass", True)
    with pytest.raises(UsageError, match="weights differ and no average is stated"):
        ev.gate(NEW(), OLD(), {"margin": 1, "metrics": {"wer": {"higher_is_better": False}}})
    stated = {"margin": 1, "metrics": {"wer": {"higher_is_better": False, "average": "ratio", "low": 0}}}
    assert ev.gate(NEW(), OLD(), stated).outcome == "pass"


def test_a_baseline_of_a_table_keeps_what_it_states(tmp_path: Path) -> None:
    OLD(**COLUMNS).to_csv(tmp_path / "old.csv", index=False)
    ev.accept(tmp_path / "old.csv", tmp_path / "accepted")
    assert (
        load_scored_system(str(tmp_path / "accepted")).facts
        == load_scored_system(str(tmp_path / "old.csv")).facts
    )
    assert ev.gate(NEW(), tmp_path / "accepted", {"margin": 1, "metrics": {"wer": {}}}).outcome == "pass"


@pytest.mark.parametrize(
    ("columns", "metrics", "message"),
    [
        ({}, "wer=average=ratio", "'wer' has no direction"),
        ({}, "wer=lower,ratio", "got 'ratio'; expected wer=higher or wer=lower, and then average=mean"),
        ({}, "wer=lower,average=median", "got 'average=median'"),
        ({}, "wer=lower,average=ratio,low=nan", "got 'low=nan'"),
        ({}, "wer=lower,average=ratio,low=5,high=5", "low 5 is not below high 5"),
        ({}, "wer=lower,average=ratio,high=2", "value .* is outside the range up to 2; correct the range"),
        ({}, "wer=lower,average=ratio,missing_at_most=9", "missing_at_most is 9, low None and high None"),
        ({}, "wer=lower,average=ratio,low=0,missing_at_most=9", "a value is .*, above missing_at_most .9."),
        ({"average": "ratio"}, None, "no metric to compare"),
    ],
)
def test_wrong_statements_are_refused_in_one_line(
    columns: dict[str, Any], metrics: Any, message: str
) -> None:
    with pytest.raises(ev.EChatError, match=message):
        ev.compare(OLD(**columns), NEW(**columns), metrics=metrics)


def test_tables_that_state_different_facts_are_refused() -> None:
    old, new = OLD(**COLUMNS), NEW(**{**COLUMNS, "average": "mean"})
    with pytest.raises(
        UsageError, match="average is ratio in run 1 and mean in run 2; state the same in both"
    ):
        ev.compare(old, new)


def both(table: Callable[..., pd.DataFrame], **other: Any) -> pd.DataFrame:
    """Return a table with a second metric, `warmth`, that higher is better of."""
    warmth = table(**COLUMNS).assign(metric="warmth", direction="higher", average="mean", **other)
    return pd.concat([table(**COLUMNS), warmth], ignore_index=True)


def test_a_metric_without_values_in_all_runs_has_no_trend_and_one_line() -> None:
    compared = ev.compare(both(OLD), both(NEW), both(NEW, value=np.nan))
    assert {trend.metric for trend in compared.trends} == {"wer"}
    assert [line for line in compared.lines() if line.startswith("note: no trend")] == [
        "note: no trend of 'warmth': no sample has a value in all 3 runs"
    ]
    nothing = ev.compare(
        *[table(**COLUMNS, task=name) for table, name in ((OLD, "a"), (NEW, "a"))],
        OLD().assign(**COLUMNS, task="a", value=np.nan),
    )
    assert nothing.trends == ()
    assert nothing.notes == ("no trend of 'wer': no sample has a value in all 3 runs",)


def test_a_metric_that_the_runs_do_not_share_drops_out_with_one_line() -> None:
    compared = ev.compare(both(OLD), NEW(**COLUMNS))
    assert compared.notes == ("'warmth' is not compared: run 2 has no row of it",)
    apart = ev.compare(both(OLD), both(NEW, sample_id=[f"t{i}" for i in range(len(WORDS))]))
    assert {cell.metric for cell in apart.comparisons[0].cells} == {"wer"}
    assert "'warmth' is not compared: the two systems share no sample of it" in apart.comparisons[0].notes


def test_facts_of_two_tables_complete_each_other() -> None:
    runs = [
        ScoredSystem(name=name, system="ours", frame=check_table(frame))
        for name, frame in (("old", OLD(direction="lower")), ("new", NEW(average="ratio", high=90.0)))
    ]
    assert rules_of(runs)["wer"] == MetricRule(higher_is_better=False, average="ratio", high=90.0)
