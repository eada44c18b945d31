"""The GitHub action and the GitLab job run: their shell steps are executed here, with a stubbed installation."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

import echat_eval as ev
from tests.support.score_tables import scores

ROOT = Path(__file__).resolve().parents[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
GITLAB = yaml.safe_load((ROOT / "docs" / "ci" / "gitlab.yml").read_text(encoding="utf-8"))
POLICY = "margin: 5\nmetrics: {empathy: {higher_is_better: true, low: 0, high: 100}}\n"
#: `run` leaves the prepared table, `report` a page; only `gate` is the real command.
STUB = """#!/bin/bash
echo "echat-eval $*" >> "$CALLS"
case "$1" in
  run) mkdir -p runs; cp candidate.csv runs/candidate; exit "${RUN_CODE:-0}";;
  report) [ -z "$NO_PAGE" ] && mkdir -p gate-reports/report/page && echo page > gate-reports/report/page/index.html;;
  gate) shift; exec "%s" -c "from echat_eval.cli import main; main()" gate "candidate.csv" "${@:2}";;
esac
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "gate.yaml").write_text(POLICY)
    scores(n=120).to_csv(tmp_path / "main.csv", index=False)
    ev.accept(tmp_path / "main.csv", tmp_path / "accepted" / "main")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in (
        ("echat-eval", STUB % sys.executable),
        ("python", '#!/bin/bash\necho "python $*" >> "$CALLS"\n'),
    ):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    return tmp_path


def environment(workspace: Path, **more: str) -> dict[str, str]:
    return {
        "PATH": f"{workspace / 'tools'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "CALLS": str(workspace / "calls"),
        "GITHUB_SHA": "0123abc",
        **more,
    }


def bash(workspace: Path, script: str, env: Mapping[str, str]) -> int:
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    done = subprocess.run(command, cwd=workspace, env=env, capture_output=True, text=True)
    return done.returncode


def run_action(
    workspace: Path, *, experiment: str = "experiment.yaml", **more: str
) -> tuple[int, dict[str, str]]:
    """Run the shell steps of the action in order, as a runner does; return the exit code and the outputs."""
    inputs = {name: str(facts.get("default", "")) for name, facts in ACTION["inputs"].items()}
    inputs |= {"experiment": experiment, "against": "accepted/main"}
    outputs: dict[str, str] = {}

    def value(match: re.Match[str]) -> str:
        words = match[1].split("||")
        for word in (word.strip() for word in words):
            kind, _, name = word.partition(".")
            found = (
                inputs[name]
                if kind == "inputs"
                else "a-branch"
                if kind == "github"
                else outputs[name.split(".")[-1]]
            )
            if found:
                return found
        return ""

    for step in ACTION["runs"]["steps"]:
        assert ("run" in step) != ("uses" in step)
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z-]+(/[a-z]+)?@v\d+", step["uses"])
            continue
        assert step["shell"] == "bash"
        assert "${{" not in step["run"], "an expression in a script could inject commands"
        env = {name: re.sub(r"\$\{\{(.*?)\}\}", value, text) for name, text in step.get("env", {}).items()}
        files = {name: str(workspace / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        code = bash(workspace, step["run"], environment(workspace, **files, **env, **more))
        if (output := workspace / "GITHUB_OUTPUT").exists():
            outputs |= dict(line.split("=", 1) for line in output.read_text().splitlines())
        if code:
            return code, outputs
    return 0, outputs


def run_gitlab(workspace: Path, **more: str) -> int:
    (job,) = GITLAB.values()
    script = "\n".join(job["script"])
    return bash(
        workspace, script, environment(workspace, CI_COMMIT_REF_NAME="a-branch", **job["variables"], **more)
    )


@pytest.mark.parametrize(("shift", "code"), [(4.0, 0), (-9.0, 1)])
def test_the_action_ends_with_the_code_of_the_gate(workspace: Path, shift: float, code: int) -> None:
    scores(shift, 2, n=120).to_csv(workspace / "candidate.csv", index=False)
    assert run_action(workspace)[0] == code
    reports = workspace / "gate-reports"
    assert sorted(p.name for p in reports.iterdir()) == [
        "gate.json",
        "gate.md",
        "gate.txt",
        "gate.xml",
        "page",
    ]
    ElementTree.parse(reports / "gate.xml")
    summary = (workspace / "GITHUB_STEP_SUMMARY").read_text()
    assert "commit 0123abc" in summary
    assert re.search(r"Artefact: \d+ kB in gate-reports", summary)
    assert "(page/index.html#/samples/" in summary
    calls = (workspace / "calls").read_text().splitlines()
    assert calls[0] == "python -m pip install echat-eval"
    assert calls[1] == "echat-eval run experiment.yaml --out runs/candidate"
    assert "--lineage a-branch" in calls[2]
    assert len((workspace / ".echat-eval" / "tries.jsonl").read_text().splitlines()) == 2


def test_the_action_states_its_outputs(workspace: Path) -> None:
    scores(0, 2, n=120, missing=0.4).to_csv(workspace / "candidate.csv", index=False)
    (workspace / "runs").mkdir()
    code, outputs = run_action(workspace, experiment="", NO_PAGE="1", RUN_CODE="3")
    assert (code, outputs["exit-code"]) == (3, "3")
    assert outputs["message"].startswith("cannot tell: ")
    assert ACTION["outputs"].keys() == outputs.keys()


def test_the_gitlab_job_ends_with_the_code_of_the_gate(workspace: Path) -> None:
    scores(-9, 2, n=120).to_csv(workspace / "candidate.csv", index=False)
    assert run_gitlab(workspace, RUN_CODE="3") == 1
    (job,) = GITLAB.values()
    assert (workspace / job["artifacts"]["reports"]["junit"]).is_file()
    assert (workspace / "gate-reports" / "page" / "index.html").is_file()
    assert job["cache"]["key"]["files"] == [f"{job['variables']['AGAINST']}/accepted.json"]
    assert (workspace / job["cache"]["paths"][0] / "tries.jsonl").is_file()


@pytest.mark.parametrize("run", [run_action, run_gitlab])
def test_a_run_that_fails_stops_the_job_before_the_gate(workspace: Path, run: Any) -> None:
    scores(n=120).to_csv(workspace / "candidate.csv", index=False)
    found = run(workspace, RUN_CODE="2")
    assert (found if isinstance(found, int) else found[0]) == 2
    assert "echat-eval gate" not in (workspace / "calls").read_text()


def test_a_page_that_is_too_large_is_left_out(workspace: Path) -> None:
    scores(4.0, 2, n=120).to_csv(workspace / "candidate.csv", index=False)
    (size,) = (step for step in ACTION["runs"]["steps"] if step.get("id") == "gate")
    assert shutil.which("du")
    files = {name: str(workspace / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    names = {"RUN": "runs/candidate", "AGAINST": "accepted/main", "POLICY": "gate.yaml", "LINEAGE": "a"}
    env = environment(workspace, **files, **names, REPORTS="gate-reports", MAX_MEGABYTES="0")
    assert bash(workspace, size["run"], env) == 0
    assert not (workspace / "gate-reports" / "page").exists()
    assert "max-megabytes is 0: it is left out" in (workspace / "GITHUB_STEP_SUMMARY").read_text()
