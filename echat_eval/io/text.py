"""Bytes from outside decoded strictly: as UTF-8, or as a byte order mark or a declared charset states."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

from echat_eval.errors import BadData

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["codec_of", "decoded", "read_text"]

#: Byte order mark -> codec; UTF-32 first, because its mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def codec_of(content: bytes, charset: str | None = None) -> str:
    """Return the codec that a byte order mark states; without a mark the declared charset, or UTF-8."""
    return next((name for mark, name in _MARKS if content.startswith(mark)), charset or "utf-8")


def decoded(content: bytes, location: str, *, charset: str | None = None) -> str:
    """Return text; nothing is replaced.

    Args:
        content: the bytes; a byte order mark states their encoding.
        location: what holds them, for the message.
        charset: the declared encoding of bytes without a mark; None for UTF-8.

    Raises:
        BadData: bytes that the encoding does not have, with their offset, or an unknown charset.

    >>> decoded("é".encode("latin-1"), "x.txt", charset="latin-1")
    'é'
    >>> decoded(b"ab\\xff", "x.txt")
    Traceback (most recent call last):
    echat_eval.errors.BadData: x.txt: byte 2 (0xff) is not UTF-8; save it as UTF-8 or declare its charset
    """
    codec = codec_of(content, charset)
    try:
        if not codecs.lookup(codec)._is_text_encoding:
            raise LookupError(codec)
        return content.decode(codec)
    except LookupError as error:
        raise BadData(f"{location}: unknown charset {codec[:40]!r}") from error
    except UnicodeError as error:
        at = error.start if isinstance(error, UnicodeDecodeError) else 0
        name = codec.upper().removesuffix("-SIG")
        raise BadData(
            f"{location}: byte {at} (0x{content[at]:02x}) is not {name}; "
            "save it as UTF-8 or declare its charset"
        ) from error


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        BadData: it cannot be read or decoded.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadData(f"{path}: cannot be read: {error.strerror or error}") from error
    return decoded(content, str(path))
