"""Any HTTP server as a system: posts requests and reads replies.

A request is the audio file itself (`send=audio`), or JSON with `audio_base64`, history and instruction
(`send=json`; see `echat_eval.systems.wire`). An answer is `application/json` (a reply row with
`audio_base64`), `audio/*` or `text/plain`. With `audio/*`, the header `X-Echat-Text` may hold the text,
percent-encoded. Nothing is sent to any other host.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal
from urllib.parse import unquote_to_bytes, urlsplit, urlunsplit

from echat_eval.clients.audio_part import audio_bytes
from echat_eval.clients.chat_answer import reports_error
from echat_eval.clients.faults import reported_fault, unreadable_fault
from echat_eval.clients.http import HttpAnswer, raise_for_status
from echat_eval.clients.network import without_query
from echat_eval.errors import BadData, NotApplicable, RowError, SystemFailure, Unavailable, UsageError, scrub
from echat_eval.io.hashing import digest
from echat_eval.io.jsonl import dumps, loads
from echat_eval.io.text import decoded
from echat_eval.ports import Destination
from echat_eval.records import Reply, Request
from echat_eval.systems.server import ServerConnection
from echat_eval.systems.wire import fault_of, reply_from, request_row, sound_of

__all__ = ["Http"]

#: Suffix of the query's file -> content type; others are sent as application/octet-stream.
CONTENT_TYPES = {
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
}
#: The charset that a content type declares.
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([^\s;\"']+)", re.I)
_conversations = itertools.count(1)
_NO_TURNS = "send=audio cannot transmit earlier turns or an instruction; set send=json"
#: Statuses of a server that no longer has a conversation.
_GONE = (404, 410)
#: Size of a wav header; audio starts after it.
_HEADER_BYTES = 44


class Http:
    """A server that answers one POST per request.

    Args:
        url: address that requests are posted to.
        send: "audio" to post the file's bytes; "json" to post the whole request.
        conversation: the server remembers the turns of a live dialogue: the header X-Echat-Conversation names
            the dialogue, X-Echat-Turn is the number of the turn, and no earlier turn is sent again.
        name: the system's name in tables; by default the host.
        timeout: seconds per reply, from the first byte sent to the last byte read.
        calls_at_once: maximum number of requests in flight.
    """

    def __init__(
        self,
        url: str,
        send: Literal["audio", "json"] = "audio",
        name: str | None = None,
        timeout: float = 120.0,
        calls_at_once: int = 1,
        conversation: bool = False,
    ) -> None:
        self._server = ServerConnection(url, timeout=timeout, calls_at_once=calls_at_once)
        self.url = self._server.url
        if send not in ("audio", "json"):
            raise UsageError(f"send={send!r}: expected audio or json")
        self.send, self.holds_sessions = send, bool(conversation)
        self.name = name or str(urlsplit(url).hostname)
        self.timeout, self.calls_at_once = self._server.timeout, self._server.calls_at_once
        self._server_fingerprint: str | None = None

    def settings(self) -> Mapping[str, Any]:
        """Return the URL and the form of requests."""
        # Left out at its default, so that replies of earlier versions stay valid.
        later = {"conversation": True} if self.holds_sessions else {}
        return {"url": scrub(self.url), "send": self.send, **later}

    def destinations(self) -> Sequence[Destination]:
        """Return the server."""
        return [Destination(url=self.url, contents=("query audio", "earlier turns"))]

    def fingerprint(self) -> str | None:
        """Return the hash of the fingerprint that the server reports, or None if it reports none.

        The fingerprint is read from `/fingerprint` on the same host: the header `X-Echat-Fingerprint`, or a
        short body.
        """
        parts = urlsplit(self.url)
        url = urlunsplit((parts.scheme, parts.netloc, "/fingerprint", "", ""))
        try:
            answer = self._server.get(url, headers={}, max_bytes=65_536)
        except RowError:
            return None
        if answer.status != 200:
            return None
        self._server_fingerprint = answer.headers.get("x-echat-fingerprint")
        reported = self._server_fingerprint or " ".join(answer.body.decode("utf-8", "replace").split())
        return digest("http", reported) if reported else None

    def load(self) -> None:
        """Create the client and a folder for reply audio; connections open when needed."""
        self._server.load()

    def close(self) -> None:
        """Close connections and delete the received audio."""
        self._server.close()

    def dialogue_fault(self) -> str | None:
        """Return that audio alone holds no earlier turns, unless the server remembers them."""
        return None if self.send == "json" or self.holds_sessions else _NO_TURNS

    def open_session(self, request: Request) -> _Conversation:
        """Begin a dialogue of which the server keeps the state."""
        return _Conversation(self._send, request)

    async def respond(self, request: Request) -> Reply:
        """Post one request.

        Raises:
            Unavailable: no connection, no whole answer in time, or a fault of a busy server or a gateway.
            SystemFailure: an error that the system reports, or a broken or oversized answer.
            UsageError: the URL or the credentials are wrong, or a redirect leads to another host.
        """
        return await self._send(request)

    async def _send(self, request: Request, conversation: str | None = None, turn: int = 1) -> Reply:
        """Post one request, perhaps as a turn of a conversation; raises as `respond`."""
        self.load()
        headers, content = self._encoded(request)
        if conversation is not None:
            headers |= {"x-echat-conversation": conversation, "x-echat-turn": str(turn)}
        async with self._server.slot():
            answer, first = await self._post(headers, content)
            if turn > 1 and answer.status in _GONE:
                raise Unavailable(
                    f"the server answered turn {turn} of a conversation with status {answer.status}: it no "
                    "longer has the conversation"
                )
            raise_for_status(answer, self.url)
        self._check_same_server(answer)
        # Only a chunked answer reveals when its first audio arrived.
        chunked = "chunked" in answer.headers.get("transfer-encoding", "")
        return self._reply(answer, request, first if chunked else None)

    async def _post(self, headers: dict[str, str], content: bytes) -> tuple[HttpAnswer, float | None]:
        """Return the answer, and the seconds until it may have contained audio."""
        begun = time.monotonic()
        first: float | None = None
        async with self._server.post(self.url, headers=headers, content=content) as answer:
            body = bytearray()
            async for chunk in answer.chunks:
                body += chunk
                if first is None and len(body) > _HEADER_BYTES:
                    first = time.monotonic() - begun
        return HttpAnswer(status=answer.status, headers=answer.headers, body=bytes(body)), first

    def _encoded(self, request: Request) -> tuple[dict[str, str], bytes]:
        headers = {
            "accept": "application/json, audio/*, text/plain",
            "x-echat-id": request.id,
            "x-echat-language": request.language,
        }
        if self.send == "json":
            return headers | {"content-type": "application/json"}, dumps(
                request_row(request, inline=True)
            ).encode()
        if request.history or request.instruction:
            raise NotApplicable(_NO_TURNS)
        kind = CONTENT_TYPES.get(request.audio.path.suffix.lower(), "application/octet-stream")
        return headers | {"content-type": kind}, audio_bytes(request.audio)

    def _check_same_server(self, answer: HttpAnswer) -> None:
        now = answer.headers.get("x-echat-fingerprint")
        if now and self._server_fingerprint and now != self._server_fingerprint:
            raise Unavailable(
                f"the server changed during the run: {self._server_fingerprint[:40]} became {now[:40]}"
            )

    def _reply(self, answer: HttpAnswer, request: Request, first: float | None) -> Reply:
        folder = self._server.folder
        if answer.kind == "application/json":
            try:
                row = loads(answer.body)
            except ValueError as error:
                raise unreadable_fault(answer.body, error, place=without_query(self.url)) from error
            if isinstance(row, dict) and reports_error(row):
                raise reported_fault(row, place=without_query(self.url))
            fault = fault_of(row) or ("'audio' is a path; send 'audio_base64'" if row.get("audio") else None)
            if fault:
                raise SystemFailure(f"the server's answer: {fault}")
            if row.get("id") not in (None, request.id):
                raise SystemFailure(f"the server answered request {row['id']!r}; expected {request.id!r}")
            encoded = row.get("audio_base64")
            return reply_from(row, sound_of(encoded, folder, request.id) if encoded else None)
        if answer.kind.startswith("audio/"):
            text = _decoded(unquote_to_bytes(answer.headers.get("x-echat-text", "")), "x-echat-text") or None
            audio = sound_of(answer.body, folder, request.id)
            return Reply(text=text, audio=audio, first_audio_seconds=first)
        if answer.kind == "text/plain":
            declared = _CHARSET.search(answer.headers.get("content-type", ""))
            return Reply(text=_decoded(answer.body, "answer", declared[1] if declared else None))
        if answer.kind == "text/html":
            raise unreadable_fault(answer.body, place=without_query(self.url))
        raise SystemFailure(
            f"the server answered with content type '{answer.kind or 'none'}'; "
            "expected application/json, audio/* or text/plain"
        )


class _Conversation:
    """A dialogue of which the server keeps the state."""

    def __init__(self, send: Callable[[Request, str, int], Awaitable[Reply]], first: Request) -> None:
        self._send = send
        # Another try is another conversation: the server may remember half of the first.
        self._name, self._turn = f"{first.id}-{next(_conversations)}", 0

    async def respond(self, request: Request) -> Reply:
        """Post the next turn alone; raises as `Http.respond`."""
        self._turn += 1
        return await self._send(replace(request, history=()), self._name, self._turn)

    def close(self) -> None:
        """Do nothing: the server ends a conversation without further turns."""


def _decoded(content: bytes, part: str, charset: str | None = None) -> str:
    try:
        return decoded(content, f"the server's {part}", charset=charset)
    except BadData as error:
        raise SystemFailure(str(error)) from error
