"""Live dialogues in one lasting session: each turn arrives in it, and a session that breaks is held again whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echat_eval.concurrency import event_loop
from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.errors import NotApplicable
from echat_eval.io.audio import read_mono, write_wav
from echat_eval.records import Reply, Request, Response, Turn, Waveform
from echat_eval.store.keys import request_for
from echat_eval.systems.realtime import DIALECTS, Realtime
from echat_eval.task import Task, load_task
from echat_eval.testing import ScriptedRealtimeServer
from echat_eval.testing.realtime_conversation import LiveSession
from tests.support.scripted_run import evaluated
from tests.support.tones import write_dialogues

KEEPS = [name for name, dialect in DIALECTS.items() if dialect.keeps_turns]
#: The scripted server counts the turns of each of its sessions.
WORDS = ("reply {turn}", ".")


@pytest.fixture
def task(tmp_path: Path) -> Task:
    """One dialogue of three turns."""
    write_dialogues(tmp_path, groups=1)
    found = load_task("emotion", data=tmp_path)
    return replace(found, samples=(replace(found.samples[0], contrast_group=None),))


@contextmanager
def live(server: ScriptedRealtimeServer, **settings: Any) -> Iterator[Realtime]:
    options = {"pace": "at_once", "timeout": 5.0, "dialect": server.dialect, **settings}
    system = Realtime("scripted", url=server.url, **options)
    yield system
    system.close()


def response_of(
    server: ScriptedRealtimeServer, task: Task, out: Path, tries: int = 1, **settings: Any
) -> Response:
    with live(server, **settings) as system:
        policy = RetryPolicy(tries=tries, first_wait=0.0)
        (response,) = evaluated(out, task, system, retry_policy=policy).responses().values()
    return response


def words_of(response: Response) -> list[str | None]:
    assert response.reply is not None, response.reason
    return [*(reply.text for reply in response.turns or ()), response.reply.text]


def sounds_of(task: Task, rate: int) -> list[Any]:
    """Return the samples of every turn of the user."""
    (sample,) = task.samples
    audios = [*(turn.audio for turn in sample.turns or ()), sample.audio]
    return [read_mono(audio.path, rate=rate)[0] for audio in audios if audio is not None]


def test_the_dialects_whose_servers_remember() -> None:
    assert KEEPS == ["openai", "beta", "xai", "gemini"]


@pytest.mark.parametrize("dialect", KEEPS)
def test_every_turn_arrives_in_the_same_session_and_nothing_is_sent_again(
    dialect: str, task: Task, tmp_path: Path
) -> None:
    with ScriptedRealtimeServer(dialect, words=WORDS) as server:
        response = response_of(server, task, tmp_path / "run")
        (session,) = server.sessions
    assert words_of(response) == ["reply 1.", "reply 2.", "reply 3."]
    assert len(session.queries) == 3
    for received, expected in zip(
        session.queries, sounds_of(task, DIALECTS[dialect].input_rate), strict=True
    ):
        found = np.frombuffer(received, dtype="<i2") / 32767
        np.testing.assert_allclose(found, np.clip(expected, -1, 1), atol=1e-4)
    sent = " ".join(map(str, session.messages))
    assert sent.count("session.update") + sent.count("setup") == 1
    assert "conversation.item.create" not in sent
    assert "clientContent" not in sent
    for reply in (*(response.turns or ()), response.reply):
        assert isinstance(reply, Reply)
        assert reply.first_audio_seconds is not None
        assert reply.first_audible_seconds is not None
        assert reply.interruptions == 0


@pytest.mark.parametrize("dialect", KEEPS)
def test_the_server_finds_the_end_of_every_turn(dialect: str, task: Task, tmp_path: Path) -> None:
    with ScriptedRealtimeServer(dialect, words=WORDS) as server:
        response = response_of(server, task, tmp_path / "run", turn="vad")
        (session,) = server.sessions
    assert words_of(response) == ["reply 1.", "reply 2.", "reply 3."]
    assert len(session.turn_ends) == 3


@pytest.mark.parametrize("dialect", sorted(set(DIALECTS) - set(KEEPS)))
def test_a_dialect_whose_sessions_have_one_turn_gets_none(dialect: str, task: Task, tmp_path: Path) -> None:
    with ScriptedRealtimeServer(dialect) as server:
        response = response_of(server, task, tmp_path / "run")
        assert server.sessions == []
    assert response.state == "not applicable"
    assert response.reason == f"dialect={dialect} has no earlier turns: each utterance stands alone"


def turns_of(sessions: list[LiveSession]) -> list[int]:
    return [len(session.queries) for session in sessions]


@pytest.mark.parametrize("dialect", KEEPS)
@pytest.mark.parametrize(
    ("fault", "turn", "line"),
    [
        ("expired", 2, "Your session hit the maximum duration of 60 minutes."),
        ("leaves", 1, "the server closed the connection (code 1000) before its end"),
    ],
)
def test_a_session_that_expires_is_held_again_whole(
    fault: str, turn: int, line: str, dialect: str, task: Task, tmp_path: Path
) -> None:
    with ScriptedRealtimeServer(dialect, fault, fault_turn=turn, words=WORDS) as server:
        response = response_of(server, task, tmp_path / "run", tries=2)
        assert (response.state, response.tries) == ("missing", 2)
        assert response.reason is not None
        assert response.reason.startswith("turn 2 of 3: ws://127.0.0.1:")
        assert line in response.reason
        assert "\n" not in response.reason
        # Each try begins with the first turn, in a session of its own.
        assert turns_of(server.sessions) == ([2, 2] if fault == "expired" else [1, 1])
        server.fault = None
        again = response_of(server, task, tmp_path / "run")
        assert words_of(again) == ["reply 1.", "reply 2.", "reply 3."]
        assert turns_of(server.sessions)[2:] == [3]


@pytest.mark.parametrize("dialect", KEEPS)
@pytest.mark.parametrize("fault", ["two-responses", "wrong-order"])
def test_a_second_reply_to_a_turn_is_no_reply_to_the_next(
    fault: str, dialect: str, task: Task, tmp_path: Path
) -> None:
    with ScriptedRealtimeServer(dialect, fault, words=WORDS) as server:
        response = response_of(server, task, tmp_path / "run")
    assert words_of(response) == ["reply 1.", "reply 2.", "reply 3."]


def test_at_real_time_a_turn_begins_when_the_reply_before_it_was_played(task: Task, tmp_path: Path) -> None:
    with ScriptedRealtimeServer(words=WORDS) as server:
        response = response_of(server, task, tmp_path / "run", pace="real_time")
        (session,) = server.sessions
    voice = len(server.voice) / 2 / server.rate
    pieces = round(len(session.queries[0]) / len(session.query) * len(session.chunks))
    assert session.first_audio is not None
    assert session.chunks[pieces] - session.first_audio > voice
    assert response.seconds is not None
    assert response.seconds < voice  # neither the query's time nor the wait


def test_a_question_in_the_last_turn_changes_the_instructions(task: Task) -> None:
    (sample,) = task.samples
    first = replace(request_for(sample), turns=None)
    question = replace(first, history=(Turn(role="user", audio=first.audio),), instruction="Which emotion?")

    def hold(server: ScriptedRealtimeServer) -> Reply:
        async def both(system: Realtime) -> Reply:
            session = system.open_session(first)
            try:
                await session.respond(first)
                return await session.respond(question)
            finally:
                await session.close()

        with live(server, system_prompt="Be kind.") as system:
            return event_loop.run(both(system))

    for dialect in ("openai", "beta", "xai"):
        with ScriptedRealtimeServer(dialect, words=WORDS) as server:
            assert hold(server).text == "reply 2."
            updates = [m for m in server.sessions[0].messages if m["type"] == "session.update"]
        assert [update["session"]["instructions"] for update in updates] == [
            "Be kind.",
            "Be kind.\n\nWhich emotion?",
        ]
    with (
        ScriptedRealtimeServer("gemini") as server,
        pytest.raises(NotApplicable, match="cannot take a question in the middle of a session"),
    ):
        hold(server)


def test_the_size_of_a_turn_holds_what_the_server_remembers(tmp_path: Path) -> None:
    def tone(seconds: float) -> Any:
        samples = np.full(int(16_000 * seconds), 0.1, dtype=np.float32)
        return write_wav(Waveform(samples=samples, sample_rate=16_000), tmp_path)

    own = Turn(role="assistant", text="Yes.", audio=tone(2.0))
    request = Request(id="r", audio=tone(1.0), language="en")
    for dialect in ("openai", "gemini"):
        system = Realtime("m", url="ws://127.0.0.1:9/v1/realtime", dialect=dialect)
        live_turn = replace(request, history=(Turn(role="user", audio=tone(4.0)), own))
        assert system.size_of(live_turn).audio_seconds == 7.0
        assert system.size_of(request).audio_seconds == 1.0
    written = replace(request, history=(Turn(role="user", text="Hm.", audio=tone(4.0)), own))
    assert system.size_of(written).audio_seconds == 1.0  # gemini gets earlier turns as text
