"""Verdicts across runs: found again for the same server, asked again of any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from echat_eval.clients.chat import ChatClient
from echat_eval.errors import JudgeFailure
from echat_eval.judge import JudgeClient, Question, load_judge
from echat_eval.store.cache import Cache
from tests.support.scripted_judge import ScriptedJudge, serving, verdict


def question(n: int) -> Question:
    return Question(
        task="emotion",
        language="en",
        transcript=f"Sentence {n}.",
        cues={"emotion": "sad"},
        reply="I hear you.",
    )


def jury_of(
    judge: ScriptedJudge, cache: Cache | None, store: Path | None = None, model: str = "m"
) -> JudgeClient:
    made = JudgeClient(load_judge("echat-r1"), ChatClient(model=model, base_url=judge.url), store=store)
    made.cache = cache
    return made


def questions(judge: ScriptedJudge) -> int:
    """Return how many questions were asked; the one token that tells who is served is none."""
    return len(judge.prompts())


def ask(jury: JudgeClient, count: int = 5) -> list[Any]:
    try:
        return [jury.rule(question(n)) for n in range(count)]
    finally:
        jury.close()


def grading(prompt: str, request: dict[str, Any]) -> str:
    return verdict(sum(map(ord, prompt)) % 6, 2, 3)


def test_verdicts_serve_another_run_of_the_same_server(own_cache: Path, tmp_path: Path) -> None:
    with serving(ScriptedJudge(grading)) as judge, Cache(own_cache) as cache:
        first = ask(jury_of(judge, cache, tmp_path / "a.jsonl"))
        assert questions(judge) == 5
        second = ask(jury_of(judge, cache, tmp_path / "b.jsonl"))
        assert questions(judge) == 5
        assert second == first
        # The run keeps them as its own: it can be told again without the cache.
        assert len((tmp_path / "b.jsonl").read_text().splitlines()) == 5
        assert cache.tally()["verdict"]["m"]["hits"] == 5


@pytest.mark.parametrize("change", ["server", "model", "nameless"])
def test_another_server_is_asked_again(own_cache: Path, change: str) -> None:
    with serving(ScriptedJudge(grading)) as judge, Cache(own_cache) as cache:
        if change == "nameless":
            judge.server_name = None
        ask(jury_of(judge, cache))
        judge.server_name = "fp_other" if change == "server" else judge.server_name
        ask(jury_of(judge, cache, model="m2" if change == "model" else "m"))
        assert questions(judge) == 10


def test_what_is_no_verdict_is_never_kept(own_cache: Path) -> None:
    with serving(ScriptedJudge(lambda p, r: "no verdict")) as judge, Cache(own_cache) as cache:
        jury = jury_of(judge, cache)
        with pytest.raises(JudgeFailure):
            jury.rule(question(0))
        judge.answer = grading
        ask(jury, 1)
        assert questions(judge) == 2
        assert cache.tally()["verdict"]["m"] == {"hits": 0, "stored": 1}


def test_without_a_cache_everything_is_asked(own_cache: Path) -> None:
    with serving(ScriptedJudge(grading)) as judge:
        ask(jury_of(judge, None))
        ask(jury_of(judge, None))
        assert questions(judge) == 10
    assert list(own_cache.iterdir()) == []
