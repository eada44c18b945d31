"""HTTP whose answer is bounded in size and time while it is read, and which never leaves its host."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from echat_eval.errors import SystemFailure, Unavailable, UsageError

if TYPE_CHECKING:
    import httpx

__all__ = [
    "HttpAnswer",
    "Streamed",
    "ask_once",
    "check_url",
    "client_settings",
    "exchange",
    "open_client",
    "refuse_status",
    "retry_after",
    "streamed",
    "whole",
]

#: Statuses that say "not now": nobody's answer, so the row is missing.
_NOT_NOW = frozenset({408, 425, 429, 502, 503, 504, 529})
#: Statuses that say that the address or the key is wrong, which is wrong for every row.
_WRONG_SET_UP = frozenset({401, 403, 404, 405, 407})
_MAX_REDIRECTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """A whole answer. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def kind(self) -> str:
        """Return the content type without parameters, lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(slots=True, kw_only=True)
class Streamed:
    """An answer that is still coming; `chunks` raises Unavailable past the bounds."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


def check_url(url: str, what: str) -> str:
    """Return the URL, or raise UsageError unless it is http(s) with a host and without a password in it."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{what} {url!r} is no URL: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError(f"{what} {url!r}: expected http://host:port/path or https://host/path")
    if parts.username or parts.password:
        raise UsageError(f"{what} holds a user name or password; those would end up in the manifest")
    return url


def client_settings(url: str, timeout: float) -> dict[str, Any]:
    """Return what every client of ours is made with: it follows nothing by itself and takes no proxy.

    Args:
        url: of the one host it will talk to.
        timeout: seconds between two bytes.
    """
    import httpx

    return {
        "timeout": httpx.Timeout(timeout, connect=min(timeout, 10.0)),
        "follow_redirects": False,
        "trust_env": False,
        "limits": httpx.Limits(max_connections=None, max_keepalive_connections=64),
        # Certificates take long to load, and plain http has none to check.
        "verify": url.startswith("https://"),
    }


def open_client(url: str, timeout: float) -> httpx.AsyncClient:
    """Return a client for `streamed` and `exchange`; how many calls at once is a limiter's to say."""
    import httpx

    return httpx.AsyncClient(**client_settings(url, timeout))


@asynccontextmanager
async def streamed(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    content: bytes | None = None,
    timeout: float,
    max_bytes: int,
) -> AsyncIterator[Streamed]:
    """Send one request and yield its answer while it comes.

    Args:
        timeout: seconds for the whole exchange, not only between two bytes.
        max_bytes: an answer that goes on longer is given up.

    Raises:
        Unavailable: no connection, no answer in time, an answer that breaks off.
        SystemFailure: too long, compressed, or redirected to another host.
    """
    import httpx

    end = time.monotonic() + timeout
    sent = {"accept-encoding": "identity", **headers}
    try:
        for _ in range(_MAX_REDIRECTS + 1):
            async with client.stream(method, url, headers=sent, content=content) as response:
                if response.is_redirect and "location" in response.headers:
                    url = _same_host(url, response.headers["location"], response.status_code, method)
                    continue
                chunks = _bounded(response, end=end, timeout=timeout, max_bytes=max_bytes)
                yield Streamed(status=response.status_code, headers=dict(response.headers), chunks=chunks)
                return
        raise SystemFailure(f"{url}: more than {_MAX_REDIRECTS} redirects")
    except httpx.TimeoutException as error:
        raise Unavailable(f"{_place(url)}: no answer in {timeout:g} s", overloaded=True) from error
    except httpx.InvalidURL as error:
        raise UsageError(f"{url!r} is no URL: {error}") from error
    except httpx.HTTPError as error:
        raise Unavailable(f"{_place(url)}: {type(error).__name__}: {error}") from error


async def exchange(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    content: bytes | None = None,
    timeout: float,
    max_bytes: int,
) -> HttpAnswer:
    """Send one request and return its whole answer, whatever its status; errors as `streamed`."""
    async with streamed(
        client, method, url, headers=headers, content=content, timeout=timeout, max_bytes=max_bytes
    ) as answer:
        return await whole(answer)


async def ask_once(url: str, *, headers: Mapping[str, str], timeout: float, max_bytes: int) -> HttpAnswer:
    """Get one URL over a connection of its own; errors as `streamed`."""
    async with open_client(url, timeout) as client:
        return await exchange(client, "GET", url, headers=headers, timeout=timeout, max_bytes=max_bytes)


async def whole(answer: Streamed) -> HttpAnswer:
    """Read a streamed answer to its end."""
    body = b"".join([chunk async for chunk in answer.chunks])
    return HttpAnswer(status=answer.status, headers=answer.headers, body=body)


def refuse_status(answer: HttpAnswer, url: str) -> None:
    """Raise what a status other than 2xx means.

    Raises:
        Unavailable: 429 and the statuses of an overloaded server, with Retry-After if it was said.
        UsageError: the address or the key is wrong, for every row alike.
        SystemFailure: any other, such as 500: the server could not do this request.
    """
    if 200 <= answer.status < 300:
        return
    said = " ".join(answer.body[:600].decode("utf-8", "replace").split())[:300]
    text = f"{_place(url)}: HTTP {answer.status}" + (f": {said}" if said else "")
    if answer.status in _NOT_NOW:
        raise Unavailable(text, retry_after=retry_after(answer.headers), overloaded=True)
    if answer.status in _WRONG_SET_UP:
        raise UsageError(f"{text}; check the URL, the model's name and the key")
    raise SystemFailure(text)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds a Retry-After header asks for, given as seconds or as a date.

    >>> retry_after({"retry-after": "3"}), retry_after({}), retry_after({"retry-after": "soon"})
    (3.0, None, None)
    """
    said = headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(said))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def _same_host(url: str, location: str, status: int, method: str) -> str:
    target = urljoin(url, location)
    here, there = urlsplit(url), urlsplit(target)
    if (here.scheme, here.netloc) != (there.scheme, there.netloc):
        raise SystemFailure(
            f"refused a redirect from {here.netloc} to {there.scheme}://{there.netloc}; "
            "give that server's own URL if you trust it"
        )
    if method != "GET" and status not in (307, 308):
        raise SystemFailure(f"HTTP {status} redirects to {there.path}; give that URL")
    return target


async def _bounded(response: Any, *, end: float, timeout: float, max_bytes: int) -> AsyncIterator[bytes]:
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise SystemFailure("the answer is compressed, which was not asked for; send it plain")
    size = 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        if size > max_bytes:
            raise SystemFailure(f"the answer is longer than {max_bytes:,} bytes")
        if time.monotonic() > end:
            raise Unavailable(
                f"{_place(str(response.url))}: the answer took longer than {timeout:g} s", overloaded=True
            )
        yield chunk
