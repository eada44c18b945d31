"""Live systems: every dialect against its scripted server, with its faults."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echat_eval.concurrency import event_loop
from echat_eval.errors import NotApplicable, RowError, SystemFailure, Unavailable, UsageError
from echat_eval.io.audio import audio_ref, read_mono, write_wav
from echat_eval.records import Reply, Request, Turn, Waveform
from echat_eval.runner.destinations import receivers_of, refuse_private_data
from echat_eval.systems import build_system
from echat_eval.systems.realtime import DIALECTS, Realtime
from echat_eval.testing import REALTIME_FAULTS, ScriptedRealtimeServer, check_system
from echat_eval.testing.realtime_faults import realtime_table
from echat_eval.testing.realtime_forms import FORMS
from echat_eval.testing.realtime_server import scripted_voice

VAD = [name for name, dialect in DIALECTS.items() if "vad" in dialect.turns]


@contextmanager
def live(server: ScriptedRealtimeServer, **settings: Any) -> Iterator[Realtime]:
    options = {"pace": "at_once", "timeout": 5.0, "dialect": server.dialect, **settings}
    system = Realtime("scripted", url=server.url, **options)
    try:
        yield system
    finally:
        system.close()


def reply_of(server: ScriptedRealtimeServer, request: Request, **settings: Any) -> Any:
    with live(server, **settings) as system:
        return event_loop.call(system.respond, request)


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, ScriptedRealtimeServer]]:
    """Return a server of every dialect, whose fault a test may set."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(ScriptedRealtimeServer(name)) for name in DIALECTS}


@pytest.fixture(scope="module")
def query(tmp_path_factory: pytest.TempPathFactory) -> Request:
    return spoken(tmp_path_factory.mktemp("query"), 0.2)


def spoken(folder: Path, *parts: float, rate: int = 16_000) -> Request:
    """Return a request of tones and pauses in turn, each of so many seconds."""
    pieces = []
    for number, seconds in enumerate(parts):
        time = np.arange(int(seconds * rate)) / rate
        pieces.append(np.sin(2 * np.pi * 300 * time) * 0.3 * (number % 2 == 0))
    voice = Waveform(samples=np.concatenate(pieces).astype(np.float32), sample_rate=rate)
    return Request(id="r", audio=write_wav(voice, folder), language="en")


def test_documents_and_scripted_servers_know_every_dialect_and_fault() -> None:
    assert list(FORMS) == list(DIALECTS)
    docs = Path(__file__).resolve().parents[2] / "docs"
    assert "\n".join(realtime_table()) in (docs / "faults.md").read_text(encoding="utf-8")
    page = (docs / "systems.md").read_text(encoding="utf-8")
    for dialect in DIALECTS.values():
        rates = f"{dialect.input_rate:,}, {dialect.output_rate:,}"
        assert f"| `{dialect.name}` | {dialect.title} | {rates} | {', '.join(dialect.turns)} |" in page


@pytest.mark.parametrize("dialect", DIALECTS)
def test_words_voice_and_query_arrive_whole(dialect: str, requests: list[Request]) -> None:
    with ScriptedRealtimeServer(dialect, delay=0.1) as server:
        reply = reply_of(server, requests[0])
        session = server.sessions[0]
    assert reply.text == "I hear you."
    assert reply.audio.sample_rate == 24_000
    np.testing.assert_array_equal(
        np.rint(reply.audio.samples * 32768), np.frombuffer(server.voice, dtype="<i2")
    )
    rate = DIALECTS[dialect].input_rate
    expected, _ = read_mono(requests[0].audio.path, rate=rate)
    received = np.frombuffer(bytes(session.query), dtype="<i2") / 32767
    np.testing.assert_allclose(received, np.clip(expected, -1, 1), atol=1e-4)
    assert session.first_audio_seconds is not None
    assert reply.first_audio_seconds == pytest.approx(session.first_audio_seconds, abs=0.05)
    assert reply.first_audible_seconds == pytest.approx(reply.first_audio_seconds + 0.1, abs=0.02)
    assert 0 < reply.round_trip_seconds < 0.1
    assert (reply.interruptions, reply.finish_reason) == (0, "stop")
    assert (reply.usage["prompt_tokens"], reply.usage["completion_tokens"]) == (10, 20)


@pytest.mark.parametrize(
    ("dialect", "pace"),
    [*((dialect, "at_once") for dialect in VAD), ("openai", "real_time"), ("gemini", "real_time")],
)
def test_the_server_finds_the_end_of_the_query(dialect: str, pace: str, tmp_path: Path) -> None:
    with ScriptedRealtimeServer(dialect) as server:
        reply = reply_of(server, spoken(tmp_path, 0.4), turn="vad", pace=pace)
    assert (reply.text, reply.interruptions) == ("I hear you.", 0)
    if pace == "real_time":  # the pause by which the server detects the end is part of the latency
        assert 0.4 < reply.first_audio_seconds < 0.8


def cases() -> Iterator[tuple[str, str]]:
    """Yield faults and the dialects in which they are tried: every one that shows them."""
    for name, fault in REALTIME_FAULTS.items():
        if name != "interrupted":
            yield from ((name, dialect) for dialect in fault.dialects or DIALECTS)


@pytest.mark.parametrize(("fault", "dialect"), [*cases()])
def test_kinds_of_faults(
    fault: str,
    dialect: str,
    servers: dict[str, ScriptedRealtimeServer],
    query: Request,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("echat_eval.systems.live.collected.MAX_SECONDS", 60.0)
    kind, server = REALTIME_FAULTS[fault], servers[dialect]
    server.fault = fault
    timeout = 0.3 if fault == "silence" else 5.0
    if kind.outcome == "value":
        reply = reply_of(server, query, timeout=timeout)
        assert reply.text == "I hear you."
        rate = 16_000 if fault == "other-rate" else 24_000
        assert (reply.audio.sample_rate, len(reply.audio.samples)) == (rate, len(server.voice) // 2)
        return
    expected = {"missing": Unavailable, "failed": SystemFailure, "stop": UsageError}[kind.outcome]
    with pytest.raises(expected) as caught:
        reply_of(server, query, timeout=timeout)
    text = str(caught.value)
    assert "\n" not in text
    assert kind.line in text
    if isinstance(caught.value, Unavailable):
        assert caught.value.overloaded == (fault not in ("close-mid-reply", "cut-mid-reply"))
        assert (caught.value.retry_after == 0.25) == (fault == "rate-limit")


@pytest.mark.parametrize("dialect", REALTIME_FAULTS["interrupted"].dialects)
def test_an_interrupted_reply_does_not_count(dialect: str, tmp_path: Path) -> None:
    request = spoken(tmp_path, 0.3, 0.7, 0.4)
    with ScriptedRealtimeServer(dialect, "interrupted", voice=scripted_voice(tone=1.5)) as server:
        reply = reply_of(server, request, turn="vad", pace="real_time")
    assert reply.interruptions == 1
    assert reply.text == "I hear you."
    assert len(reply.audio.samples) == len(server.voice) // 2


def test_a_query_of_silence_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("echat_eval.systems.live.session.TURN_SECONDS", 0.3)
    with (
        ScriptedRealtimeServer() as server,
        pytest.raises(SystemFailure, match=r"began no reply within 3\.3 s .* found no end of the query"),
    ):
        reply_of(server, spoken(tmp_path, 0.0, 0.5), turn="vad")


def test_the_query_is_sent_as_it_is_spoken_or_at_once(tmp_path: Path) -> None:
    request = spoken(tmp_path, 0.5)
    with ScriptedRealtimeServer() as server:
        reply_of(server, request, pace="real_time")
        reply_of(server, request, pace="at_once")
    slow, fast = (session.chunks[-1] - session.chunks[0] for session in server.sessions)
    assert 0.4 < slow < 0.7
    assert fast < 0.2
    assert len(server.sessions[0].query) == len(server.sessions[1].query)


@pytest.mark.parametrize("dialect", ["openai", "gemini"])
def test_many_sessions_at_once_lose_no_sample(dialect: str, tmp_path: Path) -> None:
    """The short form of bench/realtime/run.py, whose times depend on the machine."""
    rng = np.random.default_rng(5)
    rate = DIALECTS[dialect].input_rate
    requests = []
    for number in range(25):
        samples = rng.uniform(-0.3, 0.3, int(0.3 * rate)).astype(np.float32)
        audio = write_wav(Waveform(samples=samples, sample_rate=rate), tmp_path)
        requests.append(Request(id=str(number), audio=audio, language="en"))

    async def all_at_once(system: Realtime) -> list[Reply]:
        return await asyncio.gather(*(system.respond(request) for request in requests))

    voice = scripted_voice(silence=0.05, tone=0.35)
    with (
        ScriptedRealtimeServer(dialect, voice=voice, real_time=True) as server,
        live(server, pace="real_time", calls_at_once=25, timeout=20.0) as system,
    ):
        replies = event_loop.run(all_at_once(system))
        received = [bytes(session.query) for session in server.sessions]
    whole = np.frombuffer(voice, dtype="<i2").astype(np.float32) / 32768
    for reply in replies:
        assert isinstance(reply.audio, Waveform)
        np.testing.assert_array_equal(reply.audio.samples, whole)
    sent = [np.rint(read_mono(r.audio.path, rate=rate)[0] * 32767).astype("<i2").tobytes() for r in requests]
    assert sorted(received) == sorted(sent)


def test_set_up_in_every_form(requests: list[Request]) -> None:
    options = {"voice": "sage", "system_prompt": "Be kind.", "max_tokens": 50, "reasoning_effort": "low"}
    sent = {}
    for dialect in ("openai", "beta", "xai", "gemini"):
        with ScriptedRealtimeServer(dialect) as server:
            reply_of(server, requests[0], **options)
            sent[dialect] = server.sessions[0].messages[0]
    session = sent["openai"]["session"]
    assert session["audio"]["input"] == {
        "format": {"type": "audio/pcm", "rate": 24_000},
        "turn_detection": None,
    }
    assert session["audio"]["output"]["voice"] == "sage"
    assert (session["type"], session["output_modalities"]) == ("realtime", ["audio"])
    assert (session["instructions"], session["max_output_tokens"]) == ("Be kind.", 50)
    assert session["reasoning"] == {"effort": "low"}
    session = sent["beta"]["session"]
    assert (session["modalities"], session["voice"]) == (["text", "audio"], "sage")
    assert session["input_audio_format"] == "pcm16"
    assert session["turn_detection"] is None
    assert sent["xai"]["session"]["turn_detection"] == {"type": None}
    setup = sent["gemini"]["setup"]
    assert setup["model"] == "models/scripted"
    assert setup["systemInstruction"] == {"parts": [{"text": "Be kind."}]}
    assert setup["realtimeInputConfig"] == {"automaticActivityDetection": {"disabled": True}}


def test_earlier_turns_and_a_question(requests: list[Request]) -> None:
    turns = (
        Turn(role="user", audio=requests[1].audio, text="Well."),
        Turn(role="assistant", text="Go on."),
    )
    request = replace(requests[0], history=turns, instruction="Which emotion?")
    with ScriptedRealtimeServer() as server:
        reply_of(server, request)
        messages = server.sessions[0].messages
    assert messages[0]["session"]["instructions"] == "Which emotion?"
    user, assistant = (message["item"] for message in messages[1:3])
    assert user["content"][0]["type"] == "input_audio"
    assert assistant == {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "Go on."}],
    }
    with ScriptedRealtimeServer("gemini") as server:
        reply_of(server, request)
        content = server.sessions[0].messages[1]["clientContent"]
    assert content["turns"] == [{"role": "user", "parts": [{"text": "Well."}]}]
    for dialect in ("dynamo", "vllm-omni"):
        with ScriptedRealtimeServer(dialect) as server, pytest.raises(NotApplicable, match="earlier turns"):
            reply_of(server, request)


