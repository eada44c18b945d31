"""Live sessions with a scripted model: clients, misuse, limits, and the end of the server."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import aiohttp
import openai
import pytest

from echat_eval.concurrency import event_loop
from echat_eval.errors import ServerRefusal, SystemFailure, Unavailable, UsageError
from echat_eval.io.audio import read_mono
from echat_eval.io.hashing import sha256_of
from echat_eval.records import Request, Turn
from echat_eval.serve.sound import pcm16, wav_header
from echat_eval.systems.realtime import Realtime
from tests.support.running_server import RunningServer, served
from tests.support.scripted_answerer import RATE, ScriptedAnswerer, scripted_voice

PIECE = base64.b64encode(bytes(9600)).decode()
AUDIO = {"type": "input_audio_buffer.append", "audio": PIECE}
COMMIT, REPLY = {"type": "input_audio_buffer.commit"}, {"type": "response.create"}


@pytest.fixture(scope="module")
def model() -> ScriptedAnswerer:
    return ScriptedAnswerer()


@pytest.fixture(scope="module")
def server(model: ScriptedAnswerer) -> Iterator[RunningServer]:
    with served(model, body_bytes=200_000, audio_seconds=3.0) as running:
        yield running


@pytest.fixture(autouse=True)
def calm(model: ScriptedAnswerer) -> Iterator[None]:
    yield
    model.fault = model.refusal = None
    model.hold.set()


def system_for(server: RunningServer, **settings: Any) -> Realtime:
    return Realtime("tiny", url=server.live, **{"pace": "at_once", "timeout": 20.0, **settings})


def reply_of(server: RunningServer, request: Request, **settings: Any) -> Any:
    system = system_for(server, **settings)
    try:
        return event_loop.call(system.respond, request)
    finally:
        system.close()


class Client:
    """A client that sends what it likes."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def send(self, *messages: Any) -> None:
        for message in messages:
            await self.socket.send_str(message if isinstance(message, str) else json.dumps(message))

    async def until(self, kind: str) -> dict[str, Any]:
        """Return the next event of a kind."""
        while True:
            event = await self.socket.receive_json(timeout=20)
            assert isinstance(event["event_id"], str)
            if event["type"] == kind:
                return dict(event)

    async def error(self, *messages: Any) -> dict[str, Any]:
        """Return the error that messages lead to."""
        await self.send(*messages)
        return dict((await self.until("error"))["error"])


def hold(
    server: RunningServer, work: Callable[[Client], Awaitable[None]], headers: Mapping[str, str] = {}
) -> None:
    async def main() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(server.live, headers=headers) as socket,
        ):
            await work(Client(socket))

    asyncio.run(main())


@pytest.mark.parametrize("rate", [None, RATE])
def test_the_harness_gets_words_and_voice(
    server: RunningServer, model: ScriptedAnswerer, requests: list[Request], rate: int | None
) -> None:
    turns = (Turn(role="user", audio=requests[1].audio), Turn(role="assistant", text="Go on."))
    request = Request(id="r", audio=requests[0].audio, language="en", history=turns)
    reply = reply_of(server, request, output_rate=rate, voice="ann", max_tokens=40)
    assert (reply.text, reply.finish_reason) == ("I hear you.", "stop")
    assert (reply.usage["prompt_tokens"], reply.usage["completion_audio_tokens"]) == (10, 15)
    assert reply.audio.sample_rate == (rate or 24_000)
    assert len(reply.audio.samples) == reply.audio.sample_rate // 2
    if rate is not None:
        assert (reply.audio.samples * 32768).astype("<i2").tobytes() == pcm16(scripted_voice().samples)
    question = model.questions[-1]
    assert (question.max_tokens, question.spoken, question.request.instruction) == (40, True, None)
    (user, assistant) = question.request.history
    assert (user.role, user.audio is None, assistant.text) == ("user", False, "Go on.")
    mono, _ = read_mono(requests[0].audio.path, rate=24_000)
    content = pcm16(mono)
    assert question.request.audio.sha256 == sha256_of(wav_header(24_000, len(content)) + content)


