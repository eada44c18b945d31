"""HTTP client with limits on the size and duration of a response, and without redirects to other hosts."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit, urlunsplit

from echat_eval.clients.faults import reported_fault
from echat_eval.clients.keys import remember_secrets_of
from echat_eval.errors import SystemFailure, Unavailable, UsageError

if TYPE_CHECKING:
    import httpx

__all__ = [
    "MAX_REDIRECTS",
    "HttpAnswer",
    "StreamedAnswer",
    "check_url",
    "client_settings",
    "endpoint",
    "exchange",
    "get_once",
    "is_loopback",
    "network_settings",
    "open_client",
    "open_stream",
    "raise_for_status",
    "read_body",
    "without_query",
]

#: Redirects of one request, within a host for systems and from a hub to its storage for downloads.
MAX_REDIRECTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """A complete response. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def kind(self) -> str:
        """Return the content type without parameters, lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(slots=True, kw_only=True)
class StreamedAnswer:
    """A response whose body is still arriving; `chunks` raises an error when a limit is exceeded."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


def check_url(url: str, label: str) -> str:
    """Return the URL, or raise UsageError unless it is http(s) with a host and without credentials."""
    remember_secrets_of(url)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{label} {url!r} is not a URL: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError(f"{label} {url!r}: expected http://host:port/path or https://host/path")
    if parts.username or parts.password:
        raise UsageError(
            f"{label} contains a user name or password, which would be stored in the manifest; remove them"
        )
    return url


def endpoint(base_url: str, path: str) -> str:
    """Return the URL of a path below a base URL, which may have a query or already end in the path.

    >>> endpoint("http://h/v1/", "chat/completions")
    'http://h/v1/chat/completions'
    >>> endpoint("https://h/openai/gpt?api-version=1", "models")
    'https://h/openai/gpt/models?api-version=1'
    >>> endpoint("http://h/v1/chat/completions", "models")
    'http://h/v1/models'
    """
    parts = urlsplit(base_url)
    base = parts.path.rstrip("/").removesuffix("/chat/completions")
    return urlunsplit((parts.scheme, parts.netloc, f"{base}/{path}", parts.query, ""))


def is_loopback(url: str) -> bool:
    """Return whether a URL names this machine.

    >>> is_loopback("http://127.0.0.2:8000/v1"), is_loopback("http://[::1]/"), is_loopback("http://h/")
    (True, True, False)
    """
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def network_settings(url: str) -> dict[str, Any]:
    """Return the network policy of every client, as arguments of an httpx client.

    Proxy variables count, except for this machine; SSL_CERT_FILE and SSL_CERT_DIR count; redirects are not
    followed.
    """
    import httpx

    return {
        "follow_redirects": False,
        "trust_env": not is_loopback(url),
        # Loading certificates is slow, and plain http needs none.
        "verify": httpx.create_ssl_context() if url.startswith("https://") else False,
    }


def client_settings(url: str, timeout: float) -> dict[str, Any]:
    """Return the arguments of every httpx client; see `network_settings`.

    Args:
        url: a URL on the only host that the client connects to.
        timeout: seconds between two bytes.
    """
    import httpx

    return {
        "timeout": httpx.Timeout(timeout, connect=min(timeout, 10.0)),
        "limits": httpx.Limits(max_connections=None, max_keepalive_connections=64),
        **network_settings(url),
    }


def open_client(url: str, timeout: float) -> httpx.AsyncClient:
    """Return a client for `open_stream` and `exchange`; a `Limiter` limits its concurrent calls."""
    import httpx

    return httpx.AsyncClient(**client_settings(url, timeout))


