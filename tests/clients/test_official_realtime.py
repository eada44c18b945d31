"""The scripted live server beside OpenAI's own realtime client, which reads every event of it."""

from __future__ import annotations

import asyncio
import base64

import openai
import pytest

from echat_eval.testing import ScriptedRealtimeServer


async def conversation(url: str) -> tuple[str, bytes, list[str]]:
    """Hold one turn with the official client, and return the words, the voice and the names of all events."""
    client = openai.AsyncOpenAI(api_key="sk-scripted", websocket_base_url=url.removesuffix("/realtime"))
    words, voice = "", b""
    names: list[str] = []
    async with client.realtime.connect(model="scripted") as connection:
        await connection.session.update(
            session={
                "type": "realtime",
                "output_modalities": ["audio"],
                "audio": {
                    "input": {"format": {"type": "audio/pcm", "rate": 24_000}, "turn_detection": None},
                    "output": {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": "sage"},
                },
            }
        )
        await connection.input_audio_buffer.append(audio=base64.b64encode(bytes(4800)).decode())
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
                break
    await client.close()
    return words, voice, names


@pytest.mark.parametrize("fault", [None, "split-frames", "unknown-events"])
def test_the_official_client_talks_to_the_scripted_server(fault: str | None) -> None:
    with ScriptedRealtimeServer(key="sk-scripted", fault=fault) as server:
        words, voice, names = asyncio.run(conversation(server.url))
        session = server.sessions[0]
    assert (words, voice) == ("I hear you.", server.voice)
    assert names[:2] == ["session.created", "session.updated"]
    assert len(session.query) == 4800
    assert "model=scripted" in session.path
