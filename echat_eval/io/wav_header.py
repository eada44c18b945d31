"""Headers of WAV files whose lengths are placeholders, and files that hold several WAVs in a row.

Programs that stream do not know the length in advance. They write 0, 0xFFFFFFFF, 0x7FFFFFFF, 2,000,000,000 or
another impossible length, or a whole WAV per piece.
"""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass
from typing import IO

from echat_eval.errors import BadData

__all__ = ["PlainWav", "mended_wav", "plain_wav", "read_wav"]

#: Larger files are left to libsndfile; ten minutes of 16-bit stereo at 48 kHz are 115 MB.
MAX_BYTES = 2**28
#: Lengths from this on are placeholders; so are lengths beyond the file that no recording has.
_PLACEHOLDER = 0x7000_0000
_HEADER = re.compile(rb"RIFF.{4}WAVE", re.S)
#: Chunks that may follow the audio.
_CHUNKS = (
    b"LIST",
    b"id3 ",
    b"ID3 ",
    b"fact",
    b"PEAK",
    b"cue ",
    b"smpl",
    b"bext",
    b"afsp",
    b"iXML",
    b"junk",
    b"JUNK",
    b"PAD ",
)


#: The format chunk of integer or float PCM: code, channels, rate, bytes a second, bytes a frame, bits.
_PCM = struct.Struct("<HHIIHH")
#: Format code -> bits of a value that libsndfile decodes.
_BITS = {1: (8, 16, 24, 32), 3: (32, 64)}


@dataclass(frozen=True, slots=True)
class PlainWav:
    """The facts of a header of integer or float PCM: Hz, channels, and frames."""

    rate: int
    channels: int
    frames: int


def plain_wav(content: bytes) -> PlainWav | None:
    """Return the facts of one WAV of PCM in its simplest form, whose lengths are those of the file.

    Most recordings have this form, and their header needs no decoder. None for every other file, which
    `mended_wav` and libsndfile then judge.

    >>> plain_wav(b"RIFF")
    """
    if len(content) <= 44 or content[:4] + content[8:16] != b"RIFFWAVEfmt " or content[36:40] != b"data":
        return None
    riff, form, data = (struct.unpack_from("<I", content, at)[0] for at in (4, 16, 40))
    code, channels, rate, byte_rate, frame, bits = _PCM.unpack_from(content, 20)
    if (riff, form, data) != (len(content) - 8, 16, len(content) - 44) or bits not in _BITS.get(code, ()):
        return None
    if not channels or not rate or frame != channels * bits // 8 or byte_rate != rate * frame:
        return None
    if data % frame or _HEADER.search(content, 12):
        return None
    return PlainWav(rate, channels, data // frame)


@dataclass(frozen=True, slots=True)
class _Piece:
    """One WAV of a file: its format chunk, its audio, and whether its header states the audio's length."""

    format: memoryview
    audio: memoryview
    is_stated: bool


def read_wav(file: IO[bytes], size: int) -> bytes | None:
    """Return the content of a file; None if it is no WAV, or too large for its header to be mended."""
    start = file.read(12)
    if not _HEADER.match(start) or size > MAX_BYTES:
        return None
    return start + file.read()


def mended_wav(content: bytes, path: str, max_seconds: float) -> io.BytesIO | None:
    """Return a WAV with the actual length, and with all pieces joined; None if the file needs neither.

    Args:
        content: the whole file, a WAV.
        path: what messages name it.
        max_seconds: longest recording; a stated length beyond it and beyond the file is a placeholder.

    Raises:
        BadData: pieces of different formats, or pieces of which one is cut short.
    """
    starts = [match.start() for match in _HEADER.finditer(content)]
    view = memoryview(content)  # whose parts are no copies
    pieces = [
        _piece_of(view[start:end], max_seconds)
        for start, end in zip(starts, [*starts[1:], len(content)], strict=True)
    ]
    whole = [piece for piece in pieces if piece is not None]
    if len(pieces) == 1:
        if not whole or whole[0].is_stated:
            return None
    elif len(whole) < len(pieces):
        raise BadData(f"{path}: {len(pieces)} WAV files in a row, one of them cut short or without audio")
    formats = {bytes(piece.format) for piece in whole}
    if len(formats) > 1:
        raise BadData(
            f"{path}: {len(whole)} WAV files in a row, of different formats: "
            + ", ".join(sorted({_named(form) for form in formats}))
        )
    return _joined(whole)


def _piece_of(content: memoryview, max_seconds: float) -> _Piece | None:
    """Return the audio of one WAV; None if it is cut short or has no format or audio."""
    form: memoryview | None = None
    at = 12
    while at + 8 <= len(content):
        name, size = bytes(content[at : at + 4]), struct.unpack_from("<I", content, at + 4)[0]
        at += 8
        if name == b"data" and form is not None:
            rest = content[at:]
            if size and size <= len(rest):
                return _Piece(form, rest[:size], is_stated=True)
            byte_rate, block = struct.unpack_from("<IH", form, 8)
            is_unknown = size >= _PLACEHOLDER or size > max_seconds * byte_rate
            if not size:
                is_unknown = bool(rest) and bytes(rest[:4]) not in _CHUNKS
            if not is_unknown:
                return _Piece(form, rest[:0], is_stated=True) if not size else None
            return _Piece(form, rest[: len(rest) - len(rest) % max(block, 1)], is_stated=False)
        if name == b"fmt " and 16 <= size <= len(content) - at:
            form = content[at : at + size]
        at += size + size % 2
    return None


def _named(form: bytes) -> str:
    code, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", form)
    return f"{rate} Hz, {channels} channel(s), {bits} bits, format {code}"


def _joined(pieces: list[_Piece]) -> io.BytesIO:
    form, length = pieces[0].format, sum(len(piece.audio) for piece in pieces)
    start = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"\0" * (len(form) % 2)
    start += b"data" + struct.pack("<I", length)
    end = b"\0" * (length % 2)
    riff = b"RIFF" + struct.pack("<I", len(start) + length + len(end))
    # Joined at once: the audio may be a quarter of a gigabyte.
    return io.BytesIO(b"".join([riff, start, *(piece.audio for piece in pieces), end]))
