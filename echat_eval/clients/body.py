"""The body of a response: decompressed, and limited in size after decompression."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator

from echat_eval.clients.faults import Party, answer_fault
from echat_eval.errors import Unavailable

__all__ = ["limited"]

#: Bytes that are decompressed at once, so that a small body cannot fill the memory.
PIECE = 2**16
_AS_GZIP = 16 + zlib.MAX_WBITS


async def limited(
    chunks: AsyncIterator[bytes], *, encoding: str, max_bytes: int, party: Party
) -> AsyncIterator[bytes]:
    """Yield a body in pieces.

    Args:
        encoding: content-encoding of the response; none is requested, but some gateways compress anyway.
        max_bytes: limit after decompression.
        party: whose answer it is.

    Raises:
        Unavailable: a compressed body breaks off, or an instrument's answer is as below.
        SystemFailure: the body is too long or cannot be decompressed.
    """
    encoding = encoding.strip().lower()
    if encoding in ("gzip", "x-gzip", "deflate"):
        chunks = _decompressed(chunks, deflate=encoding == "deflate", party=party)
    elif encoding not in ("", "identity"):
        raise answer_fault(
            f"the answer is compressed as {encoding[:20]!r}, which was not requested; send it uncompressed",
            party,
        )
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            raise answer_fault(f"the answer is longer than {max_bytes:,} bytes", party)
        yield chunk


async def _decompressed(chunks: AsyncIterator[bytes], *, deflate: bool, party: Party) -> AsyncIterator[bytes]:
    decoder = None
    async for chunk in chunks:
        rest = chunk
        while rest:
            decoder = decoder or zlib.decompressobj(_deflate_form(rest) if deflate else _AS_GZIP)
            try:
                piece = decoder.decompress(rest, PIECE)
            except zlib.error as error:
                raise answer_fault(f"the answer cannot be decompressed: {error}", party) from error
            while piece:  # a full piece may have left output behind without input
                yield piece
                piece = b"" if decoder.eof else decoder.decompress(decoder.unconsumed_tail, PIECE)
            rest = decoder.unused_data or decoder.unconsumed_tail
            if decoder.eof:
                decoder = None
    if decoder is not None:
        raise Unavailable("the compressed answer breaks off before its end")


def _deflate_form(begin: bytes) -> int:
    """Return the window bits of a deflate body: some servers leave out the header of zlib."""
    has_header = len(begin) > 1 and begin[0] & 15 == zlib.DEFLATED and (begin[0] * 256 + begin[1]) % 31 == 0
    return zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS
