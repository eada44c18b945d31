"""Planted faults: each raises its own alarm; healthy runs raise none."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from scipy import stats as scipy_stats

from echat_eval.checks import alarms, planted
from echat_eval.checks.alarms import ALARMS, alarms_of
from echat_eval.checks.planted import FAULTS, false_alarm_limit, healthy_alarms
from echat_eval.checks.scripted_clips import make_task
from echat_eval.checks.scripted_run import Parts, dominant_hertz, make_run, read_audio
from echat_eval.cli.check import check
from echat_eval.errors import Exit
from echat_eval.scorers.error_rate import count_edits
from echat_eval.task import Task


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return make_task(tmp_path_factory.mktemp("scripted") / "task")


def test_each_fault_has_its_own_alarm() -> None:
    assert len(FAULTS) == 10
    assert sorted(alarm for _, alarm in FAULTS.values()) == sorted(ALARMS)


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_raises_its_alarm(task: Task, tmp_path: Path, fault: str) -> None:
    plant, alarm = FAULTS[fault]
    assert ALARMS[alarm](make_run(plant(Parts()), task, tmp_path, seed=1)) is not None


def test_random_judge_raises_the_run_again_alarm(task: Task, tmp_path: Path) -> None:
    import random

    rng = random.SystemRandom()
    parts = replace(Parts(), grade=lambda shown: (rng.randrange(6), rng.randrange(6), rng.randrange(6)))
    message = alarms_of(make_run(parts, task, tmp_path, seed=0))["run again"]
    assert "scores change when the run is made again" in message


@pytest.mark.slow
def test_healthy_runs_raise_no_alarm() -> None:
    """The command makes 200 healthy runs; docs/instruments.md has its result."""
    assert healthy_alarms(3, seed=1000) == []


def test_no_alarm_in_200_runs_has_an_upper_limit() -> None:
    assert false_alarm_limit(200, 0) == pytest.approx(1 - 0.05 ** (1 / 200))
    assert false_alarm_limit(200, 3) == pytest.approx(scipy_stats.beta.ppf(0.95, 4, 197))
    assert false_alarm_limit(1, 1) == 1


def test_healthy_run_has_two_rubrics_and_failed_replies(task: Task, tmp_path: Path) -> None:
    runs = [make_run(Parts(), task, tmp_path / str(seed), seed=seed) for seed in (3, 4, 5, 6)]
    folder = runs[0].folder
    assert {
        "manifest.json",
        "responses.jsonl",
        "annotations.jsonl",
        "scores.jsonl",
        "verdicts.jsonl",
        "audio",
    } <= {path.name for path in folder.path.iterdir()}
    assert len(folder.responses()) == 16
    assert len(list((folder.path / "audio").iterdir())) == 16
    # Two verdicts per reply by the earlier rubric and two by the present one; none was reused for the other.
    judged = [s for s in folder.scores().values() if s.metric == runs[0].metric and s.state == "value"]
    rows = [json.loads(line) for line in (folder.path / "verdicts.jsonl").read_text().splitlines()]
    assert len(rows) == 4 * len(judged) > 50
    states = {s.state for run in runs for s in run.folder.scores().values() if s.metric == run.metric}
    assert states == {"value", "failed"}
    wave = read_audio(next((folder.path / "audio").iterdir()))
    assert min(abs(dominant_hertz(wave) - hertz) for hertz in (150, 250, 400)) < 25
    assert count_edits(["a", "b", "c", "d"], ["a", "x", "c"]).percent == pytest.approx(50)


@pytest.mark.slow
def test_command_prints_its_findings() -> None:
    done = CliRunner().invoke(check, ["instruments", "--healthy", "1"], standalone_mode=False)
    assert done.return_value == Exit.DONE, done.output
    assert "found 10 of 10 planted faults; 0 alarms in 1 healthy run" in done.output
    assert "so at most 95.0 % of healthy runs raise an alarm (95 % upper limit)" in done.output
    assert re.search(r"found +stale judge cache: \d+ verdicts were given to another prompt", done.output)


def only(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """Let the command plant one fault, as the others are planted one by one above."""
    monkeypatch.setattr(planted, "FAULTS", {fault: FAULTS[fault]})


@pytest.mark.slow
def test_alarm_that_is_never_raised_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, next(fault for fault, (_, alarm) in FAULTS.items() if alarm == "silent audio"))
    monkeypatch.setattr(alarms, "ALARMS", {"silent audio": lambda run: None})
    done = CliRunner().invoke(check, ["instruments", "--healthy", "0"], standalone_mode=False)
    assert done.return_value == Exit.REGRESS
    assert "NOT FOUND  silent audio" in done.output


@pytest.mark.slow
def test_false_alarm_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, next(iter(FAULTS)))
    monkeypatch.setattr(alarms, "ALARMS", {"resampling": lambda run: "something"})
    done = CliRunner().invoke(check, ["instruments", "--healthy", "1"], standalone_mode=False)
    assert done.return_value == Exit.REGRESS
    assert "false alarm in healthy run 0: resampling" in done.output