def test_the_harness_holds_a_dialogue(
    server: RunningServer, model: ScriptedAnswerer, requests: list[Request]
) -> None:
    system = system_for(server, audio_out=False)

    async def dialogue() -> None:
        session = system.open_session(requests[0])
        for request in requests[:3]:
            assert (await session.respond(request)).text == "I hear you."
        await session.close()

    event_loop.run(dialogue())
    system.close()
    roles = [(turn.role, turn.text) for turn in model.questions[-1].request.history]
    assert roles == [("user", None), ("assistant", "I hear you.")] * 2
    assert not model.questions[-1].spoken


async def official(server: RunningServer, key: str = "none") -> tuple[str, bytes, list[str]]:
    client = openai.AsyncOpenAI(api_key=key, websocket_base_url=server.live.removesuffix("/realtime"))
    words, voice, names = "", b"", list[str]()
    async with client.realtime.connect(model="tiny") as connection:
        await connection.session.update(
            session={
                "type": "realtime",
                "output_modalities": ["audio"],
                "audio": {
                    "input": {"format": {"type": "audio/pcm", "rate": 24_000}, "turn_detection": None},
                    "output": {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": "ann"},
                },
            }
        )
        await connection.input_audio_buffer.append(audio=PIECE)
        await connection.input_audio_buffer.commit()
        await connection.response.create()
        async for event in connection:
            names.append(event.type)
            if event.type == "response.output_audio.delta":
                voice += base64.b64decode(event.delta)
            elif event.type == "response.output_audio_transcript.delta":
                words += event.delta
            elif event.type == "response.done":
                assert event.response.status == "completed"
                assert event.response.usage is not None
                assert event.response.usage.output_tokens == 20
                break
    await client.close()
    return words, voice, names


def test_the_official_client_gets_words_and_voice(server: RunningServer) -> None:
    words, voice, names = asyncio.run(official(server))
    assert (words, len(voice)) == ("I hear you.", 2 * 12_000)
    order = ["session.created", "session.updated", "input_audio_buffer.committed", "response.created"]
    order += ["response.output_audio.done", "response.output_item.done", "response.done"]
    assert [name for name in names if name in order] == order


MISUSE: list[tuple[Any, str, str | None]] = [
    ("{", "the message is not strict JSON", None),
    ("[1]", "the message is a list", None),
    ({"type": "response.creat"}, "unknown event 'response.creat'. Did you mean 'response.create'?", "type"),
    (REPLY, "nothing to reply to: the last turn must be the user's voice", None),
    (COMMIT, "the buffer is empty", None),
    ({"type": "response.cancel"}, "no reply is in progress", None),
    ({"type": "input_audio_buffer.append", "audio": "?"}, "the audio is not base64", "audio"),
    ({"type": "input_audio_buffer.append"}, "append needs audio in base64", "audio"),
    ({"type": "conversation.item.delete", "item_id": "x"}, "no item 'x'", "item_id"),
    (
        {"type": "conversation.item.create", "item": {"type": "message", "role": "user"}},
        "is empty",
        "item.content",
    ),
]
SETTINGS: list[tuple[Any, str]] = [
    ({"voice": "x"}, "unknown parameter 'session.voice'"),
    ({"audio": {"output": {"voice": "marin"}}}, "'voice' is 'marin'; this server has 'ann'"),
    ({"audio": {"input": {"turn_detection": {"type": "server_vad"}}}}, "'audio.input.turn_detection' is"),
    ({"audio": {"input": {"format": {"type": "audio/pcmu"}}}}, "expected audio/pcm"),
    ({"instructions": "Be kind."}, "mode 's2s' takes no instruction"),
    ({"model": "gpt"}, "this server has 'tiny'"),
    ({"max_output_tokens": 10_000}, 'expected "inf" or a whole number from 1 to 500'),
    ({"tools": [{}]}, "this server has no such ability"),
]


def test_misuse_is_one_error_event_and_the_session_goes_on(server: RunningServer) -> None:
    async def misuse(client: Client) -> None:
        created = (await client.until("session.created"))["session"]
        for message, words, param in MISUSE:
            error = await client.error(message)
            assert words in error["message"], error
            assert error["param"] == param
        for session, words in SETTINGS:
            error = await client.error({"type": "session.update", "event_id": "mine", "session": session})
            assert words in error["message"], error
            assert (error["event_id"], error["param"].split(".")[0] in ("session", "model")) == ("mine", True)
        await client.send({"type": "session.update", "session": {}})
        assert (await client.until("session.updated"))["session"] == created
        await client.send(AUDIO)
        slow = {"audio": {"input": {"format": {"rate": 16_000}}}}
        error = await client.error({"type": "session.update", "session": slow})
        assert "the rate cannot change while audio is in the buffer" in error["message"]
        for _ in range(14):
            await client.send(AUDIO)
        assert "more than 3 s of audio" in (await client.error(AUDIO))["message"]
        await client.send({"type": "input_audio_buffer.clear"}, AUDIO, COMMIT, REPLY)
        await client.until("response.done")

    hold(server, misuse)


def test_items_are_kept_and_only_one_reply_is_in_progress(
    server: RunningServer, model: ScriptedAnswerer
) -> None:
    async def talk(client: Client) -> None:
        user = {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": PIECE}]}
        await client.send({"type": "conversation.item.create", "item": user | {"id": "mine"}})
        added = await client.until("conversation.item.added")
        assert (added["item"]["id"], "audio" in added["item"]["content"][0]) == ("mine", False)
        model.hold.clear()
        await client.send(REPLY)
        await client.until("response.created")
        assert "a reply is in progress" in (await client.error(REPLY))["message"]
        await client.send({"type": "response.cancel"})
        done = (await client.until("response.done"))["response"]
        assert (done["status"], done["status_details"]["reason"]) == ("cancelled", "client_cancelled")
        assert done["output"][0]["content"][0]["transcript"] == "I hear "
        model.hold.set()
        await client.send(
            AUDIO, COMMIT, {"type": "response.create", "response": {"output_modalities": ["text"]}}
        )
        item = (await client.until("response.done"))["response"]["output"][0]
        assert item["content"] == [{"type": "output_text", "text": "I hear you."}]
        await client.send({"type": "conversation.item.delete", "item_id": item["id"]})
        await client.until("conversation.item.deleted")
        assert (
            "no item"
            in (await client.error({"type": "conversation.item.retrieve", "item_id": item["id"]}))["message"]
        )

    hold(server, talk)
    history = model.questions[-1].request.history
    assert [(turn.role, turn.text) for turn in history] == [("user", None), ("assistant", "I hear ")]


def test_a_reply_that_is_cancelled_at_once_ends(server: RunningServer, model: ScriptedAnswerer) -> None:
    async def talk(client: Client) -> None:
        for _ in range(3):
            await client.send(AUDIO, COMMIT, REPLY, {"type": "response.cancel"})
            created = await client.until("response.created")
            done = await client.until("response.done")
            assert done["response"]["id"] == created["response"]["id"]
            assert done["response"]["status"] == "cancelled"
        model.hold.clear()
        await client.send(REPLY)
        await client.until("response.output_audio.delta")
        await client.send({"type": "response.cancel"})
        order = ["output_audio.done", "output_audio_transcript.done", "content_part.done", "output_item.done"]
        ends = [await client.until(f"response.{name}") for name in order]
        assert (ends[1]["transcript"], ends[3]["item"]["status"]) == ("I hear ", "incomplete")
        assert (await client.until("response.done"))["response"]["output"] == [ends[3]["item"]]

    hold(server, talk)


def test_a_full_queue_is_an_error_event_that_the_harness_retries(
    server: RunningServer, model: ScriptedAnswerer, requests: list[Request]
) -> None:
    model.refusal = Unavailable("4 requests wait, which is the limit; try again in 2 s", retry_after=2.0)
    with pytest.raises(Unavailable, match="which is the limit") as caught:
        reply_of(server, requests[0])
    assert (caught.value.overloaded, caught.value.retry_after) == (True, 2.0)
    model.refusal, model.fault = None, SystemFailure("the reply fell apart")
    with pytest.raises(Unavailable, match="the reply fell apart"):
        reply_of(server, requests[0])


def test_a_client_that_vanishes_frees_its_slot(server: RunningServer, model: ScriptedAnswerer) -> None:
    model.hold.clear()

    async def vanish(client: Client) -> None:
        await client.send(AUDIO, COMMIT, REPLY)
        await client.until("response.output_audio.delta")
        assert len(model.running) == 1
        transport = client.socket._writer.transport
        transport.abort()

    hold(server, vanish)
    server.until(lambda: not model.running and server.server.service.active == 0)


def test_handshakes_are_refused(
    requests: list[Request], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "echat_eval.serve")
    with served(ScriptedAnswerer(), key="sk-right-key", connections=1) as server:
        with pytest.raises(ServerRefusal, match="HTTP 401"):
            reply_of(server, requests[0])
        monkeypatch.setenv("ECHAT_EVAL_API_KEY", "sk-right-key")
        assert reply_of(server, requests[0]).text == "I hear you."
        other = Realtime("gpt", url=server.live)
        with pytest.raises(ServerRefusal, match="this server has 'tiny'"):
            event_loop.call(other.respond, requests[0])
        other.close()
        assert asyncio.run(official(server, "sk-right-key"))[0] == "I hear you."

        async def full(client: Client) -> None:
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await asyncio.to_thread(hold, server, lambda _: asyncio.sleep(0), headers)
            assert caught.value.status == 503

        headers = {"authorization": "Bearer sk-right-key"}
        hold(server, full, headers)
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            hold(server, full, headers | {"origin": "http://evil.example"})
        assert caught.value.status == 403
    lines = [f"{record.levelname}: {record.getMessage()}" for record in caplog.records]
    assert "INFO: 127.0.0.1: refused: the model 'gpt' does not exist here; this server has 'tiny'" in lines
    assert not [line for line in lines if line.startswith("ERROR")]


def test_sessions_expire(requests: list[Request]) -> None:
    async def wait(client: Client) -> None:
        assert (await client.until("error"))["error"]["code"] == "session_expired"
        assert (await client.socket.receive()).type is aiohttp.WSMsgType.CLOSE
        assert client.socket.close_code == 1001

    with served(ScriptedAnswerer(), idle_seconds=0.2) as server:
        hold(server, wait)
    with served(ScriptedAnswerer(), session_seconds=0.2) as server:
        hold(server, wait)


def test_a_server_that_ends_finishes_replies_and_closes_idle_sessions() -> None:
    model = ScriptedAnswerer()
    with served(model) as ending:

        async def talk(client: Client) -> None:
            async with aiohttp.ClientSession() as session, session.ws_connect(ending.live) as idle:
                await Client(idle).until("session.created")
                model.hold.clear()
                await client.send(AUDIO, COMMIT, REPLY)
                await client.until("response.created")
                ending.server.end()
                assert (await idle.receive()).type is aiohttp.WSMsgType.CLOSE
                assert idle.close_code == 1012
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await asyncio.to_thread(hold, ending, lambda _: asyncio.sleep(0))
            assert caught.value.status == 503
            model.hold.set()
            assert (await client.until("response.done"))["response"]["status"] == "completed"
            assert (await client.socket.receive()).type is aiohttp.WSMsgType.CLOSE

        hold(ending, talk)
        ending.thread.join(10)
        assert (ending.thread.is_alive(), ending.server.is_cut) == (False, False)


def test_a_reply_that_the_server_gives_up_fails(caplog: pytest.LogCaptureFixture) -> None:
    model = ScriptedAnswerer()
    with served(model) as ending:

        async def talk(client: Client) -> None:
            model.hold.clear()
            await client.send(AUDIO, COMMIT, REPLY)
            await client.until("response.output_audio.delta")
            ending.server.end()
            ending.server.end()
            details = (await client.until("response.done"))["response"]["status_details"]
            assert "ended before the reply was whole" in details["error"]["message"]
            assert (await client.socket.receive()).type is aiohttp.WSMsgType.CLOSE
            assert client.socket.close_code == 1012

        hold(ending, talk)
        ending.thread.join(10)
        assert ending.server.is_cut
    assert not [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


def test_settings_that_the_server_lacks_stop_a_run(requests: list[Request]) -> None:
    with served(ScriptedAnswerer(voice=None)) as server:
        assert reply_of(server, requests[0], audio_out=False).text == "I hear you."
        for settings, words in (({}, "no voice"), ({"turn": "vad", "audio_out": False}, "turn_detection")):
            with pytest.raises(UsageError, match=words):
                reply_of(server, requests[0], **settings)
