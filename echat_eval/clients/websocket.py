"""WebSocket client of live systems, under the same policy as every other client.

It stands on the same connections as `clients.http`: proxies, certificates, no cookies, one deadline over an
exchange, one limit of its size. A redirect is refused, and a refused handshake, a closing code and an
error event are read by the same table of faults.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from echat_eval.clients.chat_answer import read_object
from echat_eval.clients.faults import answer_fault, reported_fault, shown, unreadable_fault
from echat_eval.clients.http import HttpClient, headers_of, transport_errors, verbatim_url
from echat_eval.clients.network import proxy_for, ssl_context_for, without_query
from echat_eval.errors import ServerRefusal, Unavailable, scrub
from echat_eval.io.jsonl import dumps

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Socket", "SocketClient", "open_socket"]

#: Bytes of one message; a second of 16-bit audio at 48 kHz has 128 kB in base64.
MAX_MESSAGE_BYTES = 8 * 2**20
#: Bytes that are read of the body of a refused handshake.
_MAX_REFUSAL_BYTES = 20_000
#: Closing code -> the HTTP status that it stands for, unless its reason states more.
_CLOSING = {1003: 415, 1007: 400, 1008: 403, 1009: 413, 1011: 500, 1012: 503, 1013: 503, 1014: 502}
#: Seconds to wait for the other side's closing frame.
CLOSE_TIMEOUT = 0.5


class SocketClient(HttpClient):
    """Connections that become WebSockets; a refused handshake raises the error of its whole answer."""

    def _traces(self) -> list[aiohttp.TraceConfig]:
        import aiohttp

        trace = aiohttp.TraceConfig()
        trace.on_request_redirect.append(self._refuse_redirect)
        trace.on_request_end.append(self._check_handshake)
        trace.freeze()
        return [trace]

    async def _refuse_redirect(
        self,
        session: aiohttp.ClientSession,
        context: SimpleNamespace,
        params: aiohttp.TraceRequestRedirectParams,
    ) -> None:
        target = scrub(params.response.headers.get("location", "another address"))
        raise ServerRefusal(
            f"{_place(str(params.url))}: HTTP {params.response.status} redirects to {target}; "
            "give that URL if you trust it"
        )

    async def _check_handshake(
        self,
        session: aiohttp.ClientSession,
        context: SimpleNamespace,
        params: aiohttp.TraceRequestEndParams,
    ) -> None:
        response = params.response
        if response.status == 101:
            return
        place = _place(str(params.url))
        body = b""
        try:
            with suppress(Exception):  # the status alone is enough
                body = await response.content.read(_MAX_REFUSAL_BYTES)
        finally:
            response.close()
        if 200 <= response.status < 300:
            raise ServerRefusal(
                f"{place}: the server answers HTTP {response.status} and opens no WebSocket: "
                f"{shown(body) or 'nothing'}; check the URL"
            )
        raise reported_fault(
            body, place=place, status=response.status, headers=headers_of(response), party=self.party
        )


class Socket:
    """An open WebSocket whose messages are JSON objects.

    Attributes:
        place: its address without the query, for messages.
        round_trip: seconds of the fastest ping; None before the first answer.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, client: SocketClient, place: str) -> None:
        self.place = place
        self.round_trip: float | None = None
        self._socket, self._client = socket, client
        self._bytes, self._max_bytes = 0, MAX_MESSAGE_BYTES
        self._pings: dict[bytes, float] = {}

    @asynccontextmanager
    async def exchange(self, *, timeout: float, max_bytes: int) -> AsyncIterator[None]:
        """Limit what the block may last and receive: a question and its whole answer.

        Args:
            timeout: seconds.
            max_bytes: limit on all messages that are received.

        Raises:
            Unavailable: the timeout.
        """
        self._bytes, self._max_bytes = 0, max_bytes
        deadline = asyncio.timeout(timeout)
        try:
            async with deadline:
                yield
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise Unavailable(f"{self.place}: no whole reply in {timeout:g} s", overloaded=True) from error

    async def close(self) -> None:
        """Close the connection, whatever state it is in."""
        with suppress(Exception):
            async with asyncio.timeout(CLOSE_TIMEOUT):  # the server may go on sending for ever
                await self._socket.close()

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send one object. A connection that is gone is no error here: `receive` raises its cause."""
        await self.send_text(dumps(message))

    async def send_text(self, text: str) -> None:
        """Send an object that is encoded already."""
        with suppress(ConnectionError):
            await self._socket.send_str(text)

    async def ping(self) -> None:
        """Send a ping, whose answer `receive` measures; gateways may not answer."""
        content = b"%d" % len(self._pings)
        self._pings[content] = time.monotonic()
        with suppress(ConnectionError):
            await self._socket.ping(content)

    async def receive(self) -> tuple[dict[str, Any], float]:
        """Return the next object, and when it arrived on the monotonic clock.

        Raises:
            Unavailable: the connection ended, as a network or a server in passing ends it.
            SystemFailure: a message that is no JSON object, or more than the limit of bytes.
            EChatError: the server closed it with a reason; as `clients.faults.reported_fault`.
        """
        import aiohttp

        while True:
            with transport_errors(self.place):
                message = await self._socket.receive()
            arrived = time.monotonic()
            if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                return self._object(message.data), arrived
            if message.type is aiohttp.WSMsgType.PING:
                with suppress(ConnectionError):
                    await self._socket.pong(message.data)
            elif message.type is aiohttp.WSMsgType.PONG:
                self._note_pong(bytes(message.data), arrived)
            else:
                raise self._ended(message)

    def _object(self, data: str | bytes) -> dict[str, Any]:
        raw = data.encode("utf-8", "replace") if isinstance(data, str) else data
        self._bytes += len(raw)
        if self._bytes > self._max_bytes:
            raise answer_fault(f"the reply is longer than {self._max_bytes:,} bytes", self._client.party)
        try:
            value = read_object(raw)
        except ValueError as error:
            raise unreadable_fault(raw, error, place=self.place, party=self._client.party) from error
        if not isinstance(value, dict):
            raise answer_fault(
                f"{self.place}: the server's message is a {type(value).__name__}; expected an object",
                self._client.party,
            )
        return value

    def _note_pong(self, content: bytes, arrived: float) -> None:
        if (sent := self._pings.get(content)) is not None:
            seconds = arrived - sent
            self.round_trip = seconds if self.round_trip is None else min(self.round_trip, seconds)

    def _ended(self, message: aiohttp.WSMessage) -> Exception:
        """Return the error of a message that ends the connection."""
        import aiohttp

        if message.type is aiohttp.WSMsgType.CLOSE:
            code, reason = message.data, scrub(str(message.extra or ""))
            if reason or code in _CLOSING:
                return reported_fault(
                    {"error": {"message": reason or f"closed with code {code}"}},
                    place=self.place,
                    party=self._client.party,
                    assumed=_CLOSING.get(code),
                )
            return Unavailable(f"{self.place}: the server closed the connection (code {code}) before its end")
        error = self._socket.exception()
        if isinstance(error, aiohttp.WebSocketError) and error.code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
            return answer_fault(
                f"{self.place}: a message is longer than {MAX_MESSAGE_BYTES:,} bytes", self._client.party
            )
        text = f": {scrub(str(error))[:200]}" if error is not None and str(error) else ""
        return Unavailable(f"{self.place}: the connection broke off before its end{text}")


async def open_socket(
    client: SocketClient, url: str, *, headers: Mapping[str, str], timeout: float
) -> Socket:
    """Open a WebSocket, which the caller closes.

    Args:
        url: its http(s) form; see `clients.network.socket_url`.
        timeout: seconds for the connection and the handshake.

    Raises:
        Unavailable: no connection, a timeout, or a busy server.
        SystemFailure, UsageError: as `clients.faults.reported_fault`, and for a redirect.
    """
    import aiohttp

    place = _place(url)
    deadline = asyncio.timeout(timeout)
    try:
        async with deadline:
            with transport_errors(place):
                try:
                    opened = await client.session().ws_connect(
                        verbatim_url(url),
                        headers={"user-agent": "echat-eval", **headers},
                        autoping=False,
                        max_msg_size=MAX_MESSAGE_BYTES,
                        proxy=proxy_for(url),
                        ssl=ssl_context_for(url),
                        timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT),
                    )
                except aiohttp.WSServerHandshakeError as error:
                    raise Unavailable(
                        f"{place}: the answer is no WebSocket handshake: {error.message}"
                    ) from error
    except TimeoutError as error:
        if not deadline.expired():
            raise
        raise Unavailable(f"{place}: no connection in {timeout:g} s", overloaded=True) from error
    return Socket(opened, client, place)


def _place(url: str) -> str:
    """Return the address of a WebSocket as a user writes it, without its query."""
    return without_query(url).replace("http", "ws", 1)
