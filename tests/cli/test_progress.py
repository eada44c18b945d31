"""Progress in a pipe: lines with how far it is, how long it still takes, and which stages are at work."""

from __future__ import annotations

import time

import pytest

from echat_eval.cli import progress
from echat_eval.cli.progress import Bar


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
        "0 s: respond: mine 30 of 100 (about 0 s left), score: judge 20 of 100 (about 0 s left)"
    )


def test_the_time_left_is_that_of_a_stage_and_only_moving_stages_are_listed() -> None:
    counts = progress._Counts()
    counts.add("respond", 400)
    counts.add("score", 900)
    began = counts._began
    assert counts.line(began + 60) == "1 min 0 s: respond 0 of 400, score 0 of 900"
    counts.advance(100, "respond")
    assert counts.line(began + 60) == "1 min 0 s: respond 100 of 400 (about 3 min 0 s left)"
    counts.advance(300, "respond")
    assert counts.line(began + 240) == "4 min 0 s: score 0 of 900"
    counts.advance(900, None)
    assert counts.line(began + 250) == ""


def test_the_share_that_is_done_is_one_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    counts = progress._Counts()
    for name, rows in (("respond: one", 10), ("respond: two", 10), ("score: words", 1000)):
        counts.add(name, rows)
    for second in range(6):  # one reply a second; 100 scores take no time
        clock[0] = float(second)
        counts.advance(1, "respond: one")
        counts.advance(100, "score: words")
    # 6 of 20 replies of a second each, and 600 of 1000 scores of 10 ms each
    assert counts.share() == pytest.approx((6 + 6) / (20 + 10))
    assert counts.line(12.0).startswith("12 s: about 40 % done, about 18 s left; respond: one 6 of 10")
    counts.add("judge: slow", 10)  # a kind without a speed
    assert counts.line(12.0).startswith(
        "12 s: about 40 % of what has begun, about 18 s left for it; respond: one"
    )
    counts.advance(1, "judge: slow")
    clock[0] = 35.0
    counts.advance(1, "judge: slow")  # 30 s a row
    assert counts.share() == pytest.approx((6 + 6 + 60) / (20 + 10 + 300))
    for name, rows in (("respond: one", 4), ("respond: two", 10), ("judge: slow", 8), ("score: words", 400)):
        counts.advance(rows, name)
    assert counts.share() == 1.0
