"""HTTP client of judges, systems and downloads: one deadline, one size limit, no redirect to another host.

Every request of this package to a server goes through `open_stream`. The deadline covers the whole exchange,
so that neither dripped headers nor an endless stream outlasts it; the limit on a body counts decompressed
bytes.
"""

from __future__ import annotations

import asyncio
import errno
import re
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from echat_eval.clients.body import limited
from echat_eval.clients.faults import Party, reported_fault
from echat_eval.clients.network import check_url, origin_of, proxy_for, ssl_context_for, without_query
from echat_eval.concurrency import event_loop
from echat_eval.errors import ServerRefusal, Unavailable, UsageError, scrub
from echat_eval.io.display import one_line

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

__all__ = [
    "MAX_REDIRECTS",
    "HttpAnswer",
    "HttpClient",
    "StreamedAnswer",
    "exchange",
    "get_once",
    "headers_of",
    "open_stream",
    "raise_for_status",
    "read_body",
    "transport_errors",
    "verbatim_url",
]

#: Redirects of one request, within a host for systems and from a hub to its storage for downloads.
MAX_REDIRECTS = 5
#: Statuses that redirect with the same method and body; 301, 302 and 303 turn a POST into a GET.
_SAME_METHOD = frozenset({307, 308})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: Bytes of a body that the transport sends in pieces, so that the event loop is not held up.
_LARGE = 2**20
#: Seconds to wait for connections to close.
CLOSE_TIMEOUT = 2.0
#: Bytes of a header; a system may send the text of a spoken reply in one.
MAX_HEADER_BYTES = 2**17
#: Seconds until an unused connection is closed.
KEEPALIVE = 30.0


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


class HttpClient:
    """Connections to servers, opened when needed; a `Limiter` limits their number.

    It keeps no cookies, so that no row changes the next.

    Args:
        party: whose fault an answer is that breaks a rule; see `clients.faults.reported_fault`.
    """

    def __init__(self, party: Party = "system") -> None:
        import aiohttp  # noqa: F401  here, so that the first call is not slower than the others

        self.party: Party = party
        self._session: aiohttp.ClientSession | None = None
        self._closing: Callable[[], object] | None = None

    def session(self) -> aiohttp.ClientSession:
        """Return the open connections; called on the event loop only."""
        if self._session is None:
            import aiohttp

            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),  # `open_stream` holds the deadline
                auto_decompress=False,
                max_field_size=MAX_HEADER_BYTES,
                trace_configs=self._traces(),
            )
            self._closing = weakref.finalize(self, _close, self._session)
        return self._session

    def _traces(self) -> list[aiohttp.TraceConfig]:
        """Return what observes the transport's requests."""
        return []

    async def aclose(self) -> None:
        """Close all connections; called on the event loop only."""
        if self._session is not None:
            await self._session.close()
        self.close()

    def close(self) -> None:
        """Close all connections; they open again with the next call."""
        if self._closing is not None:
            self._closing()
            self._session = self._closing = None


def _close(session: aiohttp.ClientSession) -> None:
    """Close connections, also of a client that was garbage-collected: the transport would warn otherwise."""
    closing = event_loop.start(session.close())
    if not event_loop.is_here():
        with suppress(FutureTimeout):
            closing.result(timeout=CLOSE_TIMEOUT)


@asynccontextmanager
async def open_stream(
    client: HttpClient,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    content: bytes | None = None,
    timeout: float,
    max_bytes: int,
    follow: bool = True,
) -> AsyncIterator[StreamedAnswer]:
    """Send one request and yield the response as it arrives.

    Args:
        timeout: seconds for the whole exchange, from the connection to the last byte read in the block.
        max_bytes: limit on the body after decompression.
        follow: follow redirects on the same host; otherwise yield their answers.

    Raises:
        Unavailable: no connection, a timeout, or an incomplete response.
        SystemFailure: the response of a system is too long, or compressed in a way that was not requested.
        UsageError: the URL, a proxy or a certificate is wrong, or a redirect leads to another host.
    """
    place = without_query(url)
    deadline = asyncio.timeout(timeout)
    try:
        async with deadline:
            sent_headers = {"accept-encoding": "identity", "user-agent": "echat-eval", **headers}
            response = await _answer(client, method, url, sent_headers, content, follow=follow)
            try:
                found = headers_of(response)
                chunks = limited(
                    _received(response, place),
                    encoding=found.get("content-encoding", ""),
                    max_bytes=max_bytes,
                    party=client.party,
                )
                yield StreamedAnswer(status=response.status, headers=found, chunks=chunks)
            finally:
                response.release()  # closes the connection if the body was not read to its end
    except TimeoutError as error:
        if not deadline.expired():
            raise
        raise Unavailable(f"{place}: no whole answer in {timeout:g} s", overloaded=True) from error


