"""Policies: what is accepted, and the message for each mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from echat_eval.errors import Exit, UsageError
from echat_eval.gate import Policy, read_policy

SCORE: dict[str, Any] = {"higher_is_better": True, "low": 0, "high": 100}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"margin": -3}, "margin is -3; expected a number above 0"),
        ({"margin": 0}, "margin is 0"),
        ({"margin": float("nan")}, "margin is nan"),
        ({"margin": "3"}, "margin is '3'"),
        ({"margin": True}, "margin is True"),
        (
            {"margin": 1000, "metrics": {"empathy": {**SCORE, "low": 0, "high": 100}}},
            "a margin of 1000 for empathy, which only goes from 0 to 100",
        ),
        ({"metrics": {}}, "'metrics' is {}, expected a mapping with at least one metric"),
        ({"metrics": {"empathy": {"low": 0}}}, "metric 'empathy': key 'higher_is_better' is missing"),
        ({"metrics": {"empathy": {"higher_is_better": "yes"}}}, "is 'yes', expected true or false"),
        ({"metrics": {"empathy": {**SCORE, "marign": 2}}}, "did you mean 'margin'"),
        ({"metrics": {"empathy": {**SCORE, "margin": -2}}}, "margin is -2"),
        ({"metrics": {"empathy": {**SCORE, "low": 100}}}, "not below high"),
        ({"metrics": {"empathy": {**SCORE, "average": "median"}}}, "expected mean, ratio or macro"),
        ({"metrics": {"empathy": {**SCORE, "average": ["mean"]}}}, "expected mean, ratio or macro"),
        (
            {"metrics": {"empathy": {**SCORE, "missing_at_most": 200}}},
            "expected a number above `low` and no `high`",
        ),
        (
            {"metrics": {"empathy": {"higher_is_better": False, "low": 0, "missing_at_most": 0}}},
            "missing_at_most is 0",
        ),
        (
            {"metrics": {"empathy": {"higher_is_better": False, "missing_at_most": 9}}},
            "low None and high None",
        ),
        (
            {"metrics": {"empathy": {"higher_is_better": False, "missing_at_most": "9"}}},
            "missing_at_most is '9'",
        ),
        ({"margin": 10**400}, "margin"),
        ({"metrics": {"empathy": {**SCORE, "at_least": float("inf")}}}, "finite"),
        ({"metrics": {"empathy": 3}}, "expected a mapping"),
        ({"primary": "empathie"}, "Did you mean 'empathy'"),
        ({"level": 95}, "level is 95; expected a share"),
        ({"max_failed": 5}, "max_failed is 5"),
        ({"max_failed": -0.1}, "max_failed is -0.1; expected a share between 0 and 1"),
        ({"max_failed": None}, "max_failed is None; this guard cannot be switched off"),
        ({"max_failed": False}, "max_failed is False; this guard cannot be switched off"),
        ({"max_failed": float("nan")}, "max_failed is nan"),
        ({"max_more_failed": 1.5}, "max_more_failed is 1.5"),
        ({"max_unreadable": -1}, "max_unreadable is -1"),
        ({"max_unshared": None}, "max_unshared is None; this guard cannot be switched off"),
        ({"max_unreadable": None}, "max_unreadable is None; this guard cannot be switched off"),
        ({"max_reply_wer": -1}, "max_reply_wer is -1; expected a number of percent from 0"),
        ({"max_reply_wer": None}, "max_reply_wer is None"),
        ({"min_clusters": 1}, "min_clusters is 1"),
        ({"max_age_days": -1}, "max_age_days is -1"),
        ({"latency": {"rtf": {"at_most": -1}}}, "at_most is -1"),
        ({"latency": {"rtf": {"quantile": 0.9}}}, "latency 'rtf': key 'at_most' is missing"),
        ({"latency": {"rtf": {"at_most": 1, "quantile": 95}}}, "quantile is 95"),
    ],
)
def test_an_invalid_policy_is_misuse(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        Policy(**{"margin": 3, "metrics": {"empathy": SCORE}, **fields})
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == Exit.MISUSE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("margin: 3\nmetrics: {empathy: {higher_is_better: true}}\nmagrin: 2\n", "did you mean 'margin'"),
        ("margin: 3\nmetrics: {m: {higher_is_better: true}}\nmax_fialed: 0.1\n", "did you mean 'max_failed'"),
        (
            "margin: 3\nmetrics: {m: {higher_is_better: true}}\nguards: {wer: 1}\n",
            "gate.yaml:3: unknown key 'guards'; keys are margin, metrics, ",
        ),
        ("margin: 3\nmetrics: {m: {higher_is_better: true}}\nmax_failed:\n", "cannot be switched off"),
        ("metrics: {empathy: {higher_is_better: true}}\n", "key 'margin' is missing"),
        ("margin: 3\n", "at least one metric"),
        ("margin: 3\nmetrics: [empathy]\n", "mapping"),
        ("margin: 3\nmetrics: {empathy: {}}\n", "key 'higher_is_better' is missing; expected true or false"),
        ("- margin\n", "mapping"),
    ],
)
def test_an_error_in_a_policy_file_names_the_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        read_policy(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_a_null_latency_is_no_rule(tmp_path: Path) -> None:
    (tmp_path / "gate.yaml").write_text("margin: 3\nmetrics: {m: {higher_is_better: true}}\nlatency:\n")
    assert read_policy(tmp_path / "gate.yaml").latency == {}


def test_facts_absent_from_the_file_are_taken_from_the_run(tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text("margin: 0.05\nmetrics:\n  wer:\n  empathy: {low: 10}\n")
    known: dict[str, dict[str, Any]] = {
        "wer": {"higher_is_better": False, "low": 0.0, "high": None, "average": "ratio", "title": "WER"},
        "empathy": {"higher_is_better": True, "low": 0.0, "high": 100.0, "average": "mean"},
    }
    got = read_policy(path, known=known)
    assert got.primary == "wer"
    assert got.metrics["wer"].average == "ratio"
    assert not got.metrics["wer"].higher_is_better
    assert (got.metrics["empathy"].low, got.metrics["empathy"].high) == (10, 100.0)


def test_a_direction_that_differs_from_the_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text("margin: 1\nmetrics: {wer: {higher_is_better: true}}\n")
    with pytest.raises(UsageError, match="the run has False"):
        read_policy(path, known={"wer": {"higher_is_better": False}})


def test_a_guard_tolerance_is_proportional_to_the_range() -> None:
    rules: dict[str, Any] = {
        "empathy": SCORE,
        "recall": {"higher_is_better": True, "low": 0, "high": 1},
        "seconds": {"higher_is_better": False},
        "own": {**SCORE, "margin": 7},
    }
    got = Policy(margin=3, metrics=rules)
    assert [got.tolerance(name) for name in got.metrics] == [3, 0.03, 0.0, 7]
