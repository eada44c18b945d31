"""The chat endpoint with a scripted model: clients, misuse, limits, and the end of the server."""

from __future__ import annotations

import base64
import io
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import soundfile

from echat_eval.concurrency import event_loop
from echat_eval.concurrency.retry import RetryPolicy, call_with_retries, timed
from echat_eval.errors import NotApplicable, ServerRefusal, SystemFailure, Unavailable
from echat_eval.records import AudioRef, Request, Turn
from echat_eval.serve.sound import pcm16
from echat_eval.systems.openai_chat import OpenAIChat
from tests.support.running_server import RunningServer, served
from tests.support.scripted_answerer import RATE, ScriptedAnswerer, scripted_voice


@pytest.fixture(scope="module")
def model() -> ScriptedAnswerer:
    return ScriptedAnswerer()


@pytest.fixture(scope="module")
def server(model: ScriptedAnswerer) -> Iterator[RunningServer]:
    with served(model, body_bytes=200_000, audio_seconds=20.0) as running:
        yield running


@pytest.fixture(autouse=True)
def calm(model: ScriptedAnswerer) -> Iterator[None]:
    yield
    model.fault = model.refusal = None
    model.hold.set()


def body(request: Request, **more: Any) -> dict[str, Any]:
    data = base64.b64encode(request.audio.path.read_bytes()).decode()
    part = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    return {"model": "tiny", "messages": [{"role": "user", "content": [part]}], **more}


def spoken(form: str) -> dict[str, Any]:
    return {"modalities": ["text", "audio"], "audio": {"voice": "ann", "format": form}}


def post(server: RunningServer, content: Any, **headers: str) -> httpx.Response:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    sent = {"content-type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
    return httpx.post(f"{server.url}/chat/completions", content=raw, headers=sent, timeout=20)


def reply_of(server: RunningServer, request: Request, **settings: Any) -> Any:
    system = OpenAIChat("tiny", url=server.url, **{"timeout": 20.0, "voice": "ann", **settings})
    try:
        return event_loop.call(system.respond, request)
    finally:
        system.close()


@pytest.mark.parametrize("stream", [False, True])
def test_the_harness_gets_words_and_voice(
    server: RunningServer, model: ScriptedAnswerer, requests: list[Request], stream: bool
) -> None:
    turns = (Turn(role="user", audio=requests[1].audio), Turn(role="assistant", text="Go on."))
    request = Request(id="r", audio=requests[0].audio, language="en", history=turns)
    reply = reply_of(server, request, audio_out=True, stream=stream, seed=7, max_tokens=50)
    assert (reply.text, reply.finish_reason) == ("I hear you.", "stop")
    assert (reply.think, reply.usage["completion_audio_tokens"]) == ("a thought", 15)
    assert reply.audio.seconds == 0.5
    assert stream == (reply.first_audio_seconds is not None)
    question = model.questions[-1]
    assert question.request.audio.sha256 == requests[0].audio.sha256
    assert [turn.text for turn in question.request.history] == [None, "Go on."]
    assert question.request.history[0].audio is not None
    assert (question.seed, question.max_tokens, question.greedy, question.streamed) == (7, 50, True, stream)


@pytest.mark.parametrize("form", ["wav", "flac", "mp3", "opus", "pcm16"])
def test_the_official_client_gets_every_format(
    server: RunningServer, requests: list[Request], form: str
) -> None:
    with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
        whole: Any = client.chat.completions.create(**body(requests[0], **spoken(form)))
        listed: Any = client.models.retrieve("tiny")
    (choice,) = whole.choices
    assert choice.message.audio.transcript == "I hear you."
    assert (choice.message.perceived, choice.finish_reason) == ({"emotion": "happy"}, "stop")
    content = io.BytesIO(base64.b64decode(choice.message.audio.data))
    raw = {"channels": 1, "samplerate": 24_000, "format": "RAW", "subtype": "PCM_16"}
    samples, rate = soundfile.read(content, **(raw if form == "pcm16" else {}))
    assert rate == {"pcm16": 24_000, "opus": 48_000}.get(form, RATE)
    assert len(samples) / rate == pytest.approx(0.5, abs=0.1)
    assert np.sqrt(np.mean(samples**2)) == pytest.approx(0.4 / np.sqrt(2), abs=0.05)
    assert (listed.id, listed.fingerprint) == ("tiny", "f" * 64)


@pytest.mark.parametrize("form", ["wav", "pcm16"])
def test_the_official_client_gets_a_stream(server: RunningServer, requests: list[Request], form: str) -> None:
    words, voice, last = "", b"", None
    with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
        options = {"stream": True, "stream_options": {"include_usage": True}}
        for chunk in client.chat.completions.create(**body(requests[0], **spoken(form), **options)):
            last = chunk
            for choice in chunk.choices:
                part = choice.delta.to_dict().get("audio") or {}
                words += part.get("transcript", "")
                voice += base64.b64decode(part.get("data", ""))
        plain: Any = client.chat.completions.create(**body(requests[0], stream=True))
        text = "".join(choice.delta.content or "" for chunk in plain for choice in chunk.choices)
    assert words == text == "I hear you."
    assert last is not None
    assert last.usage.completion_tokens == 20
    if form == "wav":
        assert voice[44:] == pcm16(scripted_voice().samples)
    else:
        assert len(voice) == 2 * 12_000


MISUSE: list[tuple[dict[str, Any], int, str]] = [
    ({"model": "gpt-9"}, 404, "the model 'gpt-9' does not exist here; this server has 'tiny'"),
    ({"messages": []}, 400, "'messages' is []; expected a list of messages"),
    ({"messages": [{"role": "user", "content": "Hi"}]}, 400, "the last message must be the user's, with one"),
    ({"messages": [{"role": "owner", "content": "Hi"}]}, 400, "a message needs a role"),
    ({"messages": [3]}, 400, "a message needs a role"),
    ({"temperature": 0.7}, 400, "'temperature' is 0.7; expected 0 for the most likely reply"),
    ({"max_tokens": 501}, 400, "'max_tokens' is 501; expected a whole number from 1 to 500"),
    ({"tools": [{"type": "function"}]}, 400, "this model has no such ability"),
    ({"strem": True}, 400, "unknown parameter 'strem'. Did you mean 'stream'?"),
    (spoken("wav") | {"audio": {"voice": "alloy"}}, 400, "'voice' is 'alloy'; this server has 'ann'"),
    (spoken("aac"), 400, "'audio.format' is 'aac'; expected wav, flac"),
    (spoken("mp3") | {"stream": True}, 400, "in a stream expected wav, pcm16"),
]


@pytest.mark.parametrize(("change", "status", "words"), MISUSE)
def test_misuse_is_one_clear_line(
    server: RunningServer, requests: list[Request], change: dict[str, Any], status: int, words: str
) -> None:
    answer = post(server, body(requests[0]) | change)
    error = answer.json()["error"]
    assert (answer.status_code, words in error["message"]) == (status, True), error
    assert "\n" not in error["message"]
    assert set(error) == {"message", "type", "param", "code"}


BAD_AUDIO = [
    ("not base64!", "the audio is not base64"),
    ("", "the audio is empty"),
    (base64.b64encode(b"hello").decode(), "unusable audio: not audio that libsndfile can read"),
]


@pytest.mark.parametrize(("data", "words"), BAD_AUDIO)
@pytest.mark.parametrize("kind", ["input_audio", "audio_url"])
def test_bad_audio(server: RunningServer, kind: str, data: str, words: str) -> None:
    url = f"data:audio/wav;base64,{data}"
    held = {"data": data, "format": "wav"} if kind == "input_audio" else {"url": url}
    message = {"role": "user", "content": [{"type": kind, kind: held}]}
    answer = post(server, {"model": "tiny", "messages": [message]})
    assert (answer.status_code, words in answer.text) == (400, True), answer.text
    assert "/tmp" not in answer.text


def test_other_bad_requests(server: RunningServer, requests: list[Request]) -> None:
    part = {"type": "audio_url", "audio_url": {"url": "http://10.0.0.1/a.wav"}}
    far = {"model": "tiny", "messages": [{"role": "user", "content": [part]}]}
    sent: list[tuple[Any, dict[str, str], int, str]] = [
        (b'{"model": ', {}, 400, "the body is not strict JSON"),
        (b"[" * 100_000, {}, 400, "nested too deeply"),
        (b"[]", {}, 400, "the body is a list; expected an object"),
        (b"{}", {"content_type": "text/plain"}, 415, "expected application/json"),
        (b"{}", {"content_encoding": "gzip"}, 415, "send the body as it is"),
        (b'{"n": ' + b"9" * 5000 + b"}", {}, 400, "a whole number has too many digits"),
        (b" " * 300_000, {}, 413, "more than 200,000 bytes"),
        (b" " * 900_000, {}, 413, "more than 200,000 bytes"),
        (body(requests[0]), {"origin": "https://evil.example"}, 403, "web pages of other sites"),
        (body(requests[0]), {"host": "evil.example"}, 403, "names another host"),
        (far, {}, 400, "fetches no audio from 10.0.0.1: send a data: URL"),
    ]
    for content, headers, status, words in sent:
        answer = post(server, content, **headers)
        assert (answer.status_code, words in answer.json()["error"]["message"]) == (status, True), answer.text
    for path, status in (("/v1/nothing", 404), ("/v1/chat/completions", 405), ("/v1/models/x", 404)):
        answer = httpx.get(server.root + path)
        assert (answer.status_code, "error" in answer.json()) == (status, True)
    file = requests[0].audio.path.with_name("long.mp3")
    soundfile.write(file, np.zeros(21 * 16_000, np.float32), 16_000, format="MP3")
    long = AudioRef(path=file, sha256="0" * 64, seconds=21.0)
    with pytest.raises(SystemFailure, match="takes at most 20 s"):
        reply_of(server, Request(id="long", audio=long, language="en"))


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (NotApplicable("mode 's2s' takes no instruction"), 400, "takes no instruction"),
        (SystemFailure("a prompt of 900 positions and a reply of 500 do not fit 1000"), 400, "do not fit"),
        (RuntimeError("a secret path"), 500, "an internal error"),
    ],
)
def test_a_refusal_of_the_model_is_an_error(
    server: RunningServer,
    model: ScriptedAnswerer,
    requests: list[Request],
    error: Exception,
    status: int,
    words: str,
) -> None:
    model.refusal = error
    answer = post(server, body(requests[0]))
    assert (answer.status_code, words in answer.text, "secret" in answer.text) == (status, True, False)


def test_a_fault_in_the_middle_of_a_reply(
    server: RunningServer, model: ScriptedAnswerer, requests: list[Request]
) -> None:
    model.fault = SystemFailure("the reply fell apart")
    assert post(server, body(requests[0])).status_code == 500
    for stream in (False, True):
        with pytest.raises(Unavailable, match="the reply fell apart"):
            reply_of(server, requests[0], stream=stream)
    with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
        answer: Any = client.chat.completions.create(**body(requests[0], stream=True))
        with pytest.raises(openai.APIError, match="the reply fell apart"):
            list(answer)


def test_a_full_queue_answers_429_and_a_retry_succeeds(
    server: RunningServer, model: ScriptedAnswerer, requests: list[Request]
) -> None:
    model.hold.clear()
    with ThreadPoolExecutor(5) as threads:
        taken = [threads.submit(post, server, body(requests[0])) for _ in range(4)]
        server.until(lambda: len(model.running) == 2 and len(model.waiting) == 2)
        answer = post(server, body(requests[0]))
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        assert answer.json()["error"]["code"] == "rate_limit_exceeded"
        threading.Timer(0.5, model.hold.set).start()
        system = OpenAIChat("tiny", url=server.url, timeout=20.0)

        async def ask() -> Any:
            return await call_with_retries(
                lambda: timed(partial(system.respond, requests[0]), threads=threads),
                blame="system",
                retry_policy=RetryPolicy(),
            )

        result = event_loop.run(ask())
        system.close()
        assert (result.state, result.tries) == ("value", 2)
        assert [future.result().status_code for future in taken] == [200] * 4


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_vanishes_frees_its_slot(
    server: RunningServer, model: ScriptedAnswerer, requests: list[Request], stream: bool
) -> None:
    model.hold.clear()
    content = json.dumps(body(requests[0], stream=stream)).encode()
    with socket.create_connection(server.server.address) as connection:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n"
        connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + content)
        server.until(lambda: len(model.running) == 1)
        received = b""
        while stream and b"I hear" not in received:
            received += connection.recv(65_536)
    server.until(lambda: not model.running and server.server.service.active == 0)


