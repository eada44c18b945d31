"""Fixed sentences mean the same in every guard, in the policy, on the command line and in the API."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import echat_eval as ev
from echat_eval.cli.compare_gate import compare_command
from echat_eval.errors import UsageError
from echat_eval.gate import Policy, decide
from echat_eval.stats import SENTENCES, Sentences, unit_codes

N, SPEAKERS, LINES = 120, 30, 4


def table(seed: int, *, failed: tuple[int, ...] = ()) -> pd.DataFrame:
    """Return scores where every speaker reads the same four sentences."""
    place = np.arange(N)
    samples = pd.DataFrame(
        {
            "task": "emotion",
            "sample_id": [f"s{i}" for i in place],
            "system": "ours",
            "speaker": [f"p{i // LINES}" for i in place],
            "transcript": [f"line {i % LINES}" for i in place],
        }
    )
    state = np.where(np.isin(place, failed), "failed", "value")
    score = np.random.default_rng(seed).uniform(20, 80, N)
    metrics: dict[str, dict[str, Any]] = {
        "empathy": {"value": np.where(state == "failed", np.nan, score), "state": state},
        "empty_reply": {"value": 0.0},
        "unreadable_reply": {"value": 0.0},
        "reply_wer": {"value": 3.0, "weight": 8.0},
    }
    one: dict[str, Any] = {"weight": 1.0, "state": "value"}
    return pd.concat([samples.assign(metric=name, **{**one, **facts}) for name, facts in metrics.items()])


@pytest.mark.parametrize(("sentences", "clusters"), [("random", LINES), ("fixed", SPEAKERS)])
def test_the_guards_use_the_design_that_the_policy_states(sentences: Sentences, clusters: int) -> None:
    rule: dict[str, Any] = {"higher_is_better": True, "low": 0, "high": 100}
    policy = Policy(margin=3, metrics={"empathy": rule}, min_clusters=2, sentences=sentences)  # type: ignore[dict-item]
    got = decide(table(1, failed=(2, 7)), table(2), policy)
    guards = [rule for rule in got.rules if rule.name.startswith(("failed", "unreadable", "reply_wer"))]
    assert len(guards) == 4
    assert {rule.clusters for rule in guards} == {clusters}


def test_the_command_line_compares_with_fixed_sentences_as_the_api_does(tmp_path: Path) -> None:
    paths = []
    for seed in (1, 2):
        paths.append(str(tmp_path / f"{seed}.csv"))
        table(seed).to_csv(paths[-1], index=False)
    shown = {}
    for sentences in get_args(Sentences):
        words = [*paths, "--metric", "empathy=higher", "--sentences", sentences]
        result = CliRunner().invoke(compare_command, words, standalone_mode=False)
        assert result.exception is None
        shown[sentences] = result.output
        expected = ev.compare(*paths, metrics="empathy=higher", sentences=sentences)
        assert result.output == "\n".join(expected.lines()) + "\n"
    assert "design: 30 speakers x 4 sentences, crossed" in shown["random"]
    assert "design: 30 speakers; sentences are fixed: the result holds for these only" in shown["fixed"]
    plain = CliRunner().invoke(compare_command, [*paths, "--metric", "empathy=higher"], standalone_mode=False)
    assert plain.output == shown["random"]


def test_another_word_is_refused_by_the_command_line_and_the_statistics() -> None:
    (option,) = (p for p in compare_command.params if p.name == "sentences")
    assert tuple(option.type.choices) == SENTENCES == get_args(Sentences)  # type: ignore[attr-defined]
    result = CliRunner().invoke(compare_command, ["a", "b", "--sentences", "Fixed"])
    assert result.exit_code == 2
    with pytest.raises(UsageError, match="sentences is 'Fixed'; expected random or fixed"):
        unit_codes(["a", "b"], [["x"], ["y"]], kind="Fixed")  # type: ignore[arg-type]
