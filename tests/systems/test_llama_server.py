"""Real servers on loopback: llama.cpp with an embedded model, used by the chat adapter and the oracles."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from echat_eval.concurrency import event_loop
from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.errors import NotApplicable, Unavailable, UsageError
from echat_eval.io.bundled_models import asset_file
from echat_eval.records import Request, Sample, Turn
from echat_eval.systems import build_system
from echat_eval.systems.gold_labels import CUE_PROMPTS, GoldLabels
from echat_eval.systems.llama_server import EMBEDDED, LlamaServer
from echat_eval.systems.openai_chat import OpenAIChat
from echat_eval.systems.transcript_only import TranscriptOnly
from echat_eval.task import load_task
from tests.support.present import present
from tests.support.scripted_run import evaluated

pytestmark = pytest.mark.assets


@pytest.fixture(scope="module")
def llama() -> Iterator[str]:
    asset_file(EMBEDDED)
    server = LlamaServer()
    yield server.url
    server.close()
    gc.collect()


@pytest.fixture
def sample(tones: Path) -> Sample:
    return load_task("emotion", data=tones).samples[0]


def test_the_chat_adapter_works_with_llama_cpp(llama: str, requests: list[Request]) -> None:
    system = OpenAIChat(EMBEDDED, url=llama, audio_in="none", max_tokens=8, seed=1)
    request = replace(
        requests[0],
        instruction="Say hello.",
        history=(Turn(role="user", text="Hi."), Turn(role="assistant", text="Hi!")),
    )
    first, again = event_loop.call(system.respond, request), event_loop.call(system.respond, request)
    assert first.text
    assert first.text == again.text
    assert first.usage["completion_tokens"] <= 8
    assert first.finish_reason in ("stop", "length")
    streamed = OpenAIChat(EMBEDDED, url=llama, audio_in="none", max_tokens=8, seed=1, stream=True)
    assert event_loop.call(streamed.respond, request).text.strip() == first.text.strip()
    for each in (system, streamed):
        each.close()


def test_audio_for_a_text_only_server_is_refused_with_500(llama: str, requests: list[Request]) -> None:
    system = OpenAIChat(EMBEDDED, url=llama)
    with pytest.raises(Unavailable, match="audio"):
        event_loop.call(system.respond, requests[0])
    system.close()


def test_the_fingerprint_depends_on_the_served_model(llama: str) -> None:
    system = OpenAIChat(EMBEDDED, url=llama)
    assert system.fingerprint() == OpenAIChat(EMBEDDED, url=llama).fingerprint()
    assert system.fingerprint() is not None
    assert OpenAIChat("another", url=llama).fingerprint() is None


def test_the_oracles_differ_only_in_the_cues(llama: str, sample: Sample) -> None:
    turn_texts: list[Any] = []
    for kind in (TranscriptOnly, GoldLabels):
        oracle = kind(EMBEDDED, url=llama, max_tokens=12)
        turn_texts.append(oracle.turn_text(sample))
        reply = event_loop.call(oracle.respond_to, sample)
        assert reply.text
        assert reply.text == event_loop.call(oracle.respond_to, sample).text
        assert dict(reply.perceived) == (dict(sample.cues) if kind is GoldLabels else {})
        oracle.close()
    assert turn_texts == [
        sample.transcript,
        CUE_PROMPTS["en"].format(cues="emotion happy") + "\n" + sample.transcript,
    ]
    assert TranscriptOnly("m", url=llama).fingerprint() != GoldLabels("m", url=llama).fingerprint()
    assert (TranscriptOnly.role, GoldLabels.role) == ("floor", "ceiling")


def test_a_reply_without_the_cue_cannot_depend_on_it(llama: str, tones: Path, tmp_path: Path) -> None:
    system = build_system(
        "transcript-only", {"model": EMBEDDED, "url": llama, "max_tokens": 12, "calls_at_once": 1}
    )
    run = evaluated(tmp_path / "run", tones, system, retry_policy=RetryPolicy(tries=1))
    replies = {i[2]: present(r.reply).text for i, r in run.responses().items()}
    manifest = run.manifest().systems["transcript-only"]
    assert all(replies[f"s{n}h"] == replies[f"s{n}s"] for n in range(4))
    assert len(set(replies.values())) > 1
    assert (manifest.role, manifest.oracle) == ("floor", True)


def test_oracles_use_history_and_refuse_what_they_do_not_support(llama: str, sample: Sample) -> None:
    oracle = TranscriptOnly(EMBEDDED, url=llama, max_tokens=4)
    turns = (Turn(role="user", text="Hello."), Turn(role="assistant", text="Yes?"))
    assert (
        event_loop.call(oracle.respond_to, replace(sample, history=turns)).usage["prompt_tokens"]
        > event_loop.call(oracle.respond_to, sample).usage["prompt_tokens"]
    )
    with pytest.raises(NotApplicable, match="an earlier turn has no text"):
        event_loop.call(oracle.respond_to, replace(sample, history=(Turn(role="user", audio=sample.audio),)))
    with pytest.raises(NotApplicable, match="no prompt in language 'fr'"):
        event_loop.call(oracle.respond_to, replace(sample, language="fr"))
    oracle.close()


def test_an_oracle_without_a_model_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="needs model"):
        build_system("gold-labels")
