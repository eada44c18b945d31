"""Significance marks of tables come from the differences that `compare` prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from echat_eval.analysis import compare, load_scored_system
from echat_eval.analysis.compare_runs import rules_of
from echat_eval.errors import SystemFailure
from echat_eval.leaderboard.build import OVERALL
from echat_eval.records import Reply, Request
from echat_eval.report.marks import pair_tests
from echat_eval.report.runs import merge_runs
from echat_eval.scorers.understanding import Understanding
from echat_eval.task.probe import probing
from echat_eval.testing import ScriptedSystem
from tests.support.present import present
from tests.support.scripted_world import make_run, make_task


@pytest.mark.parametrize(
    ("wrong", "corrected"), [(2, True), (40, False)], ids=["few clusters moved", "most clusters moved"]
)
def test_marks_and_compare_have_the_same_p_to_the_last_digit(
    tmp_path: Path, wrong: int, corrected: bool
) -> None:
    tasks = [probing(make_task(tmp_path / "tasks", name, 14), name) for name in ("emotion", "age")]
    cue = {s.audio.sha256: next(iter(s.cues.items())) for task in tasks for s in task.samples}
    sounds = [s.audio.sha256 for task in tasks for s in task.samples]

    def system(name: str, confused: list[str]) -> ScriptedSystem:
        def respond(request: Request) -> Reply:
            kind, label = cue[request.audio.sha256]
            if request.audio.sha256 == confused[0]:
                raise SystemFailure("it broke")
            named = "no label" if request.audio.sha256 in confused else label
            return Reply(text=f"You sound {named}.", perceived={kind: named})

        return ScriptedSystem(respond, name)

    systems = [system("new", sounds[5 : 5 + wrong : 2]), system("old", sounds[6 : 6 + 3 * wrong : 2])]
    folder = make_run(tmp_path / "run", tasks, systems, scorers=[Understanding()], annotators=[])
    old, new = (load_scored_system(f"{folder.path}:{name}") for name in ("old", "new"))
    merged, seen = merge_runs([folder]), set()
    for metric in folder.manifest().metrics:
        if metric.name not in set(old.frame["metric"]):
            continue
        compared = compare(old, new, metrics=rules_of([old, new], metric.name)).cells
        if all(cell.n == 0 for cell in compared):  # not applicable in every row
            continue
        cells = {c.name if c.part == "task" else OVERALL: c for c in compared if c.part != "slice"}
        tests = pair_tests(merged, metric, ["new", "old"], [OVERALL, *(task.name for task in tasks)])
        assert {test.column for test in tests} == set(cells), metric.name
        for test in tests:
            found = present(cells[test.column].difference)
            sign = 1.0 if test.better == "new" else -1.0
            assert (sign * present(test.difference), test.p) == (found.value, cells[test.column].p)
            seen.add(present(found.se_low) > present(found.se) or present(found.se_high) > present(found.se))
    assert not corrected or True in seen
