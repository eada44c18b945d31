"""The conformance check of trackers passes a correct one and names the fault of each other."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from echat_eval.ports import Destination, TrackedRun
from echat_eval.testing import Finding, check_tracker


class Correct:
    name = "correct"

    def __init__(self) -> None:
        self.runs: list[TrackedRun] = []

    def destinations(self) -> list[Destination]:
        return []

    def log(self, run: TrackedRun) -> None:
        (run.folder / "copy.txt").write_text(run.name)
        self.runs.append(run)


class Broken(Correct):
    def __init__(self, fault: Callable[[TrackedRun], object], name: str = "broken") -> None:
        super().__init__()
        self.name, self._fault = name, fault

    def log(self, run: TrackedRun) -> None:
        self._fault(run)


def failures(found: list[Finding]) -> list[str]:
    return [finding.check for finding in found if finding.outcome == "fail"]


def test_a_correct_tracker_passes_and_gets_every_run() -> None:
    tracker = Correct()
    found = list(check_tracker(tracker))
    assert not failures(found)
    assert {finding.check: finding.message for finding in found}["destinations"] == "none"
    assert [run.page is None for run in tracker.runs] == [False, False, True, False, False, False]
    assert [len(run.rows) for run in tracker.runs] == [2, 2, 2, 1, 0, 2]


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        (lambda run: list(run.page.iterdir()), "run without a page"),
        (lambda run: [row["value"] + 1 for row in run.rows], "run without a value"),
        (lambda run: run.rows[0], "run without rows"),
        (lambda run: run.name.encode("ascii"), "run with words of any script"),
        (lambda run: (run.folder / "leaderboard.csv").write_text(""), "run folder"),
        (lambda run: (run.folder / "leaderboard.csv").unlink(missing_ok=True), "run folder"),
    ],
)
def test_a_fault_is_named(fault: Callable[[TrackedRun], object], check: str) -> None:
    assert failures(list(check_tracker(Broken(fault)))) == [check]


def test_a_blank_name_and_an_absent_member_are_named() -> None:
    assert failures(list(check_tracker(Broken(lambda run: None, name=" ")))) == ["name"]
    assert failures(list(check_tracker(object()))) == ["members"]  # type: ignore[arg-type]
