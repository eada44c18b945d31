"""Options of the command line: their limits are those of the API, and groups of them become records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from echat_eval.cli.export import export_requests
from echat_eval.cli.options import TaskOptions, task_options
from echat_eval.cli.run import run, score
from echat_eval.errors import UsageError
from echat_eval.runner.plan import MAX_TRIES, whole_number
from echat_eval.scorers.judge_settings import JudgeSettings


def highest(command: click.Command, name: str) -> int:
    (option,) = [option for option in command.params if option.name == name]
    assert isinstance(option.type, click.IntRange)
    assert option.type.max is not None
    return int(option.type.max)


@pytest.mark.parametrize("command", [run, score], ids=["run", "score"])
@pytest.mark.parametrize(("option", "setting"), [("judge_repeats", "repeats"), ("judge_calls", "calls")])
def test_limits_of_a_judge_are_those_of_the_api(command: click.Command, option: str, setting: str) -> None:
    limit: Any = highest(command, option)
    JudgeSettings(**{setting: limit})
    with pytest.raises(UsageError, match=f"expected 1 to {limit}"):
        JudgeSettings(**{setting: limit + 1})


@pytest.mark.parametrize("command", [run, score], ids=["run", "score"])
def test_the_limit_of_tries_is_that_of_the_api(command: click.Command) -> None:
    assert highest(command, "tries") == MAX_TRIES
    with pytest.raises(UsageError, match="expected a whole number 1 to 100"):
        whole_number("tries", MAX_TRIES + 1, low=1, high=MAX_TRIES)


def test_options_of_tasks_become_one_record(tmp_path: Path) -> None:
    received: list[TaskOptions] = []

    @click.command()
    @task_options
    def command(tasks: TaskOptions) -> None:
        received.append(tasks)

    words = ["--task", "age", "--task", "event", "--data", str(tmp_path), "--language", "en", "--limit", "4"]
    done = CliRunner().invoke(command, [*words, "--ask", "age"], standalone_mode=False)
    assert done.exception is None, done.exception
    assert received[0].arguments() == {
        "tasks": ("age", "event"),
        "data": tmp_path,
        "languages": ("en",),
        "part": None,
        "limit": 4,
        "ask": "age",
    }


def test_run_and_export_select_samples_by_the_same_options() -> None:
    names = set(TaskOptions.__dataclass_fields__)
    shared = [
        {p.name: {**p.to_info_dict(), "hidden": None} for p in c.params if p.name in names}
        for c in (run, export_requests)
    ]
    assert shared[0] == shared[1]
    assert shared[0].keys() == names
