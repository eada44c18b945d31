"""Every reason for "cannot tell" has a next step, wherever the decision is shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from echat_eval.analysis import check_table
from echat_eval.analysis.runs import ScoredSystem
from echat_eval.gate import Decision, Policy, Provenance, decide, decide_first
from echat_eval.gate.provenance import provenance
from echat_eval.gate.reasons import STEPS, Blocker, NextStep, Reason
from echat_eval.gate.report import step_lines, to_json, to_junit, to_lines, to_markdown

N = 120
SCORE: dict[str, Any] = {"higher_is_better": True, "low": 0, "high": 100}
NOW = datetime(2026, 11, 1, tzinfo=UTC)


def rows(seed: int = 0, *, metric: str = "empathy", noise: float = 5.0, **columns: Any) -> pd.DataFrame:
    place = np.arange(N)
    value = np.clip(70 + np.random.default_rng(seed).normal(0, noise, N), 0, 100)
    facts = {"value": value, "state": "value", "speaker": [f"p{i % 20}" for i in place]}
    ids = {"task": "emotion", "sample_id": place.astype(str), "system": "ours", "metric": metric}
    return pd.DataFrame({**ids, **facts, **columns})


def policy(**more: Any) -> Policy:
    return Policy(**{"margin": 3.0, "metrics": {"empathy": SCORE}, **more})


def gone(count: int, state: str) -> pd.DataFrame:
    found = rows(1)
    found.loc[: count - 1, "state"] = state
    found.loc[: count - 1, "value"] = np.nan
    return found


def compared(**more: Any) -> Decision:
    return decide(rows(1, **more.pop("ours", {})), rows(2, **more.pop("theirs", {})), policy(**more))


def limited(metric: str, values: Any) -> Decision:
    ours, theirs = rows(1), rows(2)
    return decide(pd.concat([ours, rows(metric=metric, value=values)]), theirs, policy())


def held(accepted_at: str | None = NOW.isoformat(), **more: Any) -> Decision:
    """Decide with a baseline that was accepted then, and has these further facts."""
    ours, theirs = (
        ScoredSystem(
            name=name, system="ours", frame=check_table(rows(seed)), hashes={("tasks", "emotion"): "a"}
        )
        for seed, name in enumerate(("new", "old"))
    )
    theirs = replace(theirs, accepted_at=accepted_at, **more)
    limits = policy(max_age_days=30)
    facts = provenance(ours, theirs, limits, now=NOW)
    return decide(ours.frame, theirs.frame, limits, provenance=facts)


def timed(values: Any, why: str) -> Decision:
    ours, theirs = (pd.concat([rows(seed), rows(metric="rtf", value=values)]) for seed in (1, 2))
    limits = policy(latency={"rtf": {"at_most": 1.0, "quantile": 0.95}})
    return decide(ours, theirs, limits, provenance=Provenance(latency=why))


def blocked(reason: Reason) -> Decision:
    blocker = Blocker(reason=reason, text="found in the ledger of tries")
    return decide(rows(1), rows(2), policy(), provenance=Provenance(blockers=(blocker,)))


MACRO = {"metrics": {"empathy": {**SCORE, "average": "macro"}}}
LABELS = {"label": ["rare" if i % 20 == 0 else "common" for i in range(N)]}
CASES: dict[Reason, Callable[[], Decision]] = {
    Reason.MISSING_ROWS: lambda: decide(gone(30, "missing"), rows(2), policy()),
    Reason.WIDE_INTERVAL: lambda: compared(margin=0.5, ours={"noise": 20}),
    Reason.FEW_CLUSTERS: lambda: compared(min_clusters=30),
    Reason.ONE_SENTENCE: lambda: compared(ours={"transcript": "hi"}, theirs={"transcript": "hi"}),
    Reason.NOT_APPLICABLE: lambda: decide(gone(N, "not applicable"), rows(2), policy()),
    Reason.OPEN_RANGE: lambda: compared(
        ours={"value": 50.0}, theirs={"value": 50.0}, metrics={"empathy": {"higher_is_better": True}}
    ),
    Reason.LABEL_IN_ONE_CLUSTER: lambda: compared(ours=LABELS, theirs=LABELS, **MACRO),
    **{
        reason: partial(blocked, reason)
        for reason in (
            Reason.POLICY_CHANGED,
            Reason.CLOCK_IN_PAST,
            Reason.TOO_MANY_TRIES,
            Reason.JUDGE_MOVED,
        )
    },
    Reason.NOT_SHARED: lambda: decide(rows(1).iloc[20:], rows(2), policy()),
    Reason.FAILED_REPLIES: lambda: decide(gone(4, "failed"), rows(2), policy(margin=50)),
    Reason.NO_REPLIES: lambda: decide(gone(N, "missing"), rows(2), policy()),
    Reason.UNREADABLE_REPLIES: lambda: limited("unreadable_reply", np.arange(N) < 8),
    Reason.LEVEL_ABOVE_LIMIT: lambda: limited("reply_wer", np.where(np.arange(N) % 20 < 11, 100.0, 0.0)),
    Reason.LATENCY_NOT_TIMED: lambda: timed(0.5, "made 4 calls at once"),
    Reason.LATENCY_OPEN: lambda: timed(np.where(np.arange(N) < 5, 2.0, 0.5), ""),
    Reason.NO_BASELINE: lambda: decide_first(rows(), policy()),
    Reason.BASELINE_TOO_OLD: lambda: held((NOW - timedelta(days=60)).isoformat()),
    Reason.BASELINE_AGE_UNKNOWN: lambda: held(None),
    Reason.BASELINE_IN_FUTURE: lambda: held((NOW + timedelta(days=9)).isoformat()),
    Reason.BASELINE_CHANGED: lambda: held(changed=True),
    Reason.VERSIONS_DIFFER: lambda: held(hashes={("tasks", "emotion"): "b"}),
}


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.value)
def test_every_reason_arises_and_has_a_next_step(reason: Reason) -> None:
    decision = CASES[reason]()
    assert decision.outcome == "cannot tell"
    (step, *_) = [step for step in decision.next_steps if step.reason is reason]
    assert step.action
    assert step.rule
    shown = [step.action in line for line in step_lines(decision)]
    assert any(shown)
    assert any("  to do    " in line and step.action in line for line in to_lines(decision))
    assert "**What to do**" in to_markdown(decision)
    failure = ElementTree.fromstring(to_junit(decision)).find(".//testcase[@name='outcome']/error")
    assert failure is not None
    assert step.action in str(failure.text)
    kept = json.loads(to_json(decision))["next_steps"]
    assert {"reason": reason.value, "rule": step.rule, "open_by": step.open_by, "action": step.action} in kept


def test_every_reason_has_words() -> None:
    assert set(STEPS) == set(CASES) == set(Reason)
    assert all(STEPS.values())


def test_every_open_rule_and_every_blocker_has_a_step() -> None:
    for case in CASES.values():
        decision = case()
        named = {step.rule for step in decision.next_steps}
        blocked = {rule.name for rule in decision.rules if rule.state == "open" and rule.kind != "guard"}
        assert blocked <= named


@pytest.mark.parametrize(
    ("reason", "open_by"),
    [
        (Reason.FAILED_REPLIES, "1.3 points"),  # 4 of 120 are 3.33 %, the limit is 2 %
        (Reason.UNREADABLE_REPLIES, "1.7 points"),  # 8 of 120 are 6.67 %, the limit is 5 %
        (Reason.NOT_SHARED, "18 rows"),  # 20 of 120 rows, 2 % of which are 2.4
        (Reason.LEVEL_ABOVE_LIMIT, "5 points"),  # 11 of 20 speakers are 55 %, the limit is 50 %
    ],
)
def test_steps_name_how_far_a_rule_is_from_holding(reason: Reason, open_by: str) -> None:
    steps = [step for step in CASES[reason]().next_steps if step.reason is reason]
    assert open_by in [step.open_by for step in steps]


def test_the_primary_rule_is_open_by_what_its_bound_lacks() -> None:
    decision = CASES[Reason.WIDE_INTERVAL]()
    step = next(s for s in decision.next_steps if s.reason is Reason.WIDE_INTERVAL)
    assert decision.low is not None
    assert step.open_by == f"{-0.5 - decision.low:.2g} points"


def test_an_open_interval_names_the_samples_of_the_plan() -> None:
    decision = CASES[Reason.WIDE_INTERVAL]()
    step = next(s for s in decision.next_steps if s.reason is Reason.WIDE_INTERVAL)
    assert decision.plan is not None
    assert decision.plan.best is not None
    assert step.action == (
        f"use {decision.plan.best.layout} (now 20 speakers, 120 samples): an equal candidate would pass in 80 % "
        "of runs"
    )


def test_a_large_enough_test_set_is_not_blamed() -> None:
    decision = compared(margin=2.5, ours={"value": rows(1)["value"] - 2.0})
    (step,) = decision.next_steps
    assert "the test set is large enough" in step.action
    assert "echat-eval compare" in step.action


@pytest.mark.parametrize(
    ("floor", "words"), [(69.0, "the level as it is would hold in 80 %"), (70.9, "improve")]
)
def test_an_open_floor_names_the_samples_or_the_level(floor: float, words: str) -> None:
    decision = compared(ours={"noise": 9.0}, metrics={"empathy": {**SCORE, "at_least": floor}})
    (action,) = [step.action for step in decision.next_steps if "at least" in step.rule]
    assert words in action


@pytest.mark.parametrize("events", [0, 1, 8])
def test_an_open_ceiling_on_a_share_names_the_clusters_that_it_needs(events: int) -> None:
    """With 20 speakers the upper limit of no event at all is 16.8 %; 36 are needed for 10 %."""
    wrong = rows(metric="wrong", value=100.0 * (np.arange(N) < events))
    rule = {"higher_is_better": False, "low": 0, "high": 100, "at_most": 10}
    ours, theirs = pd.concat([rows(1), wrong]), pd.concat([rows(2), wrong])
    decision = decide(ours, theirs, policy(metrics={"empathy": SCORE, "wrong": rule}))
    assert decision.outcome == "cannot tell"
    (action,) = [step.action for step in decision.next_steps if "at most" in step.rule]
    assert action.startswith("use at least 36 clusters (now 20)")


def test_a_pass_and_a_regress_have_no_next_step() -> None:
    assert compared().next_steps == ()
    assert compared(ours={"value": 20.0}).next_steps == ()


def test_one_line_names_the_rules_that_share_an_action() -> None:
    steps = tuple(
        NextStep(
            reason=Reason.MISSING_ROWS, rule=f"m{i}: drop below 3", open_by="1.2 points", action="run it"
        )
        for i in range(5)
    )
    (line,) = step_lines(replace(compared(), next_steps=steps))
    assert line == "run it (open: m0 by 1.2 points; m1 by 1.2 points; m2 by 1.2 points and 2 more)"