def test_a_key_is_asked_for(requests: list[Request], monkeypatch: pytest.MonkeyPatch) -> None:
    with served(ScriptedAnswerer(), key="sk-right-key") as server:
        for key in ("", "Bearer sk-wrong", "Basic sk-right-key", "Bearer"):
            answer = post(server, body(requests[0]), authorization=key)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        assert httpx.get(f"{server.url}/models").status_code == 401
        assert httpx.get(f"{server.root}/health").json()["ready"] is True
        with pytest.raises(ServerRefusal, match="HTTP 401"):
            reply_of(server, requests[0])
        monkeypatch.setenv("ECHAT_EVAL_API_KEY", "sk-right-key")
        assert reply_of(server, requests[0]).text == "I hear you."


def test_slow_replies_and_too_many_connections_are_refused(requests: list[Request]) -> None:
    model = ScriptedAnswerer()
    model.hold.clear()
    with served(model, reply_seconds=0.5, connections=1) as server, ThreadPoolExecutor(1) as threads:
        first = threads.submit(post, server, body(requests[0]))
        server.until(lambda: len(model.running) == 1)
        assert post(server, body(requests[0])).status_code == 503
        late = first.result()
        assert (late.status_code, late.json()["error"]["code"]) == (504, "deadline_exceeded")
        with pytest.raises(Unavailable, match="no whole reply"):
            reply_of(server, requests[0], stream=True)


def test_a_server_that_ends_finishes_what_is_in_progress(requests: list[Request]) -> None:
    model = ScriptedAnswerer()
    with served(model) as server, ThreadPoolExecutor(2) as threads:
        model.hold.clear()
        pending = [threads.submit(reply_of, server, requests[0], stream=stream) for stream in (False, True)]
        server.until(lambda: len(model.running) == 2)
        server.server.end()
        server.until(lambda: server.server.service.draining)
        answer = post(server, body(requests[0]))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
        assert httpx.get(f"{server.root}/health/ready").status_code == 503
        live = httpx.get(f"{server.root}/health/live")
        assert (live.status_code, httpx.get(f"{server.root}/health").json()["running"]) == (200, 2)
        model.hold.set()
        assert [future.result().text for future in pending] == ["I hear you."] * 2
        server.thread.join(10)
        assert (server.thread.is_alive(), server.server.is_cut) == (False, False)


def test_a_reply_cut_by_its_time_limit_at_the_end_is_not_finished(requests: list[Request]) -> None:
    model = ScriptedAnswerer()
    with served(model, reply_seconds=0.5) as server, ThreadPoolExecutor(1) as threads:
        model.hold.clear()
        pending = threads.submit(post, server, body(requests[0], stream=True))
        server.until(lambda: len(model.running) == 1)
        server.server.end()
        assert "deadline_exceeded" in pending.result().text
        server.thread.join(10)
        assert server.server.is_cut


def test_a_second_signal_gives_replies_up(requests: list[Request], caplog: pytest.LogCaptureFixture) -> None:
    model = ScriptedAnswerer()
    with served(model) as server, ThreadPoolExecutor(3) as threads:
        model.hold.clear()
        sent = [threads.submit(post, server, body(requests[0], stream=stream)) for stream in (True, False)]
        pending = threads.submit(reply_of, server, requests[0], stream=True)
        server.until(lambda: len(model.running) == 2 and len(model.waiting) == 1)
        server.server.end()
        server.server.end()
        with pytest.raises(Unavailable):
            pending.result()
        streamed, whole = (future.result() for future in sent)
        last = json.loads(streamed.text.split("data: ")[-1])
        assert last["error"] == whole.json()["error"]
        assert (whole.status_code, "ended before the reply was whole" in whole.text) == (503, True)
        server.thread.join(10)
        assert (server.server.is_cut, model.running) == (True, [])
    assert not [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