@asynccontextmanager
async def open_stream(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    content: bytes | None = None,
    timeout: float,
    max_bytes: int,
) -> AsyncIterator[StreamedAnswer]:
    """Send one request and yield the response as it arrives.

    Args:
        timeout: seconds for the whole exchange, not only between two bytes.
        max_bytes: limit on the body.

    Raises:
        Unavailable: no connection, a timeout, or an incomplete response.
        SystemFailure: the response is too long, compressed, or redirects to another host.
        UsageError: the URL is invalid.
    """
    import httpx

    deadline = time.monotonic() + timeout
    sent_headers = {"accept-encoding": "identity", **headers}
    try:
        for _ in range(MAX_REDIRECTS + 1):
            async with client.stream(method, url, headers=sent_headers, content=content) as response:
                if response.is_redirect and "location" in response.headers:
                    url = _same_host(url, response.headers["location"], response.status_code, method)
                    continue
                chunks = _limited_chunks(response, deadline=deadline, timeout=timeout, max_bytes=max_bytes)
                yield StreamedAnswer(
                    status=response.status_code, headers=dict(response.headers), chunks=chunks
                )
                return
        raise SystemFailure(f"{url}: more than {MAX_REDIRECTS} redirects")
    except httpx.TimeoutException as error:
        raise Unavailable(f"{without_query(url)}: no answer in {timeout:g} s", overloaded=True) from error
    except httpx.InvalidURL as error:
        raise UsageError(f"{url!r} is not a URL: {error}") from error
    except httpx.HTTPError as error:
        raise Unavailable(f"{without_query(url)}: {type(error).__name__}: {error}") from error


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
    """Send one request and return the complete response, whatever its status; errors as `open_stream`."""
    async with open_stream(
        client, method, url, headers=headers, content=content, timeout=timeout, max_bytes=max_bytes
    ) as answer:
        return await read_body(answer)


async def get_once(url: str, *, headers: Mapping[str, str], timeout: float, max_bytes: int) -> HttpAnswer:
    """Get one URL over a new connection; errors as `open_stream`."""
    async with open_client(url, timeout) as client:
        return await exchange(client, "GET", url, headers=headers, timeout=timeout, max_bytes=max_bytes)


async def read_body(answer: StreamedAnswer) -> HttpAnswer:
    """Read a streamed response to its end."""
    body = b"".join([chunk async for chunk in answer.chunks])
    return HttpAnswer(status=answer.status, headers=answer.headers, body=body)


def raise_for_status(answer: HttpAnswer, url: str, *, options: Mapping[str, str] | None = None) -> None:
    """Raise our error for a status other than 2xx; see `clients.faults.reported_fault`.

    Args:
        url: where the request was sent.
        options: name of a parameter of the request -> the option that changes or omits it.

    Raises:
        Unavailable, UsageError, SystemFailure: as the table in docs/systems.md.
    """
    if not 200 <= answer.status < 300:
        raise reported_fault(
            answer.body,
            place=without_query(url),
            status=answer.status,
            headers=answer.headers,
            options=options,
        )


def without_query(url: str) -> str:
    """Return a URL without its query, which may hold a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def _same_host(url: str, location: str, status: int, method: str) -> str:
    target = urljoin(url, location)
    old, new = urlsplit(url), urlsplit(target)
    if (old.scheme, old.netloc) != (new.scheme, new.netloc):
        raise SystemFailure(
            f"refused a redirect from {old.netloc} to {new.scheme}://{new.netloc}; "
            "give that server's own URL if you trust it"
        )
    if method != "GET" and status not in (307, 308):
        raise SystemFailure(f"HTTP {status} redirects to {new.path}; give that URL")
    return target


async def _limited_chunks(
    response: Any, *, deadline: float, timeout: float, max_bytes: int
) -> AsyncIterator[bytes]:
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise SystemFailure("the answer is compressed, which was not requested; send it uncompressed")
    size = 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        if size > max_bytes:
            raise SystemFailure(f"the answer is longer than {max_bytes:,} bytes")
        if time.monotonic() > deadline:
            raise Unavailable(
                f"{without_query(str(response.url))}: the answer took longer than {timeout:g} s",
                overloaded=True,
            )
        yield chunk
