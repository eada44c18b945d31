"""Arguments and single settings replace what an experiment says, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from echat_eval.errors import UnknownName, UsageError
from echat_eval.experiment import Experiment, with_arguments, with_settings
from echat_eval.scorers.judge_settings import parse_judges
from echat_eval.scorers.link_settings import parse_link
from echat_eval.testing import ScriptedSystem

TWO = {"old": {"use": "canned", "text": "Oh."}, "v1.5": {"use": "canned"}, "echo": None}


def systems_of(settings: dict[str, Any], systems: Any = TWO) -> Any:
    return with_settings(Experiment(systems=systems), settings).systems


def test_a_setting_goes_to_one_system_or_to_every_one() -> None:
    assert systems_of({"old.text": "Hm.", "v1.5.text": "Yes.", "seed": 3}) == {
        "old": {"use": "canned", "text": "Hm.", "seed": 3},
        "v1.5": {"use": "canned", "text": "Yes.", "seed": 3},
        "echo": {"use": "echo", "seed": 3},
    }


def test_specs_of_the_command_line_have_names_too() -> None:
    specs = ["mine=replay:a.jsonl", "command:./infer.sh", "http://127.0.0.1:9/"]
    mine, command, http = systems_of({"mine.seed": 1, "command.timeout": 3}, specs)
    assert mine == {"use": "mine=replay:a.jsonl", "seed": 1}
    assert command == {"use": "command:./infer.sh", "timeout": 3}
    assert http == {"use": "http://127.0.0.1:9/"}


def test_judges_runner_and_executor_have_groups_of_settings() -> None:
    judges = {"text": {"model": "m-1"}, "strict": {"model": "m-2", "timeout": 5, "seed": 3}}
    changed = with_settings(
        Experiment(systems=TWO, judges=judges, executor="ray"),
        {
            "judge.timeout": 600,
            "judge.strict.temperature": 0.5,
            "runner.tries": 5,
            "runner.controls": 20,
            "executor.workers": 2,
        },
    )
    text, strict = parse_judges(changed.judges)
    assert (text.timeout, text.settings) == (600, {})
    assert (strict.timeout, strict.settings) == (600, {"seed": 3, "temperature": 0.5})
    assert (changed.tries, changed.controls) == (5, 20)
    assert changed.executor == {"name": "ray", "workers": 2}
    assert changed.systems == TWO


@pytest.mark.parametrize(
    ("settings", "error", "line"),
    [
        ({"odl.text": "x"}, UnknownName, "unknown name in '--set odl.text': 'odl'. Did you mean 'old'?"),
        ({"runner.trys": 3}, UnknownName, "unknown setting of the runner: 'trys'. Did you mean 'tries'?"),
        (
            {"runner.tries": "x"},
            UsageError,
            "--set runner.tries: 'tries' is 'x', expected a whole number from 1",
        ),
        ({"judge.timeout": 3}, UsageError, "--set judge.timeout without a judge; name the model"),
    ],
)
def test_a_wrong_name_is_one_line(settings: dict[str, Any], error: type[Exception], line: str) -> None:
    with pytest.raises(error) as raised:
        systems_of(settings)
    assert str(raised.value).startswith(line)


def test_an_unknown_judge_and_its_unknown_settings_are_refused() -> None:
    experiment = Experiment(systems=TWO, judges={"text": "m-1"})
    with pytest.raises(UnknownName, match=r"unknown judge 'txt'\. Did you mean 'text'"):
        with_settings(experiment, {"judge.txt.timeout": 3})
    with pytest.raises(UnknownName, match=r"unknown setting of judge 'text': 'temprature'"):
        with_settings(experiment, {"judge.temprature": 3})
    with pytest.raises(UsageError, match=r"judge 'text': timeout='long': expected a number"):
        with_settings(experiment, {"judge.timeout": "long"})


def test_an_object_takes_no_settings() -> None:
    system = ScriptedSystem("Oh.", "mine")
    with pytest.raises(UsageError, match="system 'mine' is an object and takes no settings; got text"):
        systems_of({"mine.text": "x"}, [system])


def test_an_argument_replaces_that_of_every_task() -> None:
    tasks = ["emotion", {"name": "age", "data": "own", "limit": 20}]
    changed = with_arguments(
        Experiment(tasks=tasks, limit=8, out="a"), {"limit": 4, "out": "b", "tries": None}
    )
    assert changed == Experiment(tasks=["emotion", {"name": "age", "data": "own"}], limit=4, out="b")


@pytest.mark.parametrize("anchors", [-4, 5, "abc", 1.5, None, True])
def test_a_wrong_number_of_anchors_is_refused_before_anything_is_asked(anchors: Any) -> None:
    link = parse_link("old-2024-11-20", [])
    with pytest.raises(UsageError, match=r"link\.anchors=.*: expected a whole number from 30 to 5000"):
        with_settings(Experiment(systems="canned", link=link), {"link.anchors": anchors})
