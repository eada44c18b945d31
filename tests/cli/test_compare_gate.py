"""`compare` and `gate` as CI runs them: exit codes, reports, baselines, run folders."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from echat_eval.analysis import load_scored_system
from echat_eval.cli.compare_gate import compare_command, gate_command
from echat_eval.errors import EChatError, Exit
from echat_eval.gate.accept import accept

Table = Callable[..., pd.DataFrame]
POLICY = "margin: 3\nmetrics:\n  empathy: {higher_is_better: true, low: 0, high: 100}\n"


def invoke(command: Any, *words: object) -> tuple[int, str]:
    """Return exit code and output as `main` reports them."""
    result: Result = CliRunner().invoke(command, [str(word) for word in words], standalone_mode=False)
    if isinstance(result.exception, EChatError):
        return int(result.exception.exit_code), str(result.exception)
    if result.exception is not None:
        raise result.exception
    return int(result.return_value or 0), result.output


@pytest.fixture
def workspace(tmp_path: Path, table: Table) -> Path:
    (tmp_path / "gate.yaml").write_text(POLICY)
    table().to_csv(tmp_path / "main.csv", index=False)
    return tmp_path


def gate(workspace: Path, candidate: pd.DataFrame, *more: object, against: object = None) -> tuple[int, str]:
    candidate.to_csv(workspace / "candidate.csv", index=False)
    return invoke(
        gate_command,
        workspace / "candidate.csv",
        "--against",
        against or workspace / "main.csv",
        "--policy",
        workspace / "gate.yaml",
        "--junit",
        workspace / "gate.xml",
        "--summary",
        workspace / "gate.md",
        *more,
    )


@pytest.mark.parametrize(
    ("candidate", "code", "title", "failures", "errors"),
    [
        ({"shift": -8}, 1, "regress", True, False),
        ({"shift": 0}, 0, "pass", False, False),
        ({"shift": 5}, 0, "pass", False, False),
        ({"shift": 0, "missing": 0.3}, 3, "cannot tell", False, True),
    ],
    ids=["regressed", "equal", "improved", "30 % missing"],
)
def test_ci_example_decision_and_reports(
    workspace: Path,
    table: Table,
    candidate: dict[str, Any],
    code: int,
    title: str,
    failures: bool,
    errors: bool,
) -> None:
    assert invoke(gate_command, "accept", workspace / "main.csv", "--to", workspace / "accepted")[0] == 0
    got, output = gate(workspace, table(seed=2, **candidate), against=workspace / "accepted")
    assert got == code
    assert output.startswith(title)
    suite = ElementTree.parse(workspace / "gate.xml").getroot().find("testsuite")
    assert suite is not None
    assert (suite.get("failures") != "0", suite.get("errors") != "0") == (failures, errors)
    cases = suite.findall("testcase")
    assert suite.get("tests") == str(len(cases)) == "8"
    assert suite.get("failures") == str(len(suite.findall("testcase/failure")))
    assert suite.get("errors") == str(len(suite.findall("testcase/error")))
    assert all(case.get("name") and case.get("classname") and case.get("time") for case in cases)
    summary = (workspace / "gate.md").read_text()
    assert summary.startswith("## ")
    assert f"EChat-eval gate: {title}" in summary.splitlines()[0]
    rows = [line for line in summary.splitlines() if line.startswith("| empathy")]
    assert len(rows) == 6
    assert all(row.count("|") == 7 for row in rows)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["runs/x"], "expected `gate CANDIDATE --against"),
        (["a", "b", "--against", "c", "--policy", "d"], "expected `gate CANDIDATE"),
        (["accept", "a"], "expected `gate accept RUN --to"),
        (["nothing.csv", "--against", "n", "--policy", "gate.yaml"], "no such run folder or table"),
    ],
)
def test_gate_misuse_is_one_clear_message(words: list[str], message: str) -> None:
    code, output = invoke(gate_command, *words)
    assert code == Exit.MISUSE
    assert message in output


def test_old_reports_are_removed_when_the_gate_fails(workspace: Path, table: Table) -> None:
    assert gate(workspace, table(seed=2))[0] == 0
    assert (workspace / "gate.xml").exists()
    assert gate(workspace, table(seed=2).assign(metric="other"))[0] == Exit.MISUSE
    assert not (workspace / "gate.xml").exists()
    assert not (workspace / "gate.md").exists()


def test_baseline_changed_or_too_old_cannot_tell(workspace: Path, table: Table) -> None:
    kept = workspace / "accepted"
    invoke(gate_command, "accept", workspace / "main.csv", "--to", kept)
    assert gate(workspace, table(seed=2), against=kept)[0] == 0
    with (workspace / "gate.yaml").open("a") as file:
        file.write("max_age_days: 30\n")
    assert gate(workspace, table(seed=2), against=kept)[0] == 0
    assert gate(workspace, table(seed=2))[0] == 3, "a plain table has no date"
    facts = json.loads((kept / "accepted.json").read_text())
    for at, message in (("2020-01-01T00:00:00+00:00", "days ago"), ("2999-01-01T00:00:00+00:00", "future")):
        (kept / "accepted.json").write_text(json.dumps({**facts, "accepted_at": at}))
        code, output = gate(workspace, table(seed=2), against=kept)
        assert code == 3
        assert message in output
    (kept / "accepted.json").write_text(json.dumps(facts))
    lines = (kept / "table.jsonl").read_text().replace('"value":5', '"value":4')
    (kept / "table.jsonl").write_text(lines)
    code, output = gate(workspace, table(seed=2), against=kept)
    assert code == 3
    assert "was changed since it was accepted" in output


@pytest.mark.parametrize(
    "changes",
    [
        {"system": 5},
        {"metrics": {}},
        {"metrics": [{"name": "empathy"}]},
        {"hashes": [["tasks", "emotion", 5]]},
        {"environment": 0.5},
        {"environment": {"packages": [1]}},
        {"accepted_at": "0001-01-01T00:00:00+23:59"},
        {"accepted_at": 5},
        {"sha256": None},
    ],
)
def test_a_baseline_with_a_value_of_the_wrong_type_is_misuse(
    workspace: Path, changes: dict[str, Any]
) -> None:
    kept = workspace / "accepted"
    invoke(gate_command, "accept", workspace / "main.csv", "--to", kept)
    facts = json.loads((kept / "accepted.json").read_text())
    (kept / "accepted.json").write_text(json.dumps({**facts, **changes}))
    code, output = invoke(compare_command, kept, workspace / "main.csv")
    assert code == Exit.MISUSE
    assert "accepted" in output


def test_accept_refuses_a_folder_that_is_no_baseline(workspace: Path) -> None:
    code, output = invoke(gate_command, "accept", workspace / "main.csv", "--to", workspace)
    assert code == Exit.MISUSE
    assert "not a baseline of `gate accept`" in output
    (workspace / "half").mkdir()
    (workspace / "half" / "accepted.json").write_text("{}")
    assert invoke(compare_command, workspace / "half", workspace / "main.csv")[0] == Exit.MISUSE


def test_names_from_data_are_escaped_in_reports(workspace: Path, table: Table) -> None:
    odd = 'a|b <script>\x00\x1b[2J `x` "&'
    rows = table(-9, seed=2).assign(task=odd)
    table().assign(task=odd).to_json(workspace / "odd.jsonl", orient="records", lines=True)
    rows.to_json(workspace / "candidate.jsonl", orient="records", lines=True)
    code, output = invoke(
        gate_command,
        workspace / "candidate.jsonl",
        "--against",
        workspace / "odd.jsonl",
        "--policy",
        workspace / "gate.yaml",
        "--junit",
        workspace / "gate.xml",
        "--summary",
        workspace / "gate.md",
    )
    assert code == 1
    assert "\x1b" not in output
    ElementTree.parse(workspace / "gate.xml")
    summary = (workspace / "gate.md").read_text()
    assert "<script>" not in summary
    assert "\x1b" not in summary
    assert all(
        line.count("|") - line.count("\\|") == 7 for line in summary.splitlines() if line.startswith("| ")
    )


def write_run(folder: Path, shift: float, seed: int, *, judge: str = "j1", at_once: int | None = 1) -> Path:
    """Write a run folder of 16 speakers x 5 samples, as `echat-eval run` leaves it."""
    rng = np.random.default_rng(seed)
    folder_rows: dict[str, list[dict[str, Any]]] = {"samples": [], "scores": [], "responses": []}
    level = np.random.default_rng(0).normal(60, 15, 80)
    for i in range(80):
        name, sound = f"s{i}", {"file": f"requests/{i}.wav", "sha256": f"{i:064x}", "seconds": 1.0}
        folder_rows["samples"].append(
            {
                "task": "emotion",
                "id": name,
                "transcript": f"words {i}",
                "cues": {"emotion": "sad"},
                "language": "en",
                "source": "synthetic",
                "speaker": f"p{i // 5}",
                "audio": sound,
            }
        )
        score = {"key": "k", "system": "ours", "task": "emotion", "sample_id": name, "weight": 1.0}
        folder_rows["scores"].append(
            {
                **score,
                "metric": "empathy",
                "state": "value",
                "value": float(np.clip(level[i] + shift + rng.normal(0, 4), 0, 100)),
            }
        )
        folder_rows["scores"].append({**score, "metric": "mos", "state": "not applicable", "value": None})
        folder_rows["responses"].append(
            {
                "key": "k",
                "system": "ours",
                "task": "emotion",
                "sample_id": name,
                "state": "value",
                "tries": 1,
                "seconds": 0.5,
                "reply": {"text": "ok", "first_audio_seconds": 0.2},
            }
        )
    folder.mkdir()
    for name, rows in folder_rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    metric = {
        "title": "Empathy",
        "unit": "",
        "low": 0.0,
        "high": 100.0,
        "higher_is_better": True,
        "worst": 0.0,
        "average": "mean",
        "headline": True,
        "proxy": False,
        "digits": 1,
    }
    system = {"role": "system"} | ({} if at_once is None else {"calls_at_once": at_once})
    manifest = {
        "layout": 1,
        "tasks": {"emotion": {"sha256": "t1"}},
        "scorers": {"judge": {"fingerprint": judge}},
        "annotators": {},
        "systems": {"ours": system},
        "environment": {"hardware": {"cpu": "x"}},
        "metrics": [{"name": "empathy", **metric}, {"name": "mos", **metric, "headline": False}],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_gate_reads_metrics_clusters_and_latency_from_run_folders(tmp_path: Path) -> None:
    baseline, candidate = write_run(tmp_path / "a", 0, 1), write_run(tmp_path / "b", 0, 2)
    (tmp_path / "gate.yaml").write_text(
        "margin: 3\nmetrics: {empathy: {}}\nlatency: {first_audio_seconds: {at_most: 1, quantile: 0.7}}\n"
    )
    words = [gate_command, f"{candidate}:ours", "--against", baseline, "--policy", tmp_path / "gate.yaml"]
    code, output = invoke(*words)
    assert code == 0, output
    assert "80 shared samples" in output
    assert [m.name for m in load_scored_system(str(candidate)).manifest.metrics if m.headline] == ["empathy"]
    (tmp_path / "many").mkdir()
    parallel = write_run(tmp_path / "c", 0, 2, at_once=8)
    code, output = invoke(gate_command, parallel, *words[2:])
    assert code == 3
    assert "8 calls at once" in output
    beside = write_run(tmp_path / "d", 0, 2)
    path = Path(str(beside).partition(":")[0]) / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"settings": {"overlap": True}}))
    code, output = invoke(gate_command, beside, *words[2:])
    assert code == 3
    assert "--no-overlap" in output
    for run, pace in ((baseline, "real_time"), (candidate, "at_once")):
        path = Path(str(run).partition(":")[0]) / "manifest.json"
        manifest = json.loads(path.read_text())
        manifest["systems"]["ours"]["settings"] = {"turn": "commit", "pace": pace}
        path.write_text(json.dumps(manifest))
    code, output = invoke(*words)
    assert code == 3
    assert "with pace=at_once and" in output
    manifest = json.loads((candidate / "manifest.json").read_text())
    manifest["cache"] = {"response": {"ours": {"hits": 3, "stored": 77}}}
    (candidate / "manifest.json").write_text(json.dumps(manifest))
    code, output = invoke(*words)
    assert code == 3
    assert "3 replies of" in output
    assert "came from the cache and were not timed" in output


def test_runs_with_different_rubrics_are_not_compared(tmp_path: Path) -> None:
    baseline, candidate = write_run(tmp_path / "a", 0, 1), write_run(tmp_path / "b", 0, 2, judge="j2")
    (tmp_path / "gate.yaml").write_text("margin: 3\nmetrics: {empathy: {}}\n")
    code, output = invoke(gate_command, candidate, "--against", baseline, "--policy", tmp_path / "gate.yaml")
    assert code == 3
    assert "scorer 'judge' differs" in output
    code, output = invoke(compare_command, baseline, candidate)
    assert code == Exit.MISUSE
    assert "--anyway" in output
    code, output = invoke(compare_command, baseline, candidate, "--anyway", "--metric", "empathy")
    assert code == 0
    assert "†" in output


def test_compare_prints_pairs_and_a_trend(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / f"stage{k}", 3.0 * k, k) for k in range(3)]
    code, output = invoke(compare_command, *runs, "--metric", "empathy", "--flips", 2)
    assert code == 0
    assert "trend over all runs" in output
    assert output.count("minus") == 2
    assert "per run [+" in output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["main.csv"], "expected two or more"),
        (["main.csv", "main.csv"], "no metric to compare"),
        (["main.csv", "main.csv", "--metric", "empathy"], "has no direction"),
        (["main.csv", "main.csv", "--metric", "empathy=up"], "expected empathy=higher"),
        (["main.csv", "main.csv", "--metric", "wer=lower"], "no metric 'wer'"),
    ],
)
def test_compare_misuse_is_one_clear_message(workspace: Path, words: list[str], message: str) -> None:
    code, output = invoke(compare_command, *[workspace / w if w.endswith(".csv") else w for w in words])
    assert code == Exit.MISUSE
    assert message in output


def test_program_exits_with_the_code_of_the_decision(workspace: Path, table: Table) -> None:
    table(-8, seed=2).to_csv(workspace / "bad.csv", index=False)
    words = ["gate", "bad.csv", "--against", "main.csv", "--policy", "gate.yaml"]
    code = "import sys; from echat_eval.cli import main; sys.argv[0] = 'echat-eval'; main()"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=workspace,
        env={"PYTHONPATH": str(root), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("regress")


def test_accept_stores_hashes_and_metrics(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    run = load_scored_system(str(write_run(tmp_path / "a", 0, 1)))
    accept(run, tmp_path / "kept", now=datetime.now(UTC))
    kept = load_scored_system(str(tmp_path / "kept"))
    assert kept.hashes == run.hashes
    assert kept.metrics == run.metrics
    assert not kept.changed
    columns = ["task", "sample_id", "metric", "value", "state", "speaker"]
    a, b = kept.frame[columns].reset_index(drop=True), run.frame[columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(a, b, check_dtype=False)
