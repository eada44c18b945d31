"""Every reply of a live dialogue is judged as if the dialogue had ended there; the mean is the whole."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from echat_eval.clients.chat import ChatClient
from echat_eval.concurrency import event_loop
from echat_eval.errors import NotApplicable
from echat_eval.judge import JudgeClient, load_judge
from echat_eval.ports import Case
from echat_eval.records import Reply, Score, Turn
from echat_eval.scorers.judged import judged_scorers
from echat_eval.scorers.judged_turns import NO_DIALOGUE, JudgedTurns, scorers_of_turns
from echat_eval.testing import ScriptedChatServer, judge_verdict, shown_to_judge
from tests.support.cases import SOUND, case

TURNS = (
    Turn(role="user", text="I had my exam.", audio=SOUND, cues={"emotion": "fear"}),
    Turn(role="user", text="Then the letter came.", audio=SOUND),
)
REPLIES = (Reply(text="How was it?"), Reply(text="And?"))


def dialogue(last: str = "I'm sorry.", replies: tuple[Reply, ...] | None = REPLIES, **facts: Any) -> Case:
    one = case("a", last, **facts)
    sample = replace(one.sample, turns=TURNS, contrast_group=None)
    held = replies if one.response.state == "value" else None
    return replace(one, sample=sample, response=replace(one.response, turns=held))


def scored(found: Case, rubric: str = "echat-r2", repeats: int = 1) -> tuple[Score, list[dict[str, str]]]:
    """Return the score, and what the judge was shown; it grades a reply by its number of words."""

    def answer(request: Any) -> Any:
        return judge_verdict(*[min(5, len(shown_to_judge(request)["reply"].split()))] * 3)

    with ScriptedChatServer(answer) as server:
        client = JudgeClient(load_judge(rubric), ChatClient(model="m", base_url=server.url))
        scorer = JudgedTurns(client, repeats=repeats)
        requested = len(list(scorer.questions([found])))
        try:
            (score,) = event_loop.call(scorer.score, [found])
        finally:
            scorer.close()
        shown = [shown_to_judge(request) for request in server.requests if len(str(request)) > 500]
        assert requested == len(shown)
        return score, shown


def test_each_reply_is_judged_with_the_turns_before_it() -> None:
    score, shown = scored(dialogue("I am so very sorry."))
    assert [(s["transcript"], s["cues"], s["reply"]) for s in shown] == [
        ("I had my exam.", "emotion: fear", "How was it?"),
        ("Then the letter came.", "not given", "And?"),
        ("words", "emotion: sad", "I am so very sorry."),
    ]
    assert [s["history"].split("\n") for s in shown] == [
        ["none"],
        ["[1] user: I had my exam.", "[2] assistant: How was it?"],
        [
            "[1] user: I had my exam.",
            "[2] assistant: How was it?",
            "[3] user: Then the letter came.",
            "[4] assistant: And?",
        ],
    ]
    points = score.evidence["points_by_turn"]  # type: ignore[index]
    assert score.state == "value"
    assert score.value == pytest.approx(sum(points) / 3)
    assert points[2] > points[0] > points[1]


def test_the_first_rubric_shows_no_earlier_turns() -> None:
    _, shown = scored(dialogue(), "echat-r1")
    assert {"history" in s for s in shown} == {False}
    assert len(shown) == 3


def test_rows_without_a_dialogue_to_judge() -> None:
    plain, shown = scored(case("a", "I'm sorry.", group=None))
    assert (plain.state, plain.reason, shown) == ("not applicable", NO_DIALOGUE, [])
    failed, shown = scored(dialogue(state="failed", reason="turn 2 of 3: out of memory"))
    assert (failed.state, failed.value, failed.reason, shown) == (
        "failed",
        0,
        "turn 2 of 3: out of memory",
        [],
    )
    assert scored(dialogue(state="missing", reason="x"))[0].state == "missing"


def test_an_earlier_voice_without_words_is_no_failure() -> None:
    with pytest.raises(NotApplicable):
        scored(dialogue(replies=(Reply(audio=SOUND), REPLIES[1])))


def test_the_scorer_is_there_for_live_dialogues_only() -> None:
    judged = judged_scorers("m", "http://127.0.0.1:9/v1", "echat-r2", name="strict")[0]
    one = dialogue().sample
    assert scorers_of_turns([judged], [replace(one, turns=None)]) == []
    (scorer,) = scorers_of_turns([judged], [one])
    assert (scorer.name, scorer.metrics[0].name) == ("judged-turns:strict", "judge_strict_turns")
    assert scorer.judge_client is judged.judge_client
