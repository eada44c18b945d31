"""The match question put to a judge: both orders, ties, failures, and how often it is asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import permutations
from typing import Any

import pytest

from echat_eval.clients.chat import ChatClient
from echat_eval.concurrency import event_loop
from echat_eval.errors import UsageError
from echat_eval.judge import JudgeClient, load_judge, load_match
from echat_eval.ports import Case
from echat_eval.records import Score
from echat_eval.scorers.contrast import SAME_EXPECTED
from echat_eval.scorers.judge_settings import JudgeSettings, scorers_of_judge
from echat_eval.scorers.judged_match import JudgedMatch
from echat_eval.testing import shown_to_judge
from echat_eval.testing.scripted_judge import ScriptedChatClient
from tests.support.cases import case

LABELS = ("sad", "happy", "fear")


def scripted(
    answer: Callable[[dict[str, str]], int], repeats: int = 1
) -> tuple[JudgedMatch, ScriptedChatClient]:
    """Return the scorer over a judge that answers by what it is shown."""

    def text(prompt: str) -> str:
        return json.dumps({"reason": "scripted", "answers": answer(shown_to_judge(prompt))})

    client: Any = ScriptedChatClient(text)
    return JudgedMatch(JudgeClient(load_judge("echat-r1"), client), repeats=repeats), client


def group(replies: Sequence[str | None], **sample: Any) -> list[Case]:
    found = []
    for number, reply in enumerate(replies):
        one = case(f"i{number}", reply, state="value" if reply is not None else "failed", reason="it broke")
        found.append(replace(one, sample=replace(one.sample, cues={"emotion": LABELS[number]}, **sample)))
    return found


def scored(scorer: JudgedMatch, cases: Sequence[Case]) -> dict[str, list[Score]]:
    rows: list[Score] = list(event_loop.run(scorer.score(cases)))
    return {m.name: [s for s in rows if s.metric == m.name] for m in scorer.metrics}


def values(
    scorer: JudgedMatch, cases: Sequence[Case], metric: str = "judge_echat_r1_match_rate"
) -> list[Any]:
    return [s.value for s in scored(scorer, cases)[metric]]


def by_name(shown: dict[str, str]) -> int:
    """Answer the voice whose label the reply names."""
    named = [
        n for n, line in enumerate(shown["cues"].splitlines(), 1) if line.split(": ")[-1] in shown["reply"]
    ]
    return named[0] if len(named) == 1 else 0


def at_random(shown: dict[str, str]) -> int:
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).digest()[0] % 3


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        (("so sad", "so happy"), [100.0, 100.0]),
        (("so happy", "so sad"), [0.0, 0.0]),
        (("so sad", "hello"), [75.0, 75.0]),
        (("so sad", "so sad"), [50.0, 50.0]),
        (("so sad", None), [50.0, 0.0]),
        ((None, None), [0.0, 0.0]),
    ],
)
def test_a_pair(replies: tuple[str | None, str | None], expected: list[float]) -> None:
    scorer, _ = scripted(by_name)
    assert values(scorer, group(replies)) == expected


@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize("size", [2, 3])
def test_one_reply_is_exactly_50_and_0_with_a_judge_that_answers_at_random(size: int, repeats: int) -> None:
    for number in range(3):
        scorer, _ = scripted(at_random, repeats)
        replies = [f"reply {number}"] * size
        assert values(scorer, group(replies)) == [50.0] * size
        same = group(replies, expect="same")
        assert values(scorer, same, "judge_echat_r1_over_reaction") == [0.0] * size


def _always(choice: int, shown: object) -> int:
    return choice


def test_a_judge_that_prefers_the_first_voice_gives_50() -> None:
    for first in (1, 2):
        scorer, _ = scripted(partial(_always, first))
        assert values(scorer, group(("so sad", "so happy"))) == [50.0, 50.0]


def test_groups_that_expect_the_same_have_over_reaction_and_no_match_rate() -> None:
    scorer, _ = scripted(by_name)
    found = scored(scorer, group(("so sad", "so happy"), expect="same"))
    assert {(s.state, s.reason) for s in found["judge_echat_r1_match_rate"]} == {
        ("not applicable", SAME_EXPECTED)
    }
    assert [s.value for s in found["judge_echat_r1_over_reaction"]] == [100.0, 100.0]
    failed = values(scorer, group(("so sad", None), expect="same"), "judge_echat_r1_over_reaction")
    assert failed == [100.0, 100.0]


def test_every_question_of_the_scores_is_in_the_estimate_and_is_asked_once() -> None:
    scorer, client = scripted(by_name)
    cases = group(("so sad", "so happy", "afraid"))
    expected = {scorer.judge_client.prompt_of(q, 0)[0].text for q in scorer.questions(cases)}
    scored(scorer, cases)
    sent = [prompt for prompt in client.prompts if prompt != "Say yes."]
    assert (len(sent), set(sent)) == (len(list(permutations(range(3), 2))) * 2, expected)
    shown = shown_to_judge(sent[0])
    assert (shown["reply"], shown["cues"]) == ("so sad", "voice 1: emotion: sad\nvoice 2: emotion: happy")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_prompts_have_all_parts_and_the_verdict_three_answers(language: str) -> None:
    rubric = load_match("echat-r1")
    assert rubric.schema(with_voice=False)["properties"]["answers"]["enum"] == [0, 1, 2]
    scorer, _ = scripted(by_name)
    cases = group(("难过", "开心"), language=language)
    prompt = scorer.judge_client.prompt_of(next(iter(scorer.questions(cases))), 0)[0].text
    assert "{{" not in prompt
    assert shown_to_judge(prompt)["transcript"] == "words"


def test_the_question_is_asked_on_request_only() -> None:
    def names(**settings: Any) -> list[str]:
        made = scorers_of_judge(
            JudgeSettings(model="m-2026-01-01", url="http://127.0.0.1:9/v1", **settings),
            note=lambda text: None,
        )
        made[0].close()
        assert len({id(scorer.judge_client) for scorer in made}) == 1
        return [scorer.name for scorer in made]

    assert names() == ["judged", "judged-contrast"]
    assert names(match=True) == ["judged", "judged-contrast", "judged-match"]


def test_a_verdict_on_grades_is_no_answer() -> None:
    client: Any = ScriptedChatClient(
        lambda prompt: '{"reason": "x", "content": 1, "cue_awareness": 1, "empathy": 1}'
    )
    scorer = JudgedMatch(JudgeClient(load_judge("echat-r1"), client))
    with pytest.raises(Exception, match="not of the form"):
        values(scorer, group(("a", "b")))


def test_a_rubric_without_the_question_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    judge = load_judge("echat-r1")
    monkeypatch.setattr("echat_eval.judge.rubric.load_judge", lambda name: judge)
    monkeypatch.setattr("echat_eval.judge.rubric.data_folder", lambda name: tmp_path)
    with pytest.raises(UsageError, match="has no match question"):
        load_match("echat-r1")


def test_the_client_pays_for_match_questions() -> None:
    client = ChatClient(model="m", base_url="http://127.0.0.1:9/v1")
    scorer = JudgedMatch(JudgeClient(load_judge("echat-r1"), client))
    assert scorer.billed_client is client
    (question, *_) = scorer.questions(group(("a", "b")))
    size = scorer.judge_client.size_of(scorer.judge_client.prompt_of(question, 0)[0], question)
    assert '"answers"' in str(size)
    scorer.close()
