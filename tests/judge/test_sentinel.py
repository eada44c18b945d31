"""Anchors are graded between the questions of a run, never from a store, and stored with their place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from echat_eval.checks.scripted_judge import scripted_client
from echat_eval.errors import BadData, Unavailable
from echat_eval.judge import JudgeClient, Question, load_judge
from echat_eval.judge.sentinel import EVERY, Sentinel
from echat_eval.store.anchors import present_anchors, read_anchors
from echat_eval.testing import ScriptedChatClient

JUDGE = load_judge("echat-r1")


def question(number: int) -> Question:
    return Question(
        task="emotion",
        language="en",
        transcript=f"Letter {number}.",
        cues={"emotion": "sad"},
        reply="I am sorry.",
        voice_emotion=None,
    )


def watched(path: Path, client: Any = None, store: Path | None = None) -> JudgeClient:
    client = client or scripted_client(lambda shown: (3, 4, 3))
    judge_client = JudgeClient(JUDGE, client, store=store)
    judge_client.sentinel = Sentinel(JUDGE, "judge_echat_r1", path)
    return judge_client


def test_every_tenth_question_is_followed_by_an_anchor(tmp_path: Path) -> None:
    path = tmp_path / "anchors.jsonl"
    client = scripted_client(lambda shown: (3, 4, 3))
    judge_client = watched(path, client)
    for number in range(3 * EVERY + 5):
        judge_client.rule(question(number))
    rows = read_anchors(path)
    assert [row.after for row in rows] == [EVERY, 2 * EVERY, 3 * EVERY]
    assert len(client.prompts) == 3 * EVERY + 5 + 3
    assert len({row.anchor for row in rows}) == 3
    assert {row.judge for row in rows} == {"scripted"}
    assert all(65 < row.points < 75 for row in rows)


def test_runs_share_the_order_and_a_later_command_goes_on(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.jsonl" for name in "ab"]
    first, second = (watched(path) for path in paths)
    for number in range(4 * EVERY):
        first.rule(question(number))
    for number in range(2 * EVERY):
        second.rule(question(number))
    third = watched(paths[1])
    for number in range(2 * EVERY, 4 * EVERY):
        third.rule(question(number))
    names = [[row.anchor for row in read_anchors(path)] for path in paths]
    assert names[0] == names[1]
    assert [row.after for row in read_anchors(paths[1])] == [10, 20, 30, 40]


def test_anchors_come_from_no_store_and_stored_verdicts_ask_none(tmp_path: Path) -> None:
    path, store = tmp_path / "anchors.jsonl", tmp_path / "verdicts.jsonl"
    judge_client = watched(path, store=store)
    for number in range(EVERY):
        judge_client.rule(question(number))
    judge_client.close()
    assert len(store.read_text().splitlines()) == EVERY
    again = watched(path, store=store)
    for number in range(EVERY):
        again.rule(question(number))
    assert len(read_anchors(path)) == 1


def test_an_anchor_without_a_verdict_is_left_out(tmp_path: Path) -> None:
    answer = scripted_client(lambda shown: (3, 4, 3)).answer

    def only_letters(prompt: str) -> str:
        if "Letter" not in prompt:
            raise Unavailable("503")
        return answer(prompt)

    path = tmp_path / "anchors.jsonl"
    judge_client = watched(path, ScriptedChatClient(only_letters))
    for number in range(2 * EVERY):
        assert judge_client.rule(question(number)).verdict.grades["content"] == 3
    assert read_anchors(path) == []


def test_only_the_present_judges_points_count_and_a_damaged_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "anchors.jsonl"
    for model in ("old", "new"):
        client = scripted_client(lambda shown: (3, 4, 3))
        client.model = model
        judge_client = watched(path, client)
        for number in range(EVERY):
            judge_client.rule(question(number))
    assert [row.judge for row in read_anchors(path)] == ["old", "new"]
    assert [row.judge for row in present_anchors(read_anchors(path))] == ["new"]
    path.write_text('{"metric": "m"}\n')
    with pytest.raises(BadData, match=r"anchors\.jsonl:1: "):
        read_anchors(path)
