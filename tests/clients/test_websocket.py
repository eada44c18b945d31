"""The policy of WebSockets: proxies, TLS, limits of time and size, and the words of a closing server."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from echat_eval.clients.network import socket_url
from echat_eval.clients.websocket import Socket, SocketClient, open_socket
from echat_eval.concurrency import event_loop
from echat_eval.errors import EChatError, ServerRefusal, SystemFailure, Unavailable, UsageError
from echat_eval.testing import RawServer, ScriptedRealtimeServer


@contextmanager
def client() -> Iterator[SocketClient]:
    found = SocketClient()
    yield found
    found.close()


def exchange(url: str, use: Callable[[Socket], Any], **limits: Any) -> Any:
    """Open a socket, use it, and return what the use returns."""

    async def work(found: SocketClient) -> Any:
        options = {"timeout": 3.0, "max_bytes": 10**6, **limits}
        socket = await open_socket(found, socket_url(url, "url"), headers={}, timeout=options["timeout"])
        try:
            async with socket.exchange(**options):
                return await use(socket)
        finally:
            await socket.close()

    with client() as found:
        return event_loop.run(work(found))


async def greeting(socket: Socket) -> Any:
    await socket.ping()
    message, _ = await socket.receive()
    return message


async def for_ever(socket: Socket) -> None:
    while True:
        await socket.receive()


def test_messages_and_pings() -> None:
    async def use(socket: Socket) -> tuple[Any, float | None]:
        first = await greeting(socket)
        await socket.send(
            {"type": "session.update", "session": {"audio": {"input": {"turn_detection": None}}}}
        )
        await socket.receive()
        await asyncio.sleep(0.05)
        return first["type"], socket.round_trip

    with ScriptedRealtimeServer() as server:
        name, round_trip = exchange(server.url, use)
    assert name == "session.created"
    assert round_trip is not None
    assert 0 < round_trip < 0.1


def test_one_deadline_and_one_limit_of_size() -> None:
    with ScriptedRealtimeServer() as server:
        with pytest.raises(
            Unavailable, match=r"ws://127\.0\.0\.1:\d+/v1/realtime: no whole reply in 0\.2 s"
        ) as late:
            exchange(server.url, for_ever, timeout=0.2)
        assert late.value.overloaded
        with pytest.raises(SystemFailure, match="longer than 20 bytes"):
            exchange(server.url, for_ever, max_bytes=20)


def test_no_server_no_tls_and_no_websocket() -> None:
    with ScriptedRealtimeServer() as server:
        closed = server.url
        with pytest.raises((ServerRefusal, Unavailable), match="wss://127"):
            exchange(server.url.replace("ws:", "wss:"), greeting)
    with pytest.raises(Unavailable) as caught:
        exchange(closed, greeting)
    assert caught.value.never_sent
    with RawServer(lambda c: (c.write(b"SSH-2.0-x\r\n"), False)[1]) as raw, pytest.raises(Unavailable):
        exchange(raw.url, greeting)
    accept = b"HTTP/1.1 101 x\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: x\r\n\r\n"
    with (
        RawServer(lambda c: c.write(accept)) as raw,
        pytest.raises(Unavailable, match="no WebSocket handshake: Invalid challenge"),
    ):
        exchange(raw.url, greeting)


def test_a_proxy_of_the_environment_gets_the_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[str] = []

    def proxy(connection: Any) -> Any:
        requested.append(f"{connection.method} {connection.path}")
        return connection.answer(b"no", "403 Forbidden")

    with RawServer(proxy) as raw:
        monkeypatch.setenv("HTTP_PROXY", raw.url)
        monkeypatch.setenv("http_proxy", raw.url)
        with pytest.raises(UsageError, match="HTTP 403"):
            exchange("ws://live.invalid/v1/realtime?model=m", greeting)
    assert requested == ["GET http://live.invalid/v1/realtime?model=m"]


def frame(opcode: int, content: bytes) -> bytes:
    return bytes([0x80 | opcode, len(content)]) + content


@pytest.mark.parametrize(
    ("code", "reason", "error", "line"),
    [
        (1000, "", Unavailable, "closed the connection (code 1000)"),
        (1001, "", Unavailable, "closed the connection (code 1001)"),
        (1011, "", Unavailable, "closed with code 1011"),
        (1013, "", Unavailable, "closed with code 1013"),
        (1008, "", ServerRefusal, "closed with code 1008"),
        (1007, "API key not valid. Please pass a valid API key.", ServerRefusal, "API key not valid"),
        (1008, "models/x is not found for API version v1beta", ServerRefusal, "models/x is not found"),
        (1011, "You exceeded your current quota, check your plan", UsageError, "the account is used up"),
        (1007, "Request contains an invalid argument.", SystemFailure, "invalid argument"),
    ],
)
def test_the_words_of_a_closing_server(code: int, reason: str, error: type[EChatError], line: str) -> None:
    def script(connection: Any) -> Any:
        key = connection.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        connection.write(
            b"HTTP/1.1 101 x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            + f"sec-websocket-accept: {accept}\r\n\r\n".encode()
        )
        connection.write(frame(0x9, b"ping"))
        return connection.write(frame(0x8, code.to_bytes(2, "big") + reason.encode()))

    with RawServer(script) as raw, pytest.raises(error) as caught:
        exchange(raw.url, for_ever)
    assert type(caught.value) is error
    assert line in str(caught.value)
