"""What the gate prints, and with which exit code it ends, for tables and policies that it cannot use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from echat_eval.cli.compare_gate import gate_command
from echat_eval.errors import EChatError, Exit

N = 120
RULE = "{higher_is_better: true, low: 0, high: 100}"
POLICY = f"margin: 3\nmetrics: {{empathy: {RULE}}}\n"
LAX = f"margin: 90\nmetrics: {{empathy: {RULE}}}\nmax_failed: 1\nmax_more_failed: 1\nmax_unshared: 1\n"


def table(seed: int, **columns: Any) -> pd.DataFrame:
    place = np.arange(N)
    rows = pd.DataFrame(
        {
            "task": "emotion",
            "sample_id": [f"s{i}" for i in place],
            "metric": "empathy",
            "value": np.random.default_rng(seed).normal(60, 5, N).round(2),
            "state": "value",
            "speaker": [f"p{i // 4}" for i in place],
            "transcript": [f"line {i % 10}" for i in place],
        }
    )
    return rows.assign(**columns)


def gate(folder: Path, ours: pd.DataFrame, theirs: pd.DataFrame, policy: str) -> tuple[int, list[str]]:
    """Return the exit code and the lines that the command prints."""
    for name, rows in (("ours", ours), ("theirs", theirs)):
        rows.to_csv(folder / f"{name}.csv", index=False)
    (folder / "gate.yaml").write_text(policy)
    words = [folder / "ours.csv", "--against", folder / "theirs.csv", "--policy", folder / "gate.yaml"]
    result = CliRunner().invoke(gate_command, [str(word) for word in words], standalone_mode=False)
    if isinstance(result.exception, EChatError):
        return int(result.exception.exit_code), str(result.exception).splitlines()
    assert result.exception is None, result.exception
    return int(result.return_value), result.output.splitlines()


@pytest.mark.parametrize(
    ("change", "policy", "message"),
    [
        ({"weight": -1.0}, POLICY, "ours.csv:2: a weight of 0 or below; expected one above 0 (-1)"),
        ({"weight": 0.0}, POLICY, "ours.csv:2: a weight of 0 or below; expected one above 0 (0)"),
        (
            {"weight": np.arange(1.0, N + 1)},
            POLICY,
            "metric 'empathy': its weights differ and no average is stated; write average=ratio for",
        ),
        (
            {"average": "ratio", "direction": "lower"},
            POLICY,
            "metric 'empathy': higher_is_better is True, but the run has False",
        ),
        ({"low": 0, "high": 1}, POLICY, "ours.csv:2: a value above the metric's stated `high`"),
        ({"low": 1, "high": 1}, POLICY, "ours.csv:2: a range whose low is not below its high"),
        (
            {"value": 101.0},
            POLICY,
            "metric 'empathy' of the candidate: value 101 is outside the range 0 to 100",
        ),
        ({"value": "good"}, POLICY, "ours.csv:2: a value that is not a number ('good'), and 119 more rows"),
        ({"sample_id": "s0"}, POLICY, "ours.csv:3: duplicate row (119 in the table) for task 'emotion'"),
        ({}, "margin: 3\nmetrics: {empthy: {higher_is_better: true}}\n", "candidate has no metric 'empthy'"),
        ({}, POLICY + "gibberish: 0.1\n", "gate.yaml:3: unknown key 'gibberish'; keys are margin,"),
        ({}, POLICY + "max_unshared:\n", "max_unshared is None; this guard cannot be switched off"),
        ({}, POLICY + "min_clusters: -6\n", "min_clusters is -6; expected a whole number from 2"),
        ({}, POLICY + "min_clusters: 2.5\n", "min_clusters is 2.5; expected a whole number from 2"),
        ({}, POLICY + "sentences: some\n", "sentences is 'some'; expected random or fixed"),
    ],
)
def test_misuse_is_one_line_and_exit_2(
    tmp_path: Path, change: dict[str, Any], policy: str, message: str
) -> None:
    code, lines = gate(tmp_path, table(1, **change), table(2), policy)
    assert code == Exit.MISUSE
    (line,) = lines
    assert message in line


def _all(**columns: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda rows: rows.assign(**columns)


@pytest.mark.parametrize(
    ("change", "because"),
    [
        (_all(value=50.0), "empathy, all tasks: drop below 3: open"),
        (_all(transcript="hi"), "sentences: at least two: open (every sample has the same sentence)"),
        (
            _all(value=np.nan, state="missing"),
            "failed replies: open (no sample of the candidate has a reply or",
        ),
        (
            _all(value=np.nan, state="not applicable"),
            "empathy, all tasks: drop below 3: open (no row is appl",
        ),
        (
            lambda rows: rows.iloc[:1],
            "empathy, all tasks: drop below 3: open (1 independent sample; 6 clusters",
        ),
        (
            _all(cluster=[f"c{i // 24}" for i in range(N)]),
            "open (5 clusters; 6 clusters are needed; more clus",
        ),
    ],
    ids=["constant", "one sentence", "all missing", "none applies", "one sample", "five clusters"],
)
def test_data_that_cannot_decide_end_with_the_reason_and_a_remedy(
    tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], because: str
) -> None:
    code, lines = gate(tmp_path, change(table(1)), change(table(2)), POLICY)
    assert code == Exit.CANNOT_TELL
    assert lines[0].startswith("cannot tell: empathy")
    assert "failed replies: 0 of" in lines[0] or "failures: unknown (no reply and no failure)" in lines[0]
    assert any(line.startswith(f"  because  {because}") or because in line for line in lines[1:])
    stuck = "  note     every difference of empathy is 0: the interval is what 10 clusters exclude"
    assert any(line.startswith(stuck) for line in lines) == because.endswith("drop below 3: open")
    assert sum(line.startswith("  note     design: ") for line in lines) == 1
    assert any(line.startswith("  to do    ") for line in lines)


def test_a_speaker_in_one_row_only_and_empty_clusters_link_nothing(tmp_path: Path) -> None:
    lone = ["ann" if i == 7 else "" for i in range(N)]
    code, lines = gate(tmp_path, table(1, speaker=lone), table(2, speaker=lone), POLICY)
    assert code == Exit.DONE
    assert "  note     design: 10 sentences" in lines
    code, lines = gate(tmp_path, table(1, cluster=""), table(2), POLICY)
    assert code == Exit.DONE
    assert "  note     design: 30 speakers x 10 sentences, crossed" in lines


@pytest.mark.parametrize("policy", [POLICY, LAX], ids=["default", "every guard at its widest"])
def test_a_candidate_whose_every_reply_failed_regresses_with_exit_1(tmp_path: Path, policy: str) -> None:
    code, lines = gate(tmp_path, table(1, value=np.nan, state="failed"), table(2), policy)
    assert code == Exit.REGRESS
    assert lines[0].startswith("regress: empathy ")
    assert "failed replies: 120 of 120 (100.0 % [69.2, 100.0], limit" in lines[0]
