"""Runs of a test set that has grown or was corrected are compared on the samples that are the same in both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import echat_eval as ev
from echat_eval.analysis.runs import load_scored_system
from echat_eval.errors import SystemFailure, UsageError
from echat_eval.gate import Policy
from echat_eval.records import Reply, Request
from echat_eval.testing import ScriptedScorer, ScriptedSystem
from tests.support.scripted_run import evaluated
from tests.support.tones import write_task

RULES: dict[str, Any] = {"scripted": {"higher_is_better": True, "low": 0, "high": 100}}
POLICY = Policy(margin=5, metrics=RULES)


def run_of(
    folder: Path, groups: int, *, corrected: tuple[str, ...] = (), broken: tuple[str, ...] = ()
) -> str:
    """Run a system on a task; `corrected` groups have other references, `broken` ones no reply."""
    data = folder.with_name(f"{folder.name}-data")
    samples = write_task(data, groups=groups) / "samples.jsonl"
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    for row in rows:
        if row["contrast_group"] in corrected and row["id"].endswith("h"):
            row["references"] = ["Corrected."]
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows))
    hashes = {row["audio_sha256"]: row["contrast_group"] for row in rows}

    def respond(request: Request) -> Reply:
        if hashes[request.audio.sha256] in broken:
            raise SystemFailure("out of memory")
        return Reply(text="I see.")

    values = iter(range(10_000))
    scorer = ScriptedScorer(lambda _: 50.0 + next(values) % 7)
    evaluated(folder, data, ScriptedSystem(respond, "ours"), scorers=[scorer])
    return str(folder)


@pytest.fixture
def old(tmp_path: Path) -> str:
    return run_of(tmp_path / "old", 12)


def test_a_set_that_has_grown_is_compared_on_the_old_samples(tmp_path: Path, old: str) -> None:
    found = ev.gate(run_of(tmp_path / "new", 15), old, POLICY)
    assert found.outcome == "pass"
    (note,) = (line for line in found.warnings if line.startswith("task 'emotion' differs"))
    assert "24 samples are the same in both and are compared; 0 have other content, 6 are only in" in note


def test_a_baseline_of_gate_accept_keeps_the_content(tmp_path: Path, old: str) -> None:
    ev.accept(old, tmp_path / "accepted")
    assert ev.gate(run_of(tmp_path / "new", 15), tmp_path / "accepted", POLICY).outcome == "pass"


def test_the_policy_can_refuse_a_changed_set(tmp_path: Path, old: str) -> None:
    new = run_of(tmp_path / "new", 15)
    strict = Policy(margin=5, metrics=RULES, shared_samples="refuse")
    found = ev.gate(new, old, strict)
    assert found.outcome == "cannot tell"
    assert found.reasons[0].startswith("task 'emotion' differs (")


def test_a_corrected_group_is_another_one_and_the_baseline_s_is_lacking(tmp_path: Path, old: str) -> None:
    new = run_of(tmp_path / "new", 12, corrected=("g3",))
    found = ev.gate(new, old, POLICY)
    assert found.outcome == "cannot tell"
    (rule,) = (rule for rule in found.rules if rule.name.startswith("not shared"))
    assert (rule.state, rule.detail) == ("open", "2 of 24")
    assert ev.gate(new, old, Policy(margin=5, metrics=RULES, max_unshared=0.1)).outcome == "pass"


def test_failures_of_samples_that_are_not_compared_count(tmp_path: Path, old: str) -> None:
    groups = tuple(f"g{n}" for n in range(4))
    new = run_of(tmp_path / "new", 12, corrected=groups, broken=groups)
    found = ev.gate(new, old, Policy(margin=5, metrics=RULES, max_unshared=1))
    assert found.failures.startswith("failed replies: 8 of 24")
    assert found.outcome == "regress"


def test_compare_has_a_note_and_the_shared_samples(tmp_path: Path, old: str) -> None:
    found = ev.compare(old, run_of(tmp_path / "new", 15))
    assert any("24 samples are the same in both" in note for note in found.notes)
    (pooled,) = (c for c in found.comparisons[0].cells if c.part == "pooled" and c.metric == "scripted")
    assert pooled.n == 24


def test_runs_without_content_hashes_are_not_comparable(tmp_path: Path, old: str) -> None:
    ev.accept(old, tmp_path / "accepted")
    table = tmp_path / "accepted" / "table.jsonl"
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    table.write_text("".join(json.dumps({k: v for k, v in r.items() if k != "content"}) + "\n" for r in rows))
    new = run_of(tmp_path / "new", 15)
    assert any(
        "'emotion' differs" in reason for reason in ev.gate(new, tmp_path / "accepted", POLICY).reasons
    )
    with pytest.raises(UsageError, match="not comparable: task 'emotion' differs"):
        ev.compare(tmp_path / "accepted", new)


def test_content_covers_the_whole_group_and_nothing_of_the_run(tmp_path: Path, old: str) -> None:
    ours = load_scored_system(run_of(tmp_path / "new", 12, corrected=("g3",))).frame
    theirs = load_scored_system(old).frame
    joined = ours.merge(theirs, on=["sample_id", "metric"])
    differs = joined[joined["content_x"] != joined["content_y"]]
    assert set(differs["sample_id"]) == {"s3h", "s3s"}
