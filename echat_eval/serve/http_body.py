"""Reading a request's body within limits, and giving up its work when the client leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect, Request

from echat_eval.serve.api_error import ApiError

if TYPE_CHECKING:
    from starlette.types import Receive

    from echat_eval.serve.limits import Limits

__all__ = ["read_content", "unless_gone"]

#: A body beyond the limit is read and dropped up to this multiple of it: a client that still sends would see
#: a broken connection in place of the answer.
_DROPPED = 4


async def read_content(request: Request, limits: Limits) -> bytes:
    """Return a JSON request's body.

    Raises:
        ApiError: another content type or encoding; too large; too slow.
        ClientDisconnect: the client left.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, f"content type {kind[:60] or 'missing'}; expected application/json")
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding != "identity":
        raise ApiError(415, f"content encoding {coding[:60]}; send the body as it is")
    limit, size = limits.body_bytes, 0
    pieces: list[bytes] = []
    stated = request.headers.get("content-length", "")
    hopeless = stated.isdigit() and int(stated) > _DROPPED * limit
    try:
        async with asyncio.timeout(limits.upload_seconds):
            async for piece in request.stream():
                size += len(piece)
                if hopeless or size > _DROPPED * limit:
                    break
                if size <= limit:
                    pieces.append(piece)
    except TimeoutError as error:
        raise ApiError(408, f"the request did not arrive within {limits.upload_seconds:g} s") from error
    if size > limit or hopeless:
        raise ApiError(
            413,
            f"a body of more than {limit:,} bytes, which is the limit; send shorter audio or 16 kHz mono",
        )
    return b"".join(pieces)


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end, or until the client closes the connection.

    Raises:
        ClientDisconnect: the client left; the work was cancelled.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        task.result()
    finally:
        for running in (task, gone):
            running.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
