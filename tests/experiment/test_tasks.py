"""Tasks of an experiment: each with its own data and samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from echat_eval.errors import UnknownName, UsageError
from echat_eval.experiment import Experiment, select_experiment_tasks
from echat_eval.task.split_draw import new_split
from tests.support.tones import write_task


def samples_of(**arguments: Any) -> dict[str, int]:
    tasks = select_experiment_tasks(Experiment(systems="canned", **arguments))
    return {selected.task.name: len(selected.task.samples) for selected in tasks}


def test_each_task_has_its_own_data_and_limit(tmp_path: Path) -> None:
    write_task(tmp_path / "one")
    write_task(tmp_path / "two", "calls")
    calls = {"name": "calls", "data": str(tmp_path / "two"), "limit": 2}
    assert samples_of(tasks=["emotion", calls], data=tmp_path / "one", limit=4) == {"emotion": 4, "calls": 2}
    assert samples_of(tasks={"data": tmp_path / "two"}) == {"calls": 8}
    assert samples_of(data=tmp_path / "one") == {"emotion": 8}


def test_a_part_of_a_split_is_selected_with_its_version(tmp_path: Path) -> None:
    folder = write_task(tmp_path, groups=8)
    for seed in (1, 2):
        new_split(folder, {"dev": 0.25, "test": 0.75}, by=["sentence"], seed=seed)
    calls = {"name": "emotion", "data": str(folder), "part": "dev"}
    assert (
        samples_of(tasks=[calls]) == samples_of(tasks="emotion", data=folder, part="dev@1") == {"emotion": 4}
    )
    (selected,) = select_experiment_tasks(Experiment(systems="canned", tasks=[calls]))
    assert selected.selection["part"] == "dev@2"


@pytest.mark.parametrize(
    ("tasks", "error", "line"),
    [
        (["emotion", {"name": "emotion", "limit": 2}], UsageError, "task 'emotion' is named twice"),
        (
            {"name": "emotion", "limt": 3},
            UsageError,
            "task 'emotion': unknown key 'limt'; did you mean 'limit'",
        ),
        ({"name": 3}, UsageError, "task 3: 'name' is 3, expected text"),
        (3, UsageError, "tasks: got 3; expected a name or a list"),
        ("emotoin", UnknownName, "unknown task 'emotoin'. Did you mean 'emotion'?"),
        ({"name": "emotion", "limit": "x"}, UsageError, "limit='x': expected a whole number"),
    ],
)
def test_a_wrong_selection_is_one_line(tones: Path, tasks: Any, error: type[Exception], line: str) -> None:
    with pytest.raises(error) as raised:
        samples_of(tasks=tasks, data=tones)
    assert str(raised.value).startswith(line)
