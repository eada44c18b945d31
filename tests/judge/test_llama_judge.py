"""Judge protocol, schema and storage against a real server with a small model; its scores are meaningless."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from echat_eval.errors import Unavailable, UsageError
from echat_eval.judge import Question
from echat_eval.scorers.judged import judged_scorers

pytestmark = [pytest.mark.assets, pytest.mark.slow]

QUESTION = Question(
    task="emotion", language="en", transcript="The letter came.", cues={"emotion": "sad"}, reply="I am sorry."
)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    import xllamacpp

    from echat_eval.io.bundled_models import asset_file

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = xllamacpp.CommonParams()
    settings.model.path = str(asset_file("smollm2-135m-instruct"))
    settings.n_ctx = 4096
    settings.n_parallel = 1
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    settings.warmup = False
    settings.hostnames = ["127.0.0.1"]
    settings.port = port
    running = xllamacpp.Server(settings)
    yield f"http://127.0.0.1:{port}/v1"
    del running


def test_server_applies_the_schema_and_each_question_is_sent_once(server: str, tmp_path: Path) -> None:
    store = tmp_path / "verdicts.jsonl"
    scorer = judged_scorers("smollm2", server, store=store)[0]
    scorer.judge_client.client.timeout = 280  # a busy machine reads the prompt at a few tokens a second
    ruling = scorer.judge_client.rule(QUESTION)
    assert set(ruling.verdict.grades) == {"content", "cue_awareness", "empathy"}
    assert all(0 <= grade <= 5 for grade in ruling.verdict.grades.values())
    assert ruling.verdict.voice is None
    assert ruling.tokens[0] > 500  # the prompt was read whole
    assert scorer.judge_client.rule(QUESTION) is ruling
    assert len(store.read_text().splitlines()) == 1
    scorer.close()


def test_unknown_address_is_an_error_and_never_a_score(server: str) -> None:
    scorer = judged_scorers("smollm2", server.removesuffix("/v1") + "/nowhere/v1")[0]
    with pytest.raises((Unavailable, UsageError)):
        scorer.judge_client.rule(QUESTION)
    scorer.close()
