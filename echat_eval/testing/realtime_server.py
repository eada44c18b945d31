"""A scripted live server on loopback, in every dialect, with faults.

The messages are written from the services' documents and share nothing with the client.
"""

from __future__ import annotations

import asyncio
import math
import threading
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from echat_eval.testing.realtime_conversation import Conversation, LiveSession
from echat_eval.testing.realtime_faults import REALTIME_FAULTS

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["LiveSession", "ScriptedRealtimeServer", "scripted_voice"]


class ScriptedRealtimeServer:
    """A live server on loopback. Use it as a context manager, or call `close`.

    Args:
        dialect: as the setting of the system `realtime`.
        fault: key of `REALTIME_FAULTS`, or None.
        fault_turn: number of the turn of a session in whose reply the fault shows.
        words: of the reply, in pieces; "{turn}" becomes the number of the turn in its session.
        voice: 16-bit samples of the reply; by default 0.1 s of silence and 0.4 s of a tone.
        rate: Hz of the voice.
        delay: seconds from the end of the query to the first audio.
        real_time: send the voice as fast as it is spoken.
        key: the key that a client must send; None: any.

    Attributes:
        url: "ws://127.0.0.1:PORT/v1/realtime".
        sessions: of all clients, in order.

    A test may replace `fault`, `fault_turn`, `delay`, `words` and `voice`.
    """

    def __init__(
        self,
        dialect: str = "openai",
        fault: str | None = None,
        *,
        fault_turn: int = 1,
        words: Sequence[str] = ("I hear ", "you."),
        voice: bytes | None = None,
        rate: int = 24_000,
        delay: float = 0.0,
        real_time: bool = False,
        key: str | None = None,
    ) -> None:
        self.dialect, self.words, self.rate = dialect, tuple(words), rate
        self.fault, self.fault_turn = fault, fault_turn
        self.voice = scripted_voice(rate) if voice is None else voice
        self.delay, self.real_time, self.key = delay, real_time, key
        self.sessions: list[LiveSession] = []
        self._loop = asyncio.new_event_loop()
        self._port = 0
        self._started, self._stop = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._started.wait(10)
        self.url = f"ws://127.0.0.1:{self._port}/v1/realtime"

    def close(self) -> None:
        """Stop the server."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def __enter__(self) -> Self:
        """Return the server, which already runs."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server."""
        self.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        from aiohttp import web

        app = web.Application()
        app.router.add_get("/v1/realtime", self._handle)
        app.router.add_get("/v1/models", self._models)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._port = runner.addresses[0][1]
        self._started.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _models(self, request: web.Request) -> web.Response:
        from aiohttp import web

        return web.json_response({"object": "list", "data": [{"id": "scripted", "object": "model"}]})

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        from aiohttp import web

        session = LiveSession(
            path=request.path_qs, headers={name.lower(): value for name, value in request.headers.items()}
        )
        self.sessions.append(session)
        fault = REALTIME_FAULTS.get(self.fault or "")
        if fault is not None and fault.handshake is not None:
            status, body, headers = fault.handshake
            return web.json_response(body, status=status, headers=headers)
        if self.key is not None and not self._has_key(session):
            return web.json_response({"error": {"message": "Incorrect API key provided."}}, status=401)
        socket = web.WebSocketResponse(max_msg_size=0, timeout=0.2)
        await socket.prepare(request)
        await Conversation(self, session, socket, request).run()
        return socket

    def _has_key(self, session: LiveSession) -> bool:
        sent = session.headers.get("authorization", "").removeprefix("Bearer ")
        return self.key in (sent, session.headers.get("x-goog-api-key"))


def scripted_voice(rate: int = 24_000, silence: float = 0.1, tone: float = 0.4) -> bytes:
    """Return 16-bit samples: silence, then a tone of 220 Hz."""
    samples = array("h", bytes(2 * int(rate * silence)))
    samples.extend(int(9000 * math.sin(2 * math.pi * 220 * n / rate)) for n in range(int(rate * tone)))
    return samples.tobytes()
