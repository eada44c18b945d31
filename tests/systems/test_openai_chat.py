"""OpenAI's chat protocol with audio: scripted servers with its forms and faults; see also test_llama_server."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from echat_eval.concurrency import event_loop
from echat_eval.errors import NotApplicable, ServerRefusal, SystemFailure, Unavailable, UsageError
from echat_eval.ports import role_of
from echat_eval.records import Request, Turn, Waveform
from echat_eval.systems import build_system
from echat_eval.systems.openai_chat import OpenAIChat

Serve = Callable[[Callable[[Any], None]], Any]


def completion(*messages: dict[str, Any], **more: Any) -> str:
    choices = [{"index": n, "message": m, "finish_reason": "stop"} for n, m in enumerate(messages)]
    return json.dumps({"choices": choices, "usage": {"prompt_tokens": 7, "completion_tokens": 2}, **more})


def reply_of(server: Any, request: Request, **settings: Any) -> Any:
    system = OpenAIChat("omni", url=f"{server.url}/v1", **{"timeout": 5.0, **settings})
    try:
        return event_loop.call(system.respond, request)
    finally:
        system.close()


def test_audio_in_text_and_audio_out(serve: Serve, requests: list[Request]) -> None:
    voice = base64.b64encode(requests[1].audio.path.read_bytes()).decode()
    said = {"content": None, "audio": {"data": voice, "transcript": "There, there."}}
    server = serve(lambda h: h.reply(completion(said), "application/json"))
    reply = reply_of(
        server, requests[0], audio_out=True, voice="sage", system_prompt="Be kind.", max_tokens=50
    )
    assert (reply.text, reply.finish_reason, reply.usage["completion_tokens"]) == ("There, there.", "stop", 2)
    assert reply.audio.seconds == requests[1].audio.seconds
    method, path, _, body = server.received[-1]
    sent = json.loads(body)
    assert (method, path) == ("POST", "/v1/chat/completions")
    assert sent["modalities"] == ["text", "audio"]
    assert sent["audio"] == {"voice": "sage", "format": "wav"}
    assert (sent["temperature"], sent["max_tokens"]) == (0.0, 50)
    assert sent["messages"][0] == {"role": "system", "content": "Be kind."}
    part = sent["messages"][1]["content"][0]
    assert part["type"] == "input_audio"
    assert base64.b64decode(part["input_audio"]["data"]) == requests[0].audio.path.read_bytes()


def test_two_choices_form_one_answer(serve: Serve, requests: list[Request]) -> None:
    voice = base64.b64encode(requests[1].audio.path.read_bytes()).decode()
    body = completion({"content": "Hello."}, {"content": None, "audio": {"data": voice}})
    reply = reply_of(serve(lambda h: h.reply(body, "application/json")), requests[0], audio_out=True)
    assert (reply.text, reply.audio.seconds) == ("Hello.", requests[1].audio.seconds)


def test_audio_url_sends_a_data_url(serve: Serve, requests: list[Request]) -> None:
    server = serve(lambda h: h.reply(completion({"content": "ok"}), "application/json"))
    reply_of(server, requests[0], audio_in="audio_url")
    part = json.loads(server.received[-1][3])["messages"][0]["content"][0]
    assert part["audio_url"]["url"].startswith("data:audio/wav;base64,UklGR")


def test_history_is_sent_as_audio_or_text(serve: Serve, requests: list[Request]) -> None:
    server = serve(lambda h: h.reply(completion({"content": "ok"}), "application/json"))
    turns = (
        Turn(role="user", audio=requests[1].audio, text="words"),
        Turn(role="assistant", text="Go on."),
        Turn(role="user", text="Well."),
        Turn(role="assistant", text="Yes?"),
    )
    reply_of(server, replace(requests[0], history=turns, instruction="Which emotion?"))
    messages = json.loads(server.received[-1][3])["messages"]
    assert [m["role"] for m in messages] == ["user", "assistant", "user", "assistant", "user"]
    assert messages[0]["content"][0]["type"] == "input_audio"
    assert [m["content"] for m in messages[1:4]] == ["Go on.", "Well.", "Yes?"]
    assert [part["type"] for part in messages[4]["content"]] == ["text", "input_audio"]
    with pytest.raises(NotApplicable, match="an earlier assistant turn has no text"):
        reply_of(server, replace(requests[0], history=(Turn(role="assistant", audio=requests[1].audio),)))


def test_a_text_only_model_gets_nothing_of_the_current_turn(serve: Serve, requests: list[Request]) -> None:
    server = serve(lambda h: h.reply(completion({"content": "sad"}), "application/json"))
    with pytest.raises(NotApplicable, match=r"a text-only model \(audio_in=none\) gets nothing"):
        reply_of(server, requests[0], audio_in="none")
    reply_of(server, replace(requests[0], instruction="Which emotion?"), audio_in="none")
    assert json.loads(server.received[-1][3])["messages"] == [{"role": "user", "content": "Which emotion?"}]
    floor = build_system("openai-chat:m", {"url": "http://127.0.0.1:9/v1", "audio_in": "none"})
    assert role_of(floor) == "floor"


def stream(
    *deltas: dict[str, Any], done: bool = True, pause: float = 0.0, cut: int = 7
) -> Callable[[Any], None]:
    def script(h: Any) -> None:
        h.send_response(200)
        h.send_header("content-type", "text/event-stream")
        h.send_header("transfer-encoding", "chunked")
        h.end_headers()
        for delta in deltas:
            event = b"data: " + json.dumps({"choices": [{"delta": delta}]}).encode() + b"\n\n"
            for at in range(0, len(event), cut):
                h.chunk(event[at : at + cut])
            time.sleep(pause)
        if done:
            h.chunk(b'data: {"choices": [], "usage": {"completion_tokens": 5}}\n\ndata: [DONE]\n\n')
        h.chunk(b"")

    return script


def test_a_stream_may_be_cut_anywhere(serve: Serve, requests: list[Request]) -> None:
    samples = (np.sin(np.arange(4000) / 9) * 9000).astype("<i2")
    text = base64.b64encode(samples.tobytes()).decode()
    pieces = [text[:1001], text[1001:2002], text[2002:]]  # one base64 text cut anywhere
    server = serve(
        stream(
            {"content": "He"},
            {"content": "llo"},
            *({"audio": {"data": p}} for p in pieces),
            pause=0.05,
            cut=911,
        )
    )
    begun = time.monotonic()
    reply = reply_of(server, requests[0], audio_out=True, stream=True, stream_rate=8000)
    assert isinstance(reply.audio, Waveform)
    assert reply.audio.sample_rate == 8000
    np.testing.assert_array_equal(np.rint(reply.audio.samples * 32768), samples)
    assert (reply.text, reply.usage["completion_tokens"]) == ("Hello", 5)
    assert 0.09 <= reply.first_audio_seconds <= time.monotonic() - begun - 0.1


def test_separately_encoded_pieces_are_joined(serve: Serve, requests: list[Request]) -> None:
    raw = [bytes([1, 0, 2, 0]), bytes([3, 0, 4, 0])]
    server = serve(stream(*({"audio": {"data": base64.b64encode(r).decode()}} for r in raw)))
    reply = reply_of(server, requests[0], audio_out=True, stream=True)
    np.testing.assert_array_equal(np.rint(reply.audio.samples * 32768), [1, 2, 3, 4])


def test_a_broken_stream_is_unavailable(serve: Serve, requests: list[Request]) -> None:
    with pytest.raises(Unavailable, match="broke off"):
        reply_of(serve(stream({"content": "Hel"}, done=False)), requests[0], stream=True)


@pytest.mark.parametrize(
    ("status", "body", "error", "reason"),
    [
        (429, '{"error": "slow"}', Unavailable, "HTTP 429"),
        (503, "loading model", Unavailable, "HTTP 503: loading model"),
        (500, "audio input is not supported", Unavailable, "audio input is not supported"),
        (400, "audio input is not supported", SystemFailure, "audio input is not supported"),
        (400, '{"error": {"message": "bad format"}}', SystemFailure, "bad format"),
        (401, "no key", UsageError, "HTTP 401"),
        (404, "no such model", UsageError, "check the URL, the model's name"),
        (200, "<html>", Unavailable, "a web page"),
        (200, "Hello.", SystemFailure, "not strict JSON"),
        (200, '{"choices": []}', SystemFailure, "without a choice"),
        (200, "[]", SystemFailure, "expected an object"),
        (200, completion({"audio": {"data": "!"}}), SystemFailure, "not base64"),
    ],
)
def test_faulty_answers_raise_the_right_error(
    serve: Serve, requests: list[Request], status: int, body: str, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        reply_of(serve(lambda h: h.reply(body, "application/json", status)), requests[0])


def test_the_key_is_sent_only_to_the_server(
    serve: Serve, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECHAT_EVAL_API_KEY", "sesame-123")
    server = serve(lambda h: h.reply("key sesame-123 is over its limit", status=429))
    with pytest.raises(Unavailable):
        reply_of(server, requests[0])
    assert server.received[-1][2]["authorization"] == "Bearer sesame-123"
    system = OpenAIChat("omni", url=f"{server.url}/v1")
    assert "sesame" not in json.dumps(dict(system.settings()))
    other = serve(lambda h: h.reply(completion({"content": "x"}), "application/json"))
    moved = serve(lambda h: h.reply(status=307, location=f"{other.url}/v1/chat/completions"))
    with pytest.raises(ServerRefusal, match="refused a redirect"):
        reply_of(moved, requests[0])
    assert not other.received


def test_openai_needs_a_key(requests: list[Request], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ECHAT_EVAL_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match="no API key"):
        event_loop.call(OpenAIChat("gpt-4o-audio-preview").respond, requests[0])


def test_the_fingerprint_is_the_server_list_entry_of_the_model(serve: Serve) -> None:
    listed = {"id": "omni", "created": 1, "meta": {"n_params": 10}}

    def script(h: Any) -> None:
        h.reply(json.dumps({"data": [{"id": "other"}, listed]}), "application/json")

    server = serve(script)

    def fingerprint(model: str = "omni") -> str | None:
        system = OpenAIChat(model, url=f"{server.url}/v1")
        found = system.fingerprint()
        system.close()
        return found

    first = fingerprint()
    listed["created"] = 2  # a local server reports the time of its start
    assert fingerprint() == first
    assert first is not None
    listed["meta"] = {"n_params": 20}
    assert fingerprint() not in (None, first)
    assert fingerprint("absent") is None


WORDS = [{"choices": [{"delta": {"content": word}}]} for word in ("Oh, ", "dear.")]
END = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
USAGE = {"usage": {"prompt_tokens": 5, "completion_tokens": 6}}


def events(*objects: Any, end: str = "\n") -> str:
    texts = (item if isinstance(item, str) else f"data: {json.dumps(item)}" for item in objects)
    return "".join(f"{text}{end}{end}" for text in texts)


@pytest.mark.parametrize(
    "body",
    [
        events(": PROCESSING", *WORDS, END, "data: [DONE]"),
        events(*WORDS, END, "data: [DONE]", end="\r\n"),
        events(*WORDS, END, "data: [DONE]", end="\r"),
        events(WORDS[0], "data:", "data: ", WORDS[1], END, "data:[DONE]"),
        events(WORDS[0], "event: ping\ndata: {}", "event: ping\ndata: null", WORDS[1], END),
        events(*WORDS, END, {"choices": None, **USAGE}, "data: [DONE]"),
        events("id: 7\nretry: 10", *WORDS, END, USAGE, "data: [DONE]"),
        events(*WORDS, {**END, "error": None}, {"choices": [], **USAGE}, "data: [DONE]"),
        "\ufeff" + events(*WORDS, END),
        events(WORDS[0], 'data: {"choices":\ndata: [{"delta": {"content": "dear."}}]}', END),
        "".join(f"data: {json.dumps(item)}\n" for item in (*WORDS, END)) + "data: [DONE]\n",
        completion({"content": "Oh, dear."}),
    ],
)
def test_control_frames_of_a_stream_are_skipped(serve: Serve, requests: list[Request], body: str) -> None:
    reply = reply_of(serve(lambda h: h.reply(body, "text/event-stream")), requests[0], stream=True)
    assert (reply.text, reply.finish_reason) == ("Oh, dear.", "stop")
    if '"completion_tokens": 6' in body:
        assert reply.usage == {"prompt_tokens": 5, "completion_tokens": 6}


@pytest.mark.parametrize(
    "event", ['event: error\ndata: {"message": "Overloaded"}', 'data: {"error": {"code": 503}}']
)
def test_an_error_event_ends_a_stream(serve: Serve, requests: list[Request], event: str) -> None:
    body = events(WORDS[0], event, WORDS[1], END)
    with pytest.raises(Unavailable):
        reply_of(serve(lambda h: h.reply(body, "text/event-stream")), requests[0], stream=True)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": [{"type": "text", "text": "Oh, "}, {"type": "text", "text": "dear."}]}, "Oh, dear."),
        ({"content": None, "refusal": "I can't listen to that."}, "I can't listen to that."),
        (
            {"content": [{"type": "thinking", "thinking": "hm"}, {"type": "output_text", "text": "Oh."}]},
            "Oh.",
        ),
    ],
)
def test_forms_of_a_message(
    serve: Serve, requests: list[Request], message: dict[str, Any], text: str
) -> None:
    assert reply_of(serve(lambda h: h.reply(completion(message))), requests[0]).text == text


@pytest.mark.parametrize(
    ("finish", "reason"), [("length", "token limit.*max_tokens"), ("content_filter", "content filter")]
)
def test_an_answer_without_words_is_explained(
    serve: Serve, requests: list[Request], finish: str, reason: str
) -> None:
    body = json.dumps({"choices": [{"message": {"content": None}, "finish_reason": finish}]})
    with pytest.raises(SystemFailure, match=reason):
        reply_of(serve(lambda h: h.reply(body)), requests[0])


def test_every_parameter_can_be_left_out(serve: Serve, requests: list[Request]) -> None:
    server = serve(lambda h: h.reply(completion({"content": "ok"})))
    reply_of(server, requests[0], temperature=None, modalities=None)
    assert set(json.loads(server.received[-1][3])) == {"model", "messages", "stream"}
    reply_of(
        server,
        requests[0],
        max_tokens=9,
        token_parameter="max_completion_tokens",
        reasoning_effort="low",
        seed=3,
    )
    sent = json.loads(server.received[-1][3])
    assert (sent["max_completion_tokens"], sent["reasoning_effort"], sent["seed"]) == (9, "low", 3)
    assert "max_tokens" not in sent
    built = build_system("openai-chat:gpt-4o", {"temperature": None, "modalities": None})
    assert built.settings()["temperature"] is None
    assert "token_parameter" not in built.settings()
