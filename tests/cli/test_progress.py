"""Progress in a pipe: lines with how far it is, how long it still takes, and which stages are at work."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from echat_eval.cli import progress
from echat_eval.cli.progress import Bar

if TYPE_CHECKING:
    import pytest


def test_a_pipe_gets_a_line_at_intervals(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.02)
    with Bar() as bar:
        bar.stage("respond: mine", total=120, done=20)
        bar.stage("score: judge", total=100, done=0)
        bar.advance(30, stage="respond: mine")
        bar.advance(20)
        time.sleep(0.1)
        bar.advance(70, stage="respond: mine")
        bar.advance(80)
    began, *lines = capsys.readouterr().err.splitlines()[1:]
    assert began == "score: judge: 100 of 100 rows to do"
    assert lines[0] == (
        "0 s: 25 % of 200 rows done; respond: mine 30 of 100 (about 0 s left), "
        "score: judge 20 of 100 (about 0 s left)"
    )


def test_the_time_left_is_that_of_a_stage_and_only_moving_stages_are_listed() -> None:
    counts = progress._Counts()
    counts.add("respond", 400)
    counts.add("score", 900)
    began = counts._began
    assert counts.line(began + 60) == "1 min 0 s: 0 % of 1,300 rows done; respond 0 of 400, score 0 of 900"
    counts.advance(100, "respond")
    assert counts.line(began + 60) == (
        "1 min 0 s: 7 % of 1,300 rows done; respond 100 of 400 (about 3 min 0 s left)"
    )
    counts.advance(300, "respond")
    assert counts.line(began + 240) == "4 min 0 s: 30 % of 1,300 rows done; score 0 of 900"
    counts.advance(900, None)
    assert counts.line(began + 250) == ""
