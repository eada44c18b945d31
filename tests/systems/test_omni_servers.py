"""Answers of vLLM-omni and SGLang-omni: words, voice and first-audio time, whatever the order of chunks."""

from __future__ import annotations

import io
import wave
from itertools import permutations
from typing import Any, Literal

import numpy as np
import pytest

from echat_eval.concurrency import event_loop
from echat_eval.io.audio import read_mono
from echat_eval.records import AudioRef, Request
from echat_eval.systems.openai_chat import OpenAIChat
from echat_eval.testing import ScriptedOmniServer, check_system

Form = Literal["vllm-omni", "sglang-omni"]
FORMS: tuple[Form, ...] = ("vllm-omni", "sglang-omni")
#: Lengths whose base64 ends with and without padding.
PIECES = [(np.sin(np.arange(n) / 9) * 9000).astype("<i2") for n in (801, 400, 1202)]


def wav(samples: Any, rate: int = 24_000) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return buffer.getvalue()


def reply_of(server: ScriptedOmniServer, request: Request, **settings: Any) -> tuple[Any, Any]:
    """Return the reply, and the samples of its voice as 16-bit numbers at its rate."""
    options = {"audio_out": True, "stream": True, "timeout": 5.0, **settings}
    system = OpenAIChat("omni", url=server.url, **options)
    try:
        reply = event_loop.call(system.respond, request)
        if not isinstance(reply.audio, AudioRef):
            return reply, None
        samples, rate = read_mono(reply.audio.path, rate=None)
        assert rate == 24_000
        return reply, np.rint(samples * 32768)
    finally:
        system.close()


MODALITIES: list[Literal["text", "audio"]] = ["text", "text", "audio", "audio", "audio"]
ORDERS = sorted(set(permutations(MODALITIES)))


@pytest.mark.parametrize("form", FORMS)
def test_words_and_voice_in_every_order(form: Form, requests: list[Request]) -> None:
    with ScriptedOmniServer(form, words=["Oh, ", "dear."], voice=[wav(p) for p in PIECES]) as server:
        for order in ORDERS:
            server.order = order
            reply, samples = reply_of(server, requests[0])
            assert reply.text == "Oh, dear.", order
            np.testing.assert_array_equal(samples, np.concatenate(PIECES))
            assert reply.first_audio_seconds is not None
            assert reply.usage["completion_tokens"] == 5


@pytest.mark.parametrize("form", FORMS)
def test_text_alone_and_voice_alone(form: Form, requests: list[Request]) -> None:
    with ScriptedOmniServer(form, words=["Oh."], order=["text"]) as server:
        reply, _ = reply_of(server, requests[0])
        assert (reply.text, reply.audio, reply.first_audio_seconds) == ("Oh.", None, None)
    with ScriptedOmniServer(form, voice=[wav(PIECES[0])], order=["audio"]) as server:
        reply, samples = reply_of(server, requests[0])
        assert reply.text is None
        np.testing.assert_array_equal(samples, PIECES[0])


@pytest.mark.parametrize("form", FORMS)
def test_the_first_audio_is_timed_and_words_are_not(form: Form, requests: list[Request]) -> None:
    with ScriptedOmniServer(
        form, words=["a", "b"], voice=[wav(PIECES[0])], order=["text", "text", "audio"], pause=0.03
    ) as server:
        reply, _ = reply_of(server, requests[0])
        assert server.first_audio_seconds is not None
        assert server.first_audio_seconds <= reply.first_audio_seconds
        assert reply.first_audio_seconds < server.first_audio_seconds + 0.25
        assert reply.first_audio_seconds >= 0.09


@pytest.mark.parametrize("form", FORMS)
def test_a_header_alone_is_no_audio(form: Form, requests: list[Request]) -> None:
    content = wav(PIECES[0])
    header = content[:40] + b"\xff\xff\xff\xff"  # of a stream, whose length is unknown
    with ScriptedOmniServer(
        form, voice=[header, content[44:]], order=["audio", "audio"], pause=0.06
    ) as server:
        reply, samples = reply_of(server, requests[0])
        assert reply.first_audio_seconds >= 0.11
        np.testing.assert_array_equal(samples, PIECES[0])


@pytest.mark.parametrize("form", FORMS)
def test_a_whole_answer(form: Form, requests: list[Request]) -> None:
    with ScriptedOmniServer(form, words=["Oh, ", "dear."], voice=[wav(p) for p in PIECES[:2]]) as server:
        reply, samples = reply_of(server, requests[0], stream=False)
        assert (reply.text, reply.first_audio_seconds) == ("Oh, dear.", None)
        np.testing.assert_array_equal(samples, np.concatenate(PIECES[:2]))


def test_the_speaker_stands_beside_the_voice(requests: list[Request]) -> None:
    with ScriptedOmniServer(words=["Oh."], order=["text"]) as server:
        reply_of(server, requests[0], speaker="chelsie", voice="Chelsie")
        reply_of(server, requests[0])
        reply_of(server, requests[0], speaker="chelsie", audio_out=False)
    assert server.requests[0]["speaker"] == "chelsie"
    assert server.requests[0]["audio"]["voice"] == "Chelsie"
    assert all("speaker" not in request for request in server.requests[1:])
    assert "speaker" not in OpenAIChat("omni", url=server.url).settings()
    assert OpenAIChat("omni", url=server.url, speaker="chelsie").settings()["speaker"] == "chelsie"


@pytest.mark.parametrize("form", FORMS)
def test_the_adapter_passes_its_check(form: Form) -> None:
    voice = [wav(p) for p in PIECES]
    with ScriptedOmniServer(
        form, words=["Oh."], voice=voice, order=["audio", "text", "audio", "audio"]
    ) as server:
        system = OpenAIChat("omni", url=server.url, audio_out=True, stream=True, timeout=20.0)
        findings = list(check_system(system, seconds=20))
    assert [finding for finding in findings if finding.outcome == "fail"] == []
