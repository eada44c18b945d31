"""OSUM-EChat behind the server, on tiny weights: every reply equals the in-process one, whoever asks."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import re
import runpy
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import torch

from echat_eval.concurrency import event_loop
from echat_eval.errors import NotApplicable, SystemFailure
from echat_eval.io.audio import audio_ref, read_mono
from echat_eval.records import AudioRef, Reply, Request, Turn, Waveform
from echat_eval.serve.osum_answerer import OsumAnswerer
from echat_eval.serve.sound import pcm16, wav_header
from echat_eval.systems.openai_chat import OpenAIChat
from echat_eval.systems.osum_echat import OsumEChat
from echat_eval.systems.realtime import Realtime
from echat_eval.testing import check_system
from tests.support.running_server import RunningServer, served
from tests.support.tiny_osum import noise_requests, write_tiny_osum

CLIENTS = 64


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    torch.set_num_threads(1)
    return write_tiny_osum(tmp_path_factory.mktemp("osum")) | {"max_new": 40, "slots": 8}


@pytest.fixture(scope="module")
def in_process(settings: dict[str, Any]) -> OsumEChat:
    return OsumEChat(**settings)


@pytest.fixture(scope="module")
def answerer(settings: dict[str, Any]) -> OsumAnswerer:
    return OsumAnswerer(OsumEChat(**settings), max_waiting=CLIENTS)


@pytest.fixture(scope="module")
def server(answerer: OsumAnswerer) -> Iterator[RunningServer]:
    with served(answerer) as running:
        yield running


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> list[Request]:
    return noise_requests(tmp_path_factory.mktemp("questions"), 8)


def chat(server: RunningServer, **settings: Any) -> OpenAIChat:
    options = {"temperature": None, "voice": "me", "audio_out": True, "calls_at_once": CLIENTS, **settings}
    return OpenAIChat("osum-echat", url=server.url, timeout=60.0, **options)


def live(server: RunningServer, **settings: Any) -> Realtime:
    return Realtime(
        "osum-echat", url=server.live, pace="at_once", timeout=60.0, calls_at_once=CLIENTS, **settings
    )


def samples_of(reply: Reply) -> np.ndarray[Any, Any]:
    if isinstance(reply.audio, AudioRef):
        return read_mono(reply.audio.path, rate=None)[0]
    return reply.audio.samples if isinstance(reply.audio, Waveform) else np.zeros(0)


def as_sent_live(request: Request, folder: Path) -> Request:
    """Return a request with the audio that the server makes of it in a session."""
    content = pcm16(read_mono(request.audio.path, rate=24_000)[0])
    path = folder / f"{request.id}-24k.wav"
    path.write_bytes(wav_header(24_000, len(content)) + content)
    return Request(id=request.id, audio=audio_ref(path), language="und", history=request.history)


def assert_equal(reply: Reply, expected: Reply, *, whole: bool) -> None:
    assert (reply.text or "") == expected.text
    assert reply.finish_reason == expected.finish_reason
    assert reply.usage["completion_tokens"] == expected.usage["completion_tokens"]
    assert reply.usage["completion_audio_tokens"] == expected.usage["speech_tokens"]
    ours, theirs = samples_of(reply), samples_of(expected)
    assert len(ours) == len(theirs)
    if whole and len(ours):
        assert np.abs(ours - np.clip(theirs, -1, 1)).max() < 2 / 32_768


def test_whole_replies_equal_those_in_process(
    server: RunningServer, in_process: OsumEChat, settings: dict[str, Any], questions: list[Request]
) -> None:
    greedy = OsumEChat(**settings, greedy=True)
    for system, expected in ((chat(server), in_process), (chat(server, temperature=0.0), greedy)):
        for request in questions[:4]:
            assert_equal(event_loop.call(system.respond, request), expected.respond(request), whole=True)
        system.close()


def test_a_dialogue_equals_the_one_in_process(
    server: RunningServer, in_process: OsumEChat, questions: list[Request], tmp_path: Path
) -> None:
    history = (Turn(role="user", audio=questions[1].audio), Turn(role="assistant", text="Go on."))
    request = Request(id="d", audio=questions[0].audio, language="und", history=history)
    system = chat(server)
    assert_equal(event_loop.call(system.respond, request), in_process.respond(request), whole=True)
    system.close()
    session = live(server, output_rate=22_050)
    turns = (Turn(role="user", audio=as_sent_live(questions[1], tmp_path).audio), history[1])
    sent = Request(id="d", audio=as_sent_live(questions[0], tmp_path).audio, language="und", history=turns)
    assert_equal(event_loop.call(session.respond, request), in_process.respond(sent), whole=False)
    session.close()


def test_64_clients_at_once(
    server: RunningServer,
    answerer: OsumAnswerer,
    in_process: OsumEChat,
    questions: list[Request],
    tmp_path: Path,
) -> None:
    before = answerer.system.loaded().online.counts()
    systems: list[Any] = [chat(server), chat(server, stream=True), live(server, output_rate=22_050)]
    systems.append(live(server, audio_out=False))
    jobs = [(systems[n % 4], questions[n % 8]) for n in range(CLIENTS)]

    async def ask() -> list[Reply]:
        replies: list[Reply] = await asyncio.gather(*(system.respond(request) for system, request in jobs))
        return replies

    replies = event_loop.run(ask())
    expected = {request.id: in_process.respond(request) for request in questions}
    expected_live = {r.id: in_process.respond(as_sent_live(r, tmp_path)) for r in questions}
    for (system, request), reply in zip(jobs, replies, strict=True):
        reference = (expected_live if isinstance(system, Realtime) else expected)[request.id]
        if system is systems[3]:
            assert (reply.text or "") == reference.text
        else:
            assert_equal(reply, reference, whole=system is systems[0])
        assert (reply.first_audio_seconds is not None) == (
            system in systems[1:3] and bool(reference.usage["speech_tokens"])
        )
    for system in systems:
        system.close()
    server.until(lambda: answerer.load().running == 0)
    counts = answerer.system.loaded().online.counts()
    assert counts.answered - before.answered == CLIENTS
    assert (counts.running, counts.waiting, counts.failed, counts.cancelled) == (0, 0, 0, before.cancelled)


def test_the_official_client_gets_the_reply_in_process(
    server: RunningServer, in_process: OsumEChat, questions: list[Request]
) -> None:
    data = base64.b64encode(questions[0].audio.path.read_bytes()).decode()
    part: Any = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
        whole = client.chat.completions.create(
            model="osum-echat", messages=[{"role": "user", "content": [part]}], seed=3
        )
        model: Any = client.models.retrieve("osum-echat")
    expected = OsumEChat(**{**vars_of(in_process), "seed": 3}).respond(questions[0])
    assert whole.choices[0].message.content == expected.text
    assert (model.fingerprint, model.voices) == (in_process.fingerprint(), ["me"])
    assert "no commercial use" in model.licence


def vars_of(system: OsumEChat) -> dict[str, Any]:
    names = ("checkpoint", "token2wav", "voice", "max_new", "slots")
    return {name: getattr(system, name) for name in names}


@pytest.mark.parametrize("kind", ["openai-chat", "realtime"])
def test_the_conformance_suite_passes(server: RunningServer, kind: str) -> None:
    system: Any = chat(server) if kind == "openai-chat" else live(server)
    findings = list(check_system(system, seconds=60.0))
    failed = [f"{finding.check}: {finding.message}" for finding in findings if finding.outcome == "fail"]
    assert not failed
    assert len(findings) > 8


def test_requests_that_the_model_does_not_take(server: RunningServer, questions: list[Request]) -> None:
    system = chat(server)
    question = Request(id="i", audio=questions[0].audio, language="und", instruction="Which emotion?")
    with pytest.raises(SystemFailure, match="mode 's2s' takes no instruction"):
        event_loop.call(system.respond, question)
    assert system.fingerprint() is not None
    with pytest.raises(NotApplicable, match="takes no instruction"):
        event_loop.call(system.respond, question)
    system.close()


def test_a_request_longer_than_the_positions(settings: dict[str, Any], questions: list[Request]) -> None:
    model = OsumAnswerer(OsumEChat(**settings))
    network = model.system.loaded().workers[0].engine.model
    decoder = replace(network.config.decoder, positions=100)
    network.config = replace(network.config, decoder=decoder)
    with served(model) as server:
        for system in (chat(server), live(server)):
            with pytest.raises(SystemFailure, match="positions and a reply of 40 do not fit 100"):
                event_loop.call(system.respond, questions[7])
            system.close()


def test_a_reply_that_is_decoded_again_is_sent_once(
    settings: dict[str, Any],
    in_process: OsumEChat,
    questions: list[Request],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replies = [(in_process.respond(question), question) for question in questions]
    expected, question = max(replies, key=lambda pair: pair[0].usage["speech_tokens"])
    model = OsumAnswerer(OsumEChat(**settings))
    engine = model.system.loaded().workers[0].engine
    unbroken, broken = engine.serve, list[int]()

    def breaks_once(*arguments: Any, **options: Any) -> Iterator[Any]:
        for number, event in enumerate(unbroken(*arguments, **options)):
            if not broken and number > expected.usage["completion_tokens"] // 2:
                broken.append(number)
                raise RuntimeError("a fault of the device")
            yield event

    monkeypatch.setattr(engine, "serve", breaks_once)
    with served(model) as server:
        system = chat(server, stream=True)
        assert_equal(event_loop.call(system.respond, question), expected, whole=False)
        system.close()
    assert broken


def test_a_client_that_vanishes_frees_its_slot(settings: dict[str, Any], questions: list[Request]) -> None:
    model = OsumAnswerer(OsumEChat(**settings | {"max_new": 1500, "slots": 1}))
    (worker,) = model.system.loaded().workers
    with torch.no_grad():  # a reply that does not end by itself
        worker.engine.model.decoder.speech_head.bias[4096] = -50.0
    data = base64.b64encode(questions[0].audio.path.read_bytes()).decode()
    part = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    body: dict[str, Any] = {"model": "osum-echat", "messages": [{"role": "user", "content": [part]}]}
    body |= {"stream": True, "modalities": ["text", "audio"], "audio": {"format": "wav"}}
    content = json.dumps(body).encode()
    with served(model) as server:
        for _ in range(2):
            with socket.create_connection(server.server.address) as connection:
                head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n"
                connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + content)
                received = b""
                while b'"role"' not in received:
                    received += connection.recv(65_536)
                server.until(lambda: httpx.get(f"{server.root}/health").json()["running"] == 1)
            server.until(lambda: (model.load().running, model.load().waiting) == (0, 0))
        counts = model.system.loaded().online.counts()
        assert (counts.cancelled, counts.running) == (2, 0)


PAGE = (Path(__file__).resolve().parents[2] / "docs" / "osum-echat.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", PAGE, flags=re.DOTALL))


def test_the_documented_clients_work(
    server: RunningServer,
    in_process: OsumEChat,
    questions: list[Request],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.wav").write_bytes(questions[1].audio.path.read_bytes())
    for name, content in FILES.items():
        Path(name).write_text(content.replace("http://127.0.0.1:8000", server.root))
    expected = in_process.respond(questions[1])
    done = subprocess.run(["bash", "ask.sh"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["choices"][0]["message"]["content"] == expected.text
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        runpy.run_path("stream.py")["client"].close()
    assert printed.getvalue() == expected.text
    seconds = len(samples_of(expected)) / 22_050
    assert len(Path("out.raw").read_bytes()) / 2 / 24_000 == pytest.approx(seconds, abs=0.001)