def test_a_key_goes_to_its_service_only(requests: list[Request], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai-1")
    monkeypatch.setenv("XAI_API_KEY", "xai-secret-1")
    monkeypatch.delenv("ECHAT_EVAL_API_KEY", raising=False)
    with ScriptedRealtimeServer(key="mine-12345") as server:
        with pytest.raises(UsageError, match="401"):
            reply_of(server, requests[0])
        assert "authorization" not in server.sessions[0].headers
        monkeypatch.setenv("MY_KEY", "mine-12345")
        assert reply_of(server, requests[0], key_from="MY_KEY").text
        with live(server, key_from="MY_KEY") as system:
            assert "mine-12345" not in json.dumps(dict(system.settings()))
    monkeypatch.delenv("MY_KEY")
    with ScriptedRealtimeServer() as server, pytest.raises(UsageError, match="set MY_KEY"):
        reply_of(server, requests[0], key_from="MY_KEY")
    monkeypatch.delenv("XAI_API_KEY")
    with pytest.raises(UsageError, match="no API key for xAI: set ECHAT_EVAL_API_KEY or XAI_API_KEY"):
        Realtime("grok-voice", dialect="xai").load()
    with ScriptedRealtimeServer("gemini", key="mine-12345") as server:
        monkeypatch.setenv("ECHAT_EVAL_API_KEY", "mine-12345")
        assert reply_of(server, requests[0]).text
        assert "mine" not in server.sessions[0].path


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"dialect": "beta"}, "has no service of its own; give --set url="),
        ({"dialect": "vllm-omni", "url": "ws://h/v1/realtime", "turn": "vad"}, "has commit only"),
        ({"dialect": "vllm-omni", "url": "ws://h/v1/realtime", "voice": "a"}, "no choice of a voice"),
        ({"url": "ftp://h/"}, "expected ws://host:port/path or wss://host/path"),
        ({"url": "wss://a:b@h/"}, "contains a user name or password"),
        ({"input_rate": 7}, "input_rate=7: expected 8000 to 48000 Hz"),
        ({"turn": "maybe"}, "expected commit or vad"),
        ({"pace": "slow"}, "expected at_once or real_time"),
        ({"dialect": "doubao"}, "dialect='doubao': expected"),
    ],
)
def test_invalid_settings_are_named(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        build_system("realtime:m", settings)
    assert reason in str(caught.value)


def test_modes_are_part_of_the_settings_and_private_data_stay() -> None:
    by_turn = [build_system("realtime:m", {"turn": turn}).settings() for turn in ("commit", "vad")]
    by_pace = [build_system("realtime:m", {"pace": pace}).settings() for pace in ("at_once", "real_time")]
    assert by_turn[0] != by_turn[1]
    assert by_pace[0] != by_pace[1]
    receivers = receivers_of([build_system("realtime:m")], [])
    assert [receiver.host for receiver in receivers] == ["api.openai.com"]
    with pytest.raises(UsageError, match=r"private data, and api\.openai\.com gets query audio"):
        refuse_private_data(["mine"], receivers, ())
    local = build_system("realtime:m", {"url": "ws://127.0.0.1:8091/v1/realtime", "dialect": "vllm-omni"})
    assert receivers_of([local], [])[0].local


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_passes_its_check(dialect: str) -> None:
    with ScriptedRealtimeServer(dialect) as server, live(server, timeout=20.0) as system:
        findings = list(check_system(system, seconds=20))
    assert [finding for finding in findings if finding.outcome == "fail"] == []
    assert any(finding.check == "4 calls at once" for finding in findings)
    held = [finding.outcome for finding in findings if finding.check == "session of two turns"]
    assert held == (["pass"] if DIALECTS[dialect].keeps_turns else [])


def test_the_query_cannot_be_read(tmp_path: Path) -> None:
    request = spoken(tmp_path, 0.2)
    request.audio.path.write_bytes(b"RIFF")
    with ScriptedRealtimeServer() as server, pytest.raises(RowError, match="cannot be read"):
        reply_of(server, request)
    assert audio_ref(spoken(tmp_path / "b", 0.2).audio.path).seconds == pytest.approx(0.2)


def test_the_next_call_holds_a_new_session_after_one_that_broke(query: Request) -> None:
    with ScriptedRealtimeServer() as server, live(server) as system:
        for fault in ("expired", "cut-mid-reply"):
            server.fault = fault
            with pytest.raises(Unavailable):
                event_loop.call(system.respond, query)
            server.fault = None
            assert event_loop.call(system.respond, query).text == "I hear you."
        assert len(server.sessions) == 4
