"""Plans of runs: from differences, from a baseline alone and from assumed numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from echat_eval.analysis import check_table
from echat_eval.analysis.runs import ScoredSystem
from echat_eval.api import plan
from echat_eval.cli.compare_gate import gate_command
from echat_eval.cost.prices import Tokens
from echat_eval.cost.totals import CallCosts, RunCosts
from echat_eval.errors import EChatError
from echat_eval.gate import Policy, decide
from echat_eval.gate.plan_cost import unit_cost
from echat_eval.gate.plan_run import Assumed, assumed, plan_run
from echat_eval.gate.plan_text import plan_line, plan_lines
from echat_eval.gate.report import to_junit, to_lines, to_markdown
from echat_eval.store.manifest import RunManifest, SystemFacts

SPEAKERS, SENTENCES = 20, 10
N = SPEAKERS * SENTENCES
SCORE: dict[str, Any] = {"higher_is_better": True, "low": 0, "high": 100}


def rows(seed: int, *, crossed: bool = True, metric: str = "empathy", sd: float = 10.0) -> pd.DataFrame:
    place = np.arange(N)
    value = np.clip(60 + np.random.default_rng(seed).normal(0, sd, N), 0, 100)
    return pd.DataFrame(
        {
            "task": "emotion",
            "sample_id": place.astype(str),
            "system": "ours",
            "metric": metric,
            "value": value,
            "state": "value",
            "speaker": (place // SENTENCES).astype(str),
            "transcript": (place % SENTENCES if crossed else place).astype(str),
        }
    )


def policy(margin: float = 3.0, **more: Any) -> Policy:
    return Policy(margin=margin, **{"metrics": {"empathy": SCORE}, **more})


@pytest.mark.parametrize("crossed", [True, False])
def test_a_decision_and_a_plan_of_the_same_runs_agree(crossed: bool) -> None:
    ours, theirs = rows(1, crossed=crossed), rows(2, crossed=crossed)
    decision = decide(ours, theirs, policy(2.0))
    planned = plan(policy(2.0), theirs, candidate=ours).plan
    assert decision.plan is not None
    assert replace(planned, source=decision.plan.source) == decision.plan
    assert decision.pass_if_equal == planned.now.equal_passes
    line = plan_line(decision.plan)
    assert any(f"plan     {line}" in shown for shown in to_lines(decision))
    assert line.split(":")[0] in to_markdown(decision)
    assert line.split(":")[0] in to_junit(decision)


def test_needed_samples_have_the_power_of_the_policy() -> None:
    found = plan(
        policy(), assume="sd=25,by_speaker=0.1,by_sentence=0.05,speakers=20,sentences=20,samples=400"
    ).plan
    assert found.now.equal_passes < 0.5
    for option in found.options:
        if option.outlook is not None:
            assert option.outlook.equal_passes == pytest.approx(0.8, abs=0.01)
    assert found.best is not None
    assert found.best.layout.samples == min(o.outlook.layout.samples for o in found.options if o.outlook)
    assert not found.enough


def test_speakers_alone_cannot_make_up_for_few_sentences() -> None:
    found = plan(policy(), assume="sd=25,by_sentence=0.25,speakers=20,sentences=10").plan
    options = {option.more: option.outlook for option in found.options}
    assert options["speakers"] is None
    assert options["speakers and sentences"] is not None


def test_repeats_help_where_the_judge_varies() -> None:
    found = plan(policy(), assume="sd=12,speakers=30,samples=300,judge_sd=8").plan
    once, thrice = (option.outlook for option in found.options)
    assert once is not None
    assert thrice is not None
    assert thrice.repeats == 3
    assert thrice.layout.samples < once.layout.samples


def test_a_baseline_alone_needs_an_assumed_correlation() -> None:
    half, none, all_but = (plan(policy(), rows(1), assume={"correlation": r}).plan for r in (0.5, 0.0, 0.9))
    assert half.sd == pytest.approx(rows(1)["value"].std(), rel=0.1)
    assert none.sd == pytest.approx(2**0.5 * half.sd)
    assert none.now.equal_passes < half.now.equal_passes < all_but.now.equal_passes
    assert "assumed to correlate by 0.5" in half.source


def test_a_layout_can_be_assumed_beside_a_baseline() -> None:
    found = plan(policy(), rows(1), assume="speakers=40,sentences=30").plan
    assert str(found.now.layout) == "40 speakers x 30 sentences, 1,200 samples"


def test_cost_and_hours_come_from_the_baseline() -> None:
    def costs(tokens: int, money: str) -> CallCosts:
        return CallCosts(model="m", calls=N, tokens=Tokens(text_in=tokens), money={"USD": Decimal(money)})

    timed = rows(1, metric="seconds").assign(value=3.6)
    run = ScoredSystem(
        name="main",
        system="ours",
        frame=check_table(pd.concat([rows(1), timed])),
        manifest=RunManifest(
            systems={"ours": SystemFacts(calls_at_once=4), "other": SystemFacts()},
            cost=RunCosts(judges={"j": costs(40_000, "8")}, systems={"ours": costs(20_000, "2")}),
        ),
    )
    found = unit_cost(run).facts(1000)
    # 200 samples cost 2 USD, and the judge 8 USD for both systems
    assert found["money"] == {"USD": pytest.approx(1000 * (2 / 200 + 8 / 400))}
    assert found["tokens"] == 1000 * (100 + 100)
    assert found["hours"] == pytest.approx(0.25)
    assert unit_cost(run).facts(1000, 3)["tokens"] == 1000 * (100 + 300)
    text = "\n".join(plan_lines(plan_run(None, run, policy(), Assumed()).plan, unit_cost(run)))
    assert "200 samples, about 0.05 h of calls, 4 at once; about 40,000 tokens, about 6.00 USD" in text


def command(folder: Path, *words: str) -> tuple[int, str]:
    rows(1).to_csv(folder / "old.csv", index=False)
    (folder / "gate.yaml").write_text(
        "margin: 3\nmetrics: {empathy: {higher_is_better: true, low: 0, high: 100}}\n"
    )
    line = ["--plan", "--policy", str(folder / "gate.yaml"), *words]
    done = CliRunner().invoke(gate_command, line, standalone_mode=False)
    if isinstance(done.exception, EChatError):
        return int(done.exception.exit_code), str(done.exception)
    assert done.exception is None
    return int(done.return_value), done.output


def test_the_command_prints_80_columns_and_writes_json(tmp_path: Path) -> None:
    code, text = command(
        tmp_path, "--against", str(tmp_path / "old.csv"), "--json", str(tmp_path / "plan.json")
    )
    assert code == 0
    assert max(map(len, text.splitlines())) <= 80 + len(str(tmp_path))
    kept = json.loads((tmp_path / "plan.json").read_text())
    shown = plan(tmp_path / "gate.yaml", tmp_path / "old.csv").plan
    assert kept["now"]["equal_passes"] == shown.now.equal_passes
    assert kept["cost_now"]["samples"] == N


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "neither a baseline nor numbers"),
        (("--assume", "speakers=20"), "neither a baseline nor numbers"),
        (("--assume", "sd=0,samples=9"), "sd is 0.0; expected a number above 0"),
        (("--assume", "sd=much"), "sd is 'much'; expected a number"),
        (("--assume", "spread=3"), "unknown assumption 'spread'; known: by_sentence"),
        (("--assume", "sd=1,samples=5,speakers=9"), "9 speakers of 5 samples"),
        (("--assume", "by_speaker=0.6,by_sentence=0.5"), "add up to 1 or more"),
        (("--assume", "repeats=1.5"), "repeats is '1.5'; expected a whole number"),
        (("--against", "absent"), "no such run folder or table"),
    ],
)
def test_misuse_is_one_line(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    code, text = command(tmp_path, *words)
    assert code == 2
    assert message in text
    assert "\n" not in text


def test_scores_without_a_spread_make_no_plan() -> None:
    with pytest.raises(EChatError, match="has no spread"):
        plan(policy(), rows(1).assign(value=50.0))
    assert plan(policy(), rows(1).assign(value=50.0), assume="sd=10").plan.sd == 10


def test_words_become_numbers() -> None:
    assert assumed("sd=25, repeats=3") == Assumed(sd=25.0, repeats=3)
