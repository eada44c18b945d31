"""The terminal: what is printed never decides how a command ends."""

from __future__ import annotations

import codecs
import contextlib
import io
import sys
from typing import Any, TextIO

__all__ = ["open_terminal", "tolerant"]


class _ClosedPipe(io.FileIO):
    """A file whose reader may leave, such as `head`; what is written afterwards is discarded."""

    def write(self, content: Any, /) -> int:
        """Write bytes; return their count also if no program reads them."""
        try:
            return super().write(content) or 0
        except BrokenPipeError:
            return memoryview(content).nbytes


class _Ascii(io.TextIOWrapper):
    """An ASCII stream under the name of Latin-1, because click writes UTF-8 to one that is named ASCII."""

    def write(self, text: str, /) -> int:
        """Write text; return the number of its characters."""
        super().write(text.encode("ascii", "backslashreplace").decode("ascii"))
        return len(text)


def tolerant(stream: TextIO) -> TextIO:
    """Return a stream on the same file that replaces what its encoding cannot show, and outlives its reader.

    A character that an ASCII or Latin-1 terminal does not have is written as an escape such as \\u2026.
    """
    with contextlib.suppress(OSError, ValueError):
        stream.flush()
    raw = _ClosedPipe(stream.fileno(), "wb", closefd=False)
    is_ascii = codecs.lookup(stream.encoding).name == "ascii"
    return (_Ascii if is_ascii else io.TextIOWrapper)(
        io.BufferedWriter(raw),
        encoding="latin-1" if is_ascii else stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.isatty() or stream is sys.__stderr__,
    )


def open_terminal() -> None:
    """Make stdout and stderr tolerant, unless something else, such as a test, has replaced them."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, tolerant(stream))
