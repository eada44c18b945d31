"""The connection of an adapter to its server: one client, a limit of calls, a folder for reply audio."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from echat_eval.clients.http import HttpClient, get_once, open_stream
from echat_eval.clients.listed import listed_model
from echat_eval.clients.network import check_url
from echat_eval.concurrency import event_loop
from echat_eval.concurrency.limiter import limiter_for
from echat_eval.errors import NotApplicable
from echat_eval.systems.wire import MAX_REPLY_BYTES, ReplyFolder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path
    from typing import Any

    from echat_eval.clients.http import HttpAnswer, StreamedAnswer
    from echat_eval.records import Request

__all__ = ["ServerConnection", "refuse_declared"]

#: Seconds for a fingerprint, which must not delay a run by the time-out of a reply.
_MAX_FINGERPRINT_SECONDS = 10.0


def refuse_declared(entry: Mapping[str, Any] | None, request: Request) -> None:
    """Raise NotApplicable for a kind of request that the model's list entry rules out.

    The entry is part of the fingerprint and holds for all rows of that kind, so a server cannot leave out
    those that are difficult.
    """
    for name, kind, is_asked in (
        ("takes_history", "earlier turns", bool(request.history)),
        ("takes_instruction", "instruction", request.instruction is not None),
    ):
        if is_asked and entry is not None and entry.get(name) is False:
            raise NotApplicable(f"the server's list of models states that this model takes no {kind}")


class ServerConnection:
    """A client for one server. Connections open when needed, and again after `close`.

    Args:
        url: address of the server, http or https, without credentials.
        timeout: seconds per call, from the first byte sent to the last byte read.
        calls_at_once: maximum number of calls in flight.

    Raises:
        UsageError: the URL is invalid.
    """

    def __init__(self, url: str, *, timeout: float, calls_at_once: int) -> None:
        self.url = check_url(url, "url")
        self.timeout = float(timeout)
        self.calls_at_once = int(calls_at_once)
        self._client: HttpClient | None = None
        self._replies = ReplyFolder()

    @property
    def folder(self) -> Path:
        """Return the folder for reply audio, which `close` deletes."""
        return self._replies.path

    def load(self) -> None:
        """Create the client and the folder."""
        self._open()
        self._replies.open()

    def close(self) -> None:
        """Close connections and delete the received audio."""
        if self._client is not None:
            self._client.close()
            self._client = None
        self._replies.close()

    def _open(self) -> HttpClient:
        if self._client is None:
            self._client = HttpClient()
        return self._client

    def slot(self) -> AbstractAsyncContextManager[object]:
        """Return a context that waits until a call may start."""
        return limiter_for(self.url, self.calls_at_once).slot()

    @asynccontextmanager
    async def post(
        self, url: str, *, headers: Mapping[str, str], content: bytes
    ) -> AsyncIterator[StreamedAnswer]:
        """Post one request and yield the answer as it arrives; errors as `clients.http.open_stream`."""
        async with open_stream(
            self._open(),
            "POST",
            url,
            headers=headers,
            content=content,
            timeout=self.timeout,
            max_bytes=MAX_REPLY_BYTES,
        ) as answer:
            yield answer

    def get(self, url: str, *, headers: Mapping[str, str], max_bytes: int) -> HttpAnswer:
        """Get facts about the server over a connection of its own, as `fingerprint` may run before `load`.

        Raises:
            RowError, UsageError: as `clients.http.open_stream`.
        """
        limit = min(_MAX_FINGERPRINT_SECONDS, self.timeout)
        return event_loop.run(get_once(url, headers=headers, timeout=limit, max_bytes=max_bytes))

    def listed_model(self, base_url: str, headers: Mapping[str, str], model: str) -> Mapping[str, Any] | None:
        """Return the entry of a model in the server's list, as `clients.listed.listed_model`."""
        return event_loop.run(listed_model(base_url, headers, model, timeout=self.timeout))
