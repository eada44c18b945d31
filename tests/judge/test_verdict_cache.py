"""Cache of verdicts across runs: reused for the same server, requested again from any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from echat_eval.clients.chat import ChatClient
from echat_eval.errors import JudgeFailure
from echat_eval.judge import JudgeClient, Question, load_judge
from echat_eval.store.cache import Cache
from echat_eval.store.manifest import CacheCounts
from echat_eval.testing import ScriptedChatServer, judge_verdict, prompt_of


def question(n: int) -> Question:
    return Question(
        task="emotion",
        language="en",
        transcript=f"Sentence {n}.",
        cues={"emotion": "sad"},
        reply="I hear you.",
    )


def client_of(
    judge: ScriptedChatServer, cache: Cache | None, store: Path | None = None, model: str = "m"
) -> JudgeClient:
    return JudgeClient(
        load_judge("echat-r1"), ChatClient(model=model, base_url=judge.url), store=store, cache=cache
    )


def question_count(judge: ScriptedChatServer) -> int:
    """Return the number of questions sent, without requests for the server's identity."""
    return len(judge.prompts)


def ask(judge_client: JudgeClient, count: int = 5) -> list[Any]:
    try:
        return [judge_client.rule(question(n)) for n in range(count)]
    finally:
        judge_client.close()


def grading(request: dict[str, Any]) -> str:
    return judge_verdict(sum(map(ord, prompt_of(request))) % 6, 2, 3)


def test_another_run_reuses_verdicts_of_the_same_server(own_cache: Path, tmp_path: Path) -> None:
    with ScriptedChatServer(grading) as judge, Cache(own_cache) as cache:
        first = ask(client_of(judge, cache, tmp_path / "a.jsonl"))
        assert question_count(judge) == 5
        second = ask(client_of(judge, cache, tmp_path / "b.jsonl"))
        assert question_count(judge) == 5
        assert second == first
        # The run stores them too, so that it does not depend on the cache.
        assert len((tmp_path / "b.jsonl").read_text().splitlines()) == 5
        assert cache.tally()["verdict"]["m"].hits == 5


@pytest.mark.parametrize("change", ["server", "model", "nameless"])
def test_verdicts_of_another_server_are_not_reused(own_cache: Path, change: str) -> None:
    with ScriptedChatServer(grading) as judge, Cache(own_cache) as cache:
        if change == "nameless":
            judge.fingerprint = None
        ask(client_of(judge, cache))
        judge.fingerprint = "fp_other" if change == "server" else judge.fingerprint
        ask(client_of(judge, cache, model="m2" if change == "model" else "m"))
        assert question_count(judge) == 10


def test_invalid_verdict_is_not_cached(own_cache: Path) -> None:
    with ScriptedChatServer(lambda request: "no verdict") as judge, Cache(own_cache) as cache:
        judge_client = client_of(judge, cache)
        with pytest.raises(JudgeFailure):
            judge_client.rule(question(0))
        judge.answer = grading
        ask(judge_client, 1)
        assert question_count(judge) == 2
        assert cache.tally()["verdict"]["m"] == CacheCounts(hits=0, stored=1)


def test_without_a_cache_all_questions_are_sent(own_cache: Path) -> None:
    with ScriptedChatServer(grading) as judge:
        ask(client_of(judge, None))
        ask(client_of(judge, None))
        assert question_count(judge) == 10
    assert list(own_cache.iterdir()) == []
