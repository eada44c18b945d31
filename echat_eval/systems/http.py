"""Any server as a system: a request is posted, words and a voice come back.

Posted: the audio file itself (`send=audio`), or JSON with `audio_base64`, history and instruction
(`send=json`; `echat_eval.systems.wire`). Answered: `application/json` (a reply row with `audio_base64`),
`audio/*` (a voice) or `text/plain` (words). A header `X-Echat-Text` beside a voice holds its words,
percent-encoded. Nothing is sent to another host than the one named.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlsplit, urlunsplit

from echat_eval.clients.http import HttpAnswer, ask_once, check_url, open_client, refuse_status, streamed
from echat_eval.concurrency import event_loop
from echat_eval.concurrency.limiter import endpoint
from echat_eval.errors import NotApplicable, RowError, SystemFailure, Unavailable, UsageError
from echat_eval.io.hashing import digest
from echat_eval.io.jsonl import dumps, loads
from echat_eval.records import Reply, Request
from echat_eval.systems.wire import MAX_AUDIO_BYTES, fault_of, reply_from, request_row, sound_of

if TYPE_CHECKING:
    import httpx

__all__ = ["Http"]

#: Ending of the query's file -> content type; what is not here goes as octets.
CONTENT_TYPES = {
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
}
#: A wav header; sound begins behind it.
_HEADER_BYTES = 44
#: base64 makes four bytes of three.
_MAX_BODY_BYTES = MAX_AUDIO_BYTES * 4 // 3 + 2**20


class Http:
    """Asks a server.

    Args:
        url: where requests are posted.
        send: "audio": the file's bytes; "json": everything that is known of a request.
        name: as in tables; by default the host.
        timeout: seconds per reply, from the first byte sent to the last one read.
        calls_at_once: requests in flight.
    """

    def __init__(
        self,
        url: str,
        send: Literal["audio", "json"] = "audio",
        name: str | None = None,
        timeout: float = 120.0,
        calls_at_once: int = 1,
    ) -> None:
        self.url = check_url(url, "url")
        if send not in ("audio", "json"):
            raise UsageError(f"send={send!r}: expected audio or json")
        self.send = send
        self.name = name or str(urlsplit(url).hostname)
        self.timeout = float(timeout)
        self.calls_at_once = int(calls_at_once)
        self._client: httpx.AsyncClient | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._reported: str | None = None

    def settings(self) -> Mapping[str, Any]:
        """Return the URL and the form of requests."""
        return {"url": self.url, "send": self.send}

    def fingerprint(self) -> str | None:
        """Return the hash of what the server reports of itself, or None if it reports nothing.

        Asked is `/fingerprint` on the same host: a header `X-Echat-Fingerprint`, or a short body.
        """
        parts = urlsplit(self.url)
        url = urlunsplit((parts.scheme, parts.netloc, "/fingerprint", "", ""))
        limit = min(10.0, self.timeout)
        try:
            # This is asked before loading, and perhaps nothing is loaded after it.
            answer = event_loop.run(ask_once(url, headers={}, timeout=limit, max_bytes=65_536))
        except RowError:
            return None
        if answer.status != 200:
            return None
        self._reported = answer.headers.get("x-echat-fingerprint")
        said = self._reported or " ".join(answer.body.decode("utf-8", "replace").split())
        return digest("http", said) if said else None

    def load(self) -> None:
        """Open connections as they are needed, and a folder for reply audio."""
        self._open()
        if self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="echat-eval-")

    def close(self) -> None:
        """Close connections and remove what was received."""
        if self._client is not None:
            event_loop.run(self._client.aclose())
            self._client = None
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = open_client(self.url, self.timeout)
        return self._client

    async def respond(self, request: Request) -> Reply:
        """Post one request.

        Raises:
            Unavailable: no connection, no whole answer in time, 429 or a server that is overloaded.
            SystemFailure: 500, a broken or oversized answer, a redirect to another host.
            UsageError: the URL or the right to use it is wrong.
        """
        self.load()
        headers, content = self._posted(request)
        async with endpoint(self.url, self.calls_at_once).slot():
            whole, first = await self._exchanged(headers, content)
            refuse_status(whole, self.url)
        self._check_same_server(whole)
        # Only what comes in pieces tells when its first sound was there.
        streams = "chunked" in whole.headers.get("transfer-encoding", "")
        return self._reply(whole, request, first if streams else None)

    async def _exchanged(self, headers: dict[str, str], content: bytes) -> tuple[HttpAnswer, float | None]:
        """Return the answer, and the seconds until sound may have begun in it."""
        begun = time.monotonic()
        first: float | None = None
        async with streamed(
            self._open(),
            "POST",
            self.url,
            headers=headers,
            content=content,
            timeout=self.timeout,
            max_bytes=_MAX_BODY_BYTES,
        ) as answer:
            body = bytearray()
            async for chunk in answer.chunks:
                body += chunk
                if first is None and len(body) > _HEADER_BYTES:
                    first = time.monotonic() - begun
        return HttpAnswer(status=answer.status, headers=answer.headers, body=bytes(body)), first

    def _posted(self, request: Request) -> tuple[dict[str, str], bytes]:
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
            raise NotApplicable("an audio file alone cannot carry earlier turns or a question; set send=json")
        path = request.audio.path
        kind = CONTENT_TYPES.get(path.suffix.lower(), "application/octet-stream")
        return headers | {"content-type": kind}, path.read_bytes()

    def _check_same_server(self, answer: HttpAnswer) -> None:
        now = answer.headers.get("x-echat-fingerprint")
        if now and self._reported and now != self._reported:
            raise Unavailable(
                f"the server changed while it was asked: {self._reported[:40]} became {now[:40]}"
            )

    def _reply(self, answer: HttpAnswer, request: Request, first: float | None) -> Reply:
        assert self._scratch is not None
        folder = Path(self._scratch.name)
        if answer.kind == "application/json":
            try:
                row = loads(answer.body)
            except ValueError as error:
                raise SystemFailure(f"the server's answer is not strict JSON: {error}") from error
            fault = fault_of(row) or ("'audio' is a path; send 'audio_base64'" if row.get("audio") else None)
            if fault:
                raise SystemFailure(f"the server's answer: {fault}")
            if row.get("id") not in (None, request.id):
                raise SystemFailure(f"the server answered request {row['id']!r}, asked was {request.id!r}")
            voice = row.get("audio_base64")
            return reply_from(row, sound_of(voice, folder, request.id) if voice else None)
        if answer.kind.startswith("audio/"):
            words = unquote(answer.headers.get("x-echat-text", "")) or None
            voice_file = sound_of(answer.body, folder, request.id)
            return Reply(text=words, audio=voice_file, first_audio_seconds=first)
        if answer.kind == "text/plain":
            return Reply(text=answer.body.decode("utf-8", "replace"))
        raise SystemFailure(
            f"the server answered with content type '{answer.kind or 'none'}'; "
            "expected application/json, audio/* or text/plain"
        )
