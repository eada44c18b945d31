"""Systems that are asked several times: own rows and keys, one row per sample in tables, and continuation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import echat_eval as ev
from echat_eval.ports import Silent
from echat_eval.testing import ScriptedChatServer
from tests.support.scripted_judge import fitting

COUNTER = """
from echat_eval import Reply

class Counter:
    name, calls = "counter", 0
    def respond(self, request):
        type(self).calls += 1
        return Reply(text=f"Lovely, number {self.calls}.")
    def fingerprint(self):
        return "counter-1"
    def settings(self):
        return {}
"""


@pytest.fixture
def counter(tmp_path: Path) -> str:
    path = tmp_path / "counter.py"
    path.write_text(COUNTER)
    return f"{path}:Counter"


def evaluate(systems: Any, tones: Path, out: Path, **arguments: Any) -> ev.Run:
    given: dict[str, Any] = {"annotators": [], "scorers": "outcome", "progress": Silent(), **arguments}
    return ev.evaluate(systems, data=tones, tasks="emotion", out=out, **given)


def test_each_repeat_is_a_reply_and_the_table_has_one_row_per_sample(
    counter: str, tones: Path, tmp_path: Path
) -> None:
    systems = {"mine": {"use": counter, "repeats": 3}, "canned": {}}
    run = evaluate(systems, tones, tmp_path / "run")
    replies = run.folder.every_response()
    assert len({r.reply.text for r in replies.values() if r.system == "mine" and r.reply}) == 24
    assert len({r.key for r in replies.values()}) == len(replies) == 24 + 8
    rows = [json.loads(line) for line in (run.path / "responses.jsonl").read_text().splitlines()]
    assert sorted({row.get("repeat", 1) for row in rows if row["system"] == "mine"}) == [1, 2, 3]
    scores = run.scores().query("system == 'mine' and metric == 'seconds'")
    assert len(scores) == scores["sample_id"].nunique() == 8
    board = run.leaderboard().to_frame().query("task == 'all' and metric == 'failed'")
    assert dict(zip(board["system"], board["n"], strict=True)) == {"mine": 8, "canned": 8}
    compared = ev.compare(f"{run.path}:canned", f"{run.path}:mine", metrics="failed").to_frame()
    assert compared.query("part == 'pooled'")["n"].tolist() == [8]
    again = evaluate(systems, tones, tmp_path / "run")
    assert again.folder.every_response() == replies
    more = ev.evaluate(run.path, settings={"mine.repeats": 4}, progress=Silent())
    assert len(more.folder.every_response()) == 32 + 8
    assert {i: r for i, r in more.folder.every_response().items() if i in replies} == replies


def test_first_replies_keep_the_keys_of_a_run_without_repeats(
    counter: str, tones: Path, tmp_path: Path
) -> None:
    once = evaluate({"mine": counter}, tones, tmp_path / "once", cache=False)
    twice = evaluate({"mine": {"use": counter, "repeats": 2}}, tones, tmp_path / "twice", cache=False)
    assert {r.key for r in once.folder.responses().values()} == {
        r.key for i, r in twice.folder.every_response().items() if i in once.folder.responses()
    }


def test_variance_of_replies_stands_beside_that_of_verdicts(
    counter: str, tones: Path, tmp_path: Path
) -> None:
    with ScriptedChatServer(fitting) as server:
        judge = {"model": "m-2026-01-01", "url": server.url, "repeats": 2}
        systems = {"mine": {"use": counter, "repeats": 2}}
        expected = ev.estimate(
            systems, data=tones, tasks="emotion", annotators=[], judges=judge, out=tmp_path / "run"
        )
        run = evaluate(systems, tones, tmp_path / "run", judges=judge)
    (line,) = [note for note in run.leaderboard().notes if "judge_echat_r1: SD between replies" in note]
    assert line.startswith("- mine: 2 replies per sample, averaged; ")
    assert "between verdicts on one reply" in line
    assert expected.estimates[0].calls == len(server.prompts)


@pytest.mark.parametrize("repeats", [0, 101, "3", 1.5, True])
def test_a_wrong_number_is_refused(tones: Path, tmp_path: Path, repeats: Any) -> None:
    with pytest.raises(ev.UsageError, match=r"system 'canned': repeats=.*: expected a whole number 1 to 100"):
        evaluate({"canned": {"repeats": repeats}}, tones, tmp_path / "run")


def test_replies_from_a_file_cannot_be_repeated(tones: Path, tmp_path: Path) -> None:
    (tmp_path / "replies.jsonl").write_text('{"id": "a", "text": "b"}\n')
    spec = {"use": f"replay:{tmp_path / 'replies.jsonl'}", "repeats": 2}
    with pytest.raises(ev.UsageError, match=r"repeats=2: its replies are read from a file"):
        evaluate({"mine": spec}, tones, tmp_path / "run")
