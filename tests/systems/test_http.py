"""A server as a system: a small working one, and scripted ones with faults."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from echat_eval.concurrency import event_loop
from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.errors import NotApplicable, ServerRefusal, SystemFailure, Unavailable, UsageError
from echat_eval.records import Request, Turn
from echat_eval.systems import build_system
from echat_eval.systems.http import Http
from echat_eval.systems.wire import ReplyFolder
from echat_eval.task import load_task
from tests.support.present import present, recording_of
from tests.support.scripted_run import evaluated
from tests.support.tones import write_tone

Serve = Callable[[Callable[[Any], None]], Any]


def reply_of(url: str, request: Request, **settings: Any) -> Any:
    system = Http(url, **{"timeout": 5.0, **settings})
    try:
        return event_loop.call(system.respond, request)
    finally:
        system.close()


def test_a_small_server_is_a_system(serve: Serve, tmp_path: Path, tones: Path) -> None:
    server = serve(lambda h: h.reply(h.body, "audio/wav", x_echat_text="you%20said%20this"))
    system = build_system(f"parrot={server.url}/speak")
    run = evaluated(tmp_path / "run", tones, system, retry_policy=RetryPolicy(tries=1))
    found = run.responses()
    samples = {s.id: s for s in load_task("emotion", data=tones).samples}
    assert {
        i[2]: (present(r.reply).text, recording_of(present(r.reply)).sha256) for i, r in found.items()
    } == {name: ("you said this", sample.audio.sha256) for name, sample in samples.items()}
    posts = [got for got in server.received if got[0] == "POST"]
    assert {(path, headers["content-type"]) for _, path, headers, _ in posts} == {("/speak", "audio/wav")}
    shown = " ".join(str(got) for got in server.received)
    assert not any(word in shown for word in ("emotion", "happy", "sentence number", "g0"))


def test_json_transmits_history_and_instruction_and_all_reply_keys(
    serve: Serve, requests: list[Request]
) -> None:
    voice = base64.b64encode(requests[2].audio.path.read_bytes()).decode()
    server = serve(
        lambda h: h.reply(
            json.dumps(
                {
                    "text": "hello",
                    "think": "hm",
                    "perceived": {"emotion": "sad"},
                    "audio_base64": voice,
                    "first_audio_seconds": 0.25,
                    "finish_reason": "stop",
                    "usage": {"tokens": 3},
                }
            ),
            "application/json",
        )
    )
    turns = (Turn(role="user", audio=requests[1].audio), Turn(role="assistant", text="and?"))
    reply = reply_of(server.url, replace(requests[0], history=turns, instruction="What is it?"), send="json")
    sent = json.loads(server.received[-1][3])
    assert base64.b64decode(sent["audio_base64"]) == requests[0].audio.path.read_bytes()
    assert sent["instruction"] == "What is it?"
    assert [sorted(turn) for turn in sent["history"]] == [["audio_base64", "role"], ["role", "text"]]
    assert (reply.text, reply.think, reply.perceived["emotion"]) == ("hello", "hm", "sad")
    assert (reply.first_audio_seconds, reply.usage["tokens"]) == (0.25, 3)


def test_the_text_of_a_spoken_reply_may_be_long(serve: Serve, requests: list[Request]) -> None:
    text = "我听见你了。" * 1000
    server = serve(lambda h: h.reply(h.body, "audio/wav", x_echat_text=quote(text)))
    assert reply_of(server.url, requests[0]).text == text


def test_files_of_ours_that_cannot_be_read_or_written_are_no_fault_of_the_system(
    serve: Serve, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(lambda h: h.reply(h.body, "audio/wav"))
    absent = replace(requests[0], audio=replace(requests[0].audio, path=Path("absent.wav")))
    with pytest.raises(Unavailable, match="cannot be read"):
        reply_of(server.url, absent)
    monkeypatch.setattr(ReplyFolder, "path", Path("absent"))
    with pytest.raises(Unavailable, match="cannot be written"):
        reply_of(server.url, requests[0])


def test_two_replies_to_one_request_keep_their_audio(serve: Serve, requests: list[Request]) -> None:
    voices = [request.audio.path.read_bytes() for request in requests[1:3]]
    pending = iter(voices)
    system = Http(serve(lambda h: h.reply(next(pending), "audio/wav")).url, timeout=5.0)
    replies = [event_loop.call(system.respond, requests[0]) for _ in voices]
    assert [reply.audio.path.read_bytes() for reply in replies] == voices
    system.close()


def test_send_audio_does_not_support_history(serve: Serve, requests: list[Request]) -> None:
    server = serve(lambda h: h.reply("hi"))
    with pytest.raises(NotApplicable, match="set send=json"):
        reply_of(server.url, replace(requests[0], history=(Turn(role="user", text="hi"),)))
    assert not server.received


def test_first_audio_latency_of_a_chunked_answer(serve: Serve, requests: list[Request]) -> None:
    def slow(h: Any) -> None:
        h.send_response(200)
        h.send_header("content-type", "audio/wav")
        h.send_header("transfer-encoding", "chunked")
        h.end_headers()
        h.chunk(h.body[:44])
        time.sleep(0.3)
        h.chunk(h.body[44:2000])
        time.sleep(0.3)
        h.chunk(h.body[2000:])
        h.chunk(b"")

    begun = time.monotonic()
    reply = reply_of(serve(slow).url, requests[0])
    assert 0.3 <= reply.first_audio_seconds <= time.monotonic() - begun - 0.25


@pytest.mark.parametrize(("headers", "seconds"), [({}, None), ({"retry_after": "7"}, 7.0)])
def test_status_429_is_unavailable_with_retry_after(
    serve: Serve, requests: list[Request], headers: dict[str, str], seconds: float | None
) -> None:
    with pytest.raises(Unavailable, match="HTTP 429: slow down") as caught:
        reply_of(serve(lambda h: h.reply("slow down", status=429, **headers)).url, requests[0])
    assert caught.value.retry_after == seconds


def answer_with(status: int, http: Any) -> None:
    http.reply("x", status=status)


def test_status_400_is_failed_and_500_and_429_are_missing(serve: Serve, tmp_path: Path, tones: Path) -> None:
    for status, state in ((400, "failed"), (500, "missing"), (429, "missing")):
        system = Http(serve(partial(answer_with, status)).url, name=f"s{status}")
        folder = evaluated(tmp_path / str(status), tones, system)
        assert {r.state for r in folder.responses().values()} == {state}


def test_a_hanging_server_times_out(serve: Serve, requests: list[Request]) -> None:
    begun = time.monotonic()
    with pytest.raises(Unavailable, match=r"no whole answer in 0\.3 s"):
        reply_of(serve(lambda h: time.sleep(3)).url, requests[0], timeout=0.3)
    assert time.monotonic() - begun < 2


def test_an_endless_slow_reply_times_out(serve: Serve, requests: list[Request]) -> None:
    def drip(h: Any) -> None:
        h.send_response(200)
        h.send_header("content-type", "audio/wav")
        h.send_header("transfer-encoding", "chunked")
        h.end_headers()
        for _ in range(100):
            h.chunk(b"R")
            time.sleep(0.05)

    begun = time.monotonic()
    with pytest.raises(Unavailable, match=r"no whole answer in 0\.4 s"):
        reply_of(serve(drip).url, requests[0], timeout=0.4)
    assert time.monotonic() - begun < 3


def test_an_incomplete_body_is_unavailable(serve: Serve, requests: list[Request]) -> None:
    def half(h: Any) -> None:
        h.send_response(200)
        h.send_header("content-type", "audio/wav")
        h.send_header("content-length", str(len(h.body)))
        h.end_headers()
        h.wfile.write(h.body[: len(h.body) // 2])
        h.close_connection = True

    with pytest.raises(Unavailable, match="not completed"):
        reply_of(serve(half).url, requests[0])


def test_an_oversized_body_is_refused_while_it_is_read(
    serve: Serve, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("echat_eval.systems.server.MAX_REPLY_BYTES", 100_000)
    sent = []

    def endless(h: Any) -> None:
        h.send_response(200)
        h.send_header("content-type", "text/plain")
        h.send_header("transfer-encoding", "chunked")
        h.end_headers()
        for _ in range(10_000):
            h.chunk(b"x" * 10_000)
            sent.append(1)

    with pytest.raises(SystemFailure, match="longer than 100,000 bytes"):
        reply_of(serve(endless).url, requests[0])
    assert len(sent) < 9_000


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        ("image/png", "<h1>hi", "content type 'image/png'"),
        ("application/json", "{'text': 'a'}", "not strict JSON"),
        ("application/json", '{"text": "a", "audio": "/etc/passwd"}', "send 'audio_base64'"),
        ("application/json", '{"id": "someone-else", "text": "a"}', "answered request 'someone-else'"),
        ("audio/wav", "RIFF but not sound", "broken reply audio"),
    ],
)
def test_a_malformed_answer_is_a_failure(
    serve: Serve, requests: list[Request], kind: str, body: str, reason: str
) -> None:
    with pytest.raises(SystemFailure, match=reason):
        reply_of(serve(lambda h: h.reply(body, kind)).url, requests[0])


@pytest.mark.parametrize(
    ("kind", "body"), [("text/html", "<html><title>Sign in"), ("application/json", '{"text": "I hear')]
)
def test_an_answer_of_a_gateway_or_one_that_breaks_off_is_missing(
    serve: Serve, requests: list[Request], kind: str, body: str
) -> None:
    with pytest.raises(Unavailable, match=r"a web page|breaks off"):
        reply_of(serve(lambda h: h.reply(body, kind)).url, requests[0])


def test_a_redirect_to_another_host_is_refused_without_sending_audio(
    serve: Serve, requests: list[Request]
) -> None:
    other = serve(lambda h: h.reply("stolen"))
    server = serve(lambda h: h.reply(status=307, location=f"{other.url}/take"))
    with pytest.raises(ServerRefusal, match="refused a redirect"):
        reply_of(server.url, requests[0])
    assert not other.received


def test_a_redirect_on_the_same_host_keeps_the_body(serve: Serve, requests: list[Request]) -> None:
    def script(h: Any) -> None:
        h.reply("here") if h.path == "/b" else h.reply(status=308, location="/b")

    server = serve(script)
    assert reply_of(f"{server.url}/a", requests[0]).text == "here"
    assert server.received[-1][3] == requests[0].audio.path.read_bytes()


def test_a_redirect_loop_is_refused(serve: Serve, requests: list[Request]) -> None:
    with pytest.raises(ServerRefusal, match="more than 5 redirects"):
        reply_of(serve(lambda h: h.reply(status=307, location="/again")).url, requests[0])


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_address_or_key_is_a_usage_error(serve: Serve, requests: list[Request], status: int) -> None:
    with pytest.raises(UsageError, match=f"HTTP {status}"):
        reply_of(serve(lambda h: h.reply("no", status=status)).url, requests[0])


def test_a_refused_connection_is_unavailable(requests: list[Request]) -> None:
    with pytest.raises(Unavailable, match="Connect call failed"):
        reply_of("http://127.0.0.1:9/", requests[0])


def test_audio_keeps_its_sample_rate(serve: Serve, requests: list[Request], tmp_path: Path) -> None:
    import soundfile

    sound, _ = soundfile.read(requests[0].audio.path)
    soundfile.write(tmp_path / "odd.wav", sound, 11_025)
    body = (tmp_path / "odd.wav").read_bytes()
    reply = reply_of(serve(lambda h: h.reply(body, "audio/wav")).url, requests[0])
    assert reply.audio.seconds == pytest.approx(len(sound) / 11_025)


def test_an_implausible_sample_rate_is_a_failure(serve: Serve, requests: list[Request]) -> None:
    body = bytearray(requests[0].audio.path.read_bytes())
    body[24:28] = (5).to_bytes(4, "little")  # the wav header's sample rate
    with pytest.raises(SystemFailure, match="sample rate is 5 Hz"):
        reply_of(serve(lambda h: h.reply(bytes(body), "audio/wav")).url, requests[0])


def test_the_fingerprint_is_reported_by_the_server(serve: Serve) -> None:
    version = ["a"]

    def script(h: Any) -> None:
        h.reply(version[0]) if h.path == "/fingerprint" else h.reply("no", status=404)

    url = serve(script).url
    first = Http(f"{url}/speak").fingerprint()
    version[0] = "b"
    assert first is not None
    assert Http(f"{url}/speak").fingerprint() not in (None, first)
    assert Http(serve(lambda h: h.reply("no", status=404)).url).fingerprint() is None
    assert Http("http://127.0.0.1:9/").fingerprint() is None


def test_a_server_that_changes_during_the_run_is_detected(serve: Serve, requests: list[Request]) -> None:
    version = ["1"]
    server = serve(lambda h: h.reply("hi", x_echat_fingerprint=version[0]))
    system = Http(server.url, timeout=5)
    assert system.fingerprint()
    assert event_loop.call(system.respond, requests[0]).text == "hi"
    version[0] = "2"
    with pytest.raises(Unavailable, match="the server changed during the run: 1 became 2"):
        event_loop.call(system.respond, requests[0])
    system.close()


@pytest.mark.parametrize(
    "url", ["ftp://x/", "http://", "http://me:pw@host/", "http://[::1", "http://h:99999/"]
)
def test_an_invalid_url_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError):
        Http(url)


def test_reply_audio_is_deleted_on_close(serve: Serve, requests: list[Request], tmp_path: Path) -> None:
    write_tone(tmp_path / "long.wav", 200, seconds=20)
    body = (tmp_path / "long.wav").read_bytes()
    system = Http(serve(lambda h: h.reply(body, "audio/wav")).url)
    path = event_loop.call(system.respond, requests[0]).audio.path
    assert path.is_file()
    system.close()
    assert not path.exists()
