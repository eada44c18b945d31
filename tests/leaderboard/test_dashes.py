"""The reasons why the headline has no value."""

from __future__ import annotations

import re
from pathlib import Path

from echat_eval.leaderboard.dashes import dash_lines, dash_reasons
from echat_eval.records import Score, State
from echat_eval.scorers.contrast import NO_GROUP, SAME_EXPECTED
from echat_eval.scorers.cue_contrast import CueContrast
from echat_eval.testing import ScriptedSystem
from tests.support.cases import Angles
from tests.support.scripted_run import evaluated
from tests.support.tones import write_task

TITLES = {"match": "Match rate", "contrast": "Cue contrast"}


def row(metric: str, task: str, state: State = "not applicable", reason: str | None = NO_GROUP) -> Score:
    return Score(key="", system="s", task=task, sample_id="a", metric=metric, state=state, reason=reason)


def test_a_reason_stands_once_for_all_its_metrics_and_tasks() -> None:
    rows = [row(metric, task) for metric in TITLES for task in ("calls", "chats")]
    found = dash_reasons(rows, TITLES)
    line = '"-" in Match rate and Cue contrast: no contrast groups'
    assert dash_lines(found, TITLES, ["calls", "chats"], judged=True) == [line]
    advised = dash_lines(found, TITLES, ["calls", "chats"], judged=False)
    assert advised == [f"{line}; a judge needs none: --judge MODEL"]


def test_only_tasks_without_any_value_have_a_reason() -> None:
    rows = [
        row("match", "calls", reason=SAME_EXPECTED),
        row("match", "chats"),
        row("match", "chats", "failed", "no reply"),
        row("match", "talks", reason="a\x1b[31m reason\nof two lines"),
        row("other", "calls"),
    ]
    found = dash_reasons(rows, {"match"})
    assert set(found["match"]) == {"calls", "talks"}
    lines = dash_lines(found, TITLES, ["calls", "chats", "talks"], judged=False)
    assert lines[0].startswith('"-" in Match rate of calls: a good reply is the same for every voice')
    assert "\x1b" not in lines[1]
    assert "\n" not in lines[1]


def test_data_without_contrast_groups_get_the_reason_on_every_surface(tmp_path: Path) -> None:
    from echat_eval.leaderboard.view import view_leaderboard

    rows = write_task(tmp_path / "data") / "samples.jsonl"
    rows.write_text(re.sub(r'"contrast_group": "g\d", ', "", rows.read_text()))
    scorer = CueContrast(embedder=Angles())
    run = evaluated(tmp_path / "run", tmp_path / "data", ScriptedSystem(lambda _: "30"), scorers=[scorer])
    view = view_leaderboard([run])
    assert view.board.headline.name == "match_rate_proxy"
    for text in (str(view), view._repr_markdown_(), view._repr_html_()):
        assert "no contrast groups; a judge needs none: --judge MODEL" in text
