"""Ten planted faults are each found by their own alarm; healthy runs ring none."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from echat_eval.checks import planted
from echat_eval.checks.planted import ALARMS, FAULTS, alarms_of, healthy_alarms
from echat_eval.checks.scripted_run import Parts, dominant_hertz, make_run, resample, word_errors
from echat_eval.cli.check import check
from echat_eval.errors import Exit


def test_each_fault_has_an_alarm_of_its_own() -> None:
    assert len(FAULTS) == 10
    assert sorted(alarm for _, alarm in FAULTS.values()) == sorted(ALARMS)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_planted_fault_is_found(fault: str, seed: int) -> None:
    plant, alarm = FAULTS[fault]
    assert alarm in alarms_of(make_run(plant(Parts()), seed=seed))


def test_no_alarm_rings_in_200_healthy_runs() -> None:
    assert healthy_alarms(200, seed=1000) == []


def test_the_command_says_what_it_found() -> None:
    done = CliRunner().invoke(check, ["instruments", "--healthy", "2"], standalone_mode=False)
    assert done.return_value == Exit.DONE, done.output
    assert "found 10 of 10 planted faults; 0 alarms in 2 healthy runs" in done.output


def test_a_deaf_alarm_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planted, "ALARMS", {**ALARMS, "silent audio": lambda run: None})
    done = CliRunner().invoke(check, ["instruments", "--healthy", "0"], standalone_mode=False)
    assert done.return_value == Exit.REGRESS
    assert "NOT FOUND  silent audio" in done.output


def test_an_alarm_that_always_rings_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planted, "ALARMS", {**ALARMS, "resampling": lambda run: "something"})
    done = CliRunner().invoke(check, ["instruments", "--healthy", "1"], standalone_mode=False)
    assert done.return_value == Exit.REGRESS
    assert "false alarm in healthy run 0: resampling" in done.output


def test_the_scripted_world_is_what_it_says() -> None:
    run = make_run(Parts(), seed=3)
    assert len(run.cases) == len(run.scores) == 12
    assert {gold for gold, heard in run.probes if gold == heard} == {"anger", "happy", "sad"}
    wave = next(iter(run.waves.values()))
    assert dominant_hertz(resample(wave, 24_000)) == pytest.approx(dominant_hertz(wave, 24_000), abs=5)
    assert word_errors(["a", "b", "c", "d"], ["a", "x", "c"]) == pytest.approx(0.5)
