"""A candidate without a baseline: what concerns it alone is judged, and the policy states what then passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import echat_eval as ev
from echat_eval.cli.compare_gate import gate_command
from echat_eval.errors import EChatError
from echat_eval.gate import Policy, decide_first

N = 60


def rows(metric: str = "empathy", value: Any = 70.0, failed: int = 0) -> pd.DataFrame:
    place = np.arange(N)
    state = np.where(place < failed, "failed", "value")
    return pd.DataFrame(
        {
            "task": "emotion",
            "sample_id": [f"s{i}" for i in place],
            "system": "ours",
            "metric": metric,
            "value": np.where(state == "failed", 0.0, np.broadcast_to(value, N) + place % 5),
            "state": state,
            "speaker": [f"p{i // 4}" for i in place],
        }
    )


def policy(first_run: str = "pass", **more: Any) -> Policy:
    rule: Any = {"higher_is_better": True, "low": 0, "high": 100, **more}
    return Policy(margin=2, metrics={"empathy": rule}, first_run=first_run)  # type: ignore[arg-type]


@pytest.mark.parametrize("first_run", ["pass", "cannot tell"])
def test_a_sound_candidate_has_the_outcome_that_the_policy_states(first_run: str) -> None:
    found = decide_first(rows(), policy(first_run))
    assert found.outcome == first_run
    assert found.difference is None
    assert found.counts == "60 samples without a baseline"
    assert any("no baseline yet" in line for line in (*found.reasons, *found.warnings))


def test_without_a_word_in_the_policy_a_first_candidate_does_not_pass() -> None:
    rule: Any = {"higher_is_better": True, "low": 0, "high": 100}
    assert decide_first(rows(), Policy(margin=2, metrics={"empathy": rule})).outcome == "cannot tell"


@pytest.mark.parametrize(
    ("table", "more", "rule"),
    [
        (rows(failed=N), {}, "failed replies: at most 2 %"),
        (rows(failed=20), {}, "failed replies: at most 2 %"),
        (rows(), {"at_least": 90}, "empathy, all tasks: at least 90"),
        (pd.concat([rows(), rows("unreadable_reply", 100.0)]), {}, "unreadable replies: at most 5 %"),
        (pd.concat([rows(), rows("reply_wer", 90.0)]), {}, "reply_wer: at most 50 %"),
        (pd.concat([rows(), rows("over_reaction_proxy", 90.0)]), {}, "over_reaction_proxy: at most 25 %"),
    ],
)
def test_a_broken_limit_regresses_whatever_the_policy_states(
    table: pd.DataFrame, more: dict[str, Any], rule: str
) -> None:
    found = decide_first(table, policy(**more))
    assert found.outcome == "regress"
    assert [r.name.rstrip() for r in found.rules if r.state == "broken"] == [rule]


def test_an_open_limit_does_not_pass() -> None:
    found = decide_first(rows(failed=2), policy())
    assert found.outcome == "cannot tell"
    assert found.reasons[0] == "failed replies: at most 2 %: open (2 of 60)"


def test_a_wrong_word_is_misuse() -> None:
    with pytest.raises(EChatError, match="first_run is 'maybe'; expected cannot tell or pass"):
        policy("maybe")


def gate(folder: Path, *words: str, first_run: str = "pass") -> tuple[int, str]:
    rows().to_csv(folder / "new.csv", index=False)
    (folder / "gate.yaml").write_text(
        f"margin: 2\nfirst_run: {first_run}\n"
        "metrics: {empathy: {higher_is_better: true, low: 0, high: 100}}\n"
    )
    command = [str(folder / "new.csv"), "--policy", str(folder / "gate.yaml"), "--against", *words]
    done = CliRunner().invoke(gate_command, command, standalone_mode=False)
    if isinstance(done.exception, EChatError):
        return int(done.exception.exit_code), str(done.exception)
    assert done.exception is None
    return int(done.return_value), done.output


@pytest.mark.parametrize(("first_run", "code"), [("pass", 0), ("cannot tell", 3)])
def test_the_command_writes_reports_and_prints_how_to_keep_the_run(
    tmp_path: Path, first_run: str, code: int
) -> None:
    junit, summary = tmp_path / "gate.xml", tmp_path / "gate.md"
    against = str(tmp_path / "accepted")
    words = ("--bootstrap", "--junit", str(junit), "--summary", str(summary))
    found, text = gate(tmp_path, against, *words, first_run=first_run)
    assert found == code
    assert f"echat-eval gate accept {tmp_path / 'new.csv'} --to {against}" in text
    errors = ElementTree.parse(junit).getroot().findall(".//testcase[@name='outcome']/error")
    assert bool(errors) is (code == 3)
    assert "without a baseline" in summary.read_text()


def test_without_the_option_an_absent_baseline_is_misuse(tmp_path: Path) -> None:
    code, text = gate(tmp_path, str(tmp_path / "accepted"))
    assert code == 2
    assert "--bootstrap" in text


def test_with_the_option_a_baseline_that_exists_is_used(tmp_path: Path) -> None:
    rows(value=np.random.default_rng(0).uniform(85, 95, N)).to_csv(tmp_path / "old.csv", index=False)
    code, text = gate(tmp_path, str(tmp_path / "old.csv"), "--bootstrap")
    assert code == 1
    assert "without a baseline" not in text


def test_python_and_the_command_agree(tmp_path: Path) -> None:
    assert ev.gate(rows(), tmp_path / "absent", policy(), bootstrap=True).outcome == "pass"