async def exchange(
    client: HttpClient,
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
    client = HttpClient()
    try:
        return await exchange(client, "GET", url, headers=headers, timeout=timeout, max_bytes=max_bytes)
    finally:
        await client.aclose()


async def read_body(answer: StreamedAnswer) -> HttpAnswer:
    """Read a streamed response to its end."""
    body = b"".join([chunk async for chunk in answer.chunks])
    return HttpAnswer(status=answer.status, headers=answer.headers, body=body)


def raise_for_status(
    answer: HttpAnswer, url: str, *, options: Mapping[str, str] | None = None, party: Party = "system"
) -> None:
    """Raise our error for a status other than 2xx; see `clients.faults.reported_fault`.

    Args:
        url: where the request was sent.
        options: name of a parameter of the request -> the option that changes or omits it.
        party: whose server it is.

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
            party=party,
        )


async def _answer(
    client: HttpClient,
    method: str,
    url: str,
    headers: Mapping[str, str],
    content: bytes | None,
    *,
    follow: bool,
) -> aiohttp.ClientResponse:
    """Return the response whose body is still to be read, after redirects on the same host."""
    place = without_query(url)
    for _ in range(MAX_REDIRECTS + 1):
        with transport_errors(place):
            response = await client.session().request(
                method,
                verbatim_url(url),
                headers=headers,
                data=content if content is None or len(content) < _LARGE else BytesIO(content),
                allow_redirects=False,
                proxy=proxy_for(url),
                ssl=ssl_context_for(url),
            )
        location = response.headers.get("location")
        if not follow or response.status not in _REDIRECTS or location is None:
            return response
        response.release()
        url = _same_host(url, location, response.status, method)
    raise ServerRefusal(f"{place}: more than {MAX_REDIRECTS} redirects; give the URL that they lead to")


def headers_of(response: aiohttp.ClientResponse) -> dict[str, str]:
    """Return the headers of a response with lower-case names."""
    return {name.lower(): value for name, value in response.headers.items()}


async def _received(response: aiohttp.ClientResponse, place: str) -> AsyncIterator[bytes]:
    chunks = aiter(response.content.iter_any())
    while True:
        with transport_errors(place):
            try:
                chunk = await anext(chunks)
            except StopAsyncIteration:
                return
        yield chunk


def verbatim_url(url: str) -> URL:
    """Return the URL as it stands if it is one already; otherwise with its special characters encoded."""
    from yarl import URL

    return URL(url.partition("#")[0], encoded=re.fullmatch(r"[!#-;=?-\[\]_a-z~]+", url) is not None)


@contextmanager
def transport_errors(place: str) -> Iterator[None]:
    """Translate the errors of the transport; the block must hold nothing but its calls."""
    import aiohttp

    try:
        yield
    except aiohttp.ClientProxyConnectionError as error:
        raise Unavailable(f"{place}: the proxy cannot be reached: {_text(error)}", never_sent=True) from error
    except aiohttp.ClientHttpProxyError as error:
        raise reported_fault(
            "", place=f"{place}: the proxy", status=error.status, party="instrument"
        ) from error
    except aiohttp.ClientSSLError as error:
        raise ServerRefusal(
            f"{place}: no secure connection: {_text(error)}; name your certificates in SSL_CERT_FILE"
        ) from error
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
        raise UsageError(f"{place} is not a URL: {_text(error)}") from error
    except aiohttp.ClientConnectorError as error:
        # Too many open files are our own; fewer calls at once may succeed.
        raise Unavailable(
            f"{place}: {_text(error)}",
            never_sent=True,
            overloaded=error.errno in (errno.EMFILE, errno.ENFILE),
        ) from error
    except aiohttp.ClientResponseError as error:
        raise Unavailable(
            f"{place}: the answer is not HTTP: {one_line(scrub(error.message), 120)}"
        ) from error
    except (aiohttp.ClientError, OSError) as error:
        raise Unavailable(f"{place}: {_text(error) or type(error).__name__}") from error


def _text(error: BaseException) -> str:
    return one_line(scrub(str(error)), 300)


def _same_host(url: str, location: str, status: int, method: str) -> str:
    """Return the target of a redirect.

    Raises:
        ServerRefusal: it is another host, or a redirect that drops the body.
    """
    place = without_query(url)
    try:
        target = check_url(urljoin(url, location), "the redirect's target")
    except UsageError as error:
        raise ServerRefusal(
            f"{place}: HTTP {status} redirects to an address that is no URL: {error}"
        ) from error
    if origin_of(target) != origin_of(url):
        raise ServerRefusal(
            f"{place}: refused a redirect to {origin_of(target)}, which would get the request and the key; "
            "give that server's own URL if you trust it"
        )
    if method != "GET" and status not in _SAME_METHOD:
        raise ServerRefusal(f"{place}: HTTP {status} redirects to {urlsplit(target).path}; give that URL")
    return target
