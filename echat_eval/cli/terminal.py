"""The one place that prints. Output can neither act on the terminal nor decide how a command ends.

Control characters of names, texts and errors are printed as escapes such as \\x1b, and characters that the
terminal's encoding does not have as escapes such as \\u2026. If its reader leaves, as `head` does, or the
stream is closed, the text is lost and nothing else.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import logging
import os
import sys
from typing import IO, TYPE_CHECKING, Any, TextIO, cast

import click

from echat_eval.errors import scrub
from echat_eval.io.display import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

__all__ = [
    "console",
    "flush",
    "is_terminal",
    "open_terminal",
    "overwrite",
    "show",
    "show_table",
    "table_width",
    "tolerant",
]

#: Characters of a table that is not printed on a terminal, but into a file or a pipe.
PIPE_WIDTH = 160


def show(*lines: object, err: bool = False) -> None:
    """Print lines without secrets to stdout, or to stderr; a line break in a line is printed as an escape."""
    for line in lines:
        click.echo(printable(scrub(str(line))), err=err)


def overwrite(line: str) -> None:
    """Print a line over the last one on a terminal, for progress; elsewhere nothing."""
    if is_terminal(err=True):
        click.echo(f"\r{printable(line)}", nl=False, err=True)


def flush() -> None:
    """Write what is buffered."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def is_terminal(*, err: bool = False) -> bool:
    """Return whether stdout, or stderr, is a terminal."""
    stream = sys.stderr if err else sys.stdout
    return stream is not None and stream.isatty()


def table_width() -> int:
    """Return the characters of a line of a table on stdout."""
    return console().width if is_terminal() else PIPE_WIDTH


def show_table(*tables: RenderableType) -> None:
    """Print tables of rich to stdout; lines are wrapped on a terminal only."""
    printer = console(width=table_width())
    for table in tables:
        printer.print(table)


def console(*, err: bool = False, width: int | None = None) -> Console:
    """Return a console of rich, whose own control characters pass and whose texts' do not."""
    from rich.console import Console
    from rich.segment import Segment

    class Door(Console):
        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                if not segment.control:
                    segment = Segment(printable(segment.text, keep="\n"), segment.style)
                yield segment

    stream = sys.stderr if err else sys.stdout
    file = cast("IO[str]", _Controls(stream)) if isinstance(stream, _Terminal) else stream
    return Door(file=file, width=width, markup=False, highlight=False, emoji=False)


class _Tolerant(io.FileIO):
    """A file to which writing never fails: what its reader does not take is discarded."""

    def write(self, content: Any, /) -> int:
        """Write bytes; return their count also if no program reads them."""
        try:
            return super().write(content) or 0
        except OSError:
            return memoryview(content).nbytes


class _Terminal(io.TextIOWrapper):
    """A stream that prints control characters as escapes, also those of loggers, libraries and Python itself.

    An ASCII stream has the name of Latin-1, because click writes UTF-8 to one that is named ASCII.
    """

    def __init__(self, raw: io.RawIOBase, encoding: str, *, line_buffering: bool) -> None:
        self._is_ascii = codecs.lookup(encoding).name == "ascii"
        super().__init__(
            io.BufferedWriter(raw),
            encoding="latin-1" if self._is_ascii else encoding,
            errors="backslashreplace",
            line_buffering=line_buffering,
        )

    def write(self, text: str, /) -> int:
        """Write text; return the number of its characters."""
        self.write_controls(printable(text, keep="\n\r"))
        return len(text)

    def write_controls(self, text: str) -> None:
        """Write text with its control characters."""
        super().write(text.encode("ascii", "backslashreplace").decode("ascii") if self._is_ascii else text)


class _Controls:
    """A stream for rich, which moves the cursor."""

    def __init__(self, terminal: _Terminal) -> None:
        self._terminal = terminal
        self.encoding = terminal.encoding

    def write(self, text: str) -> int:
        """Write text with its control characters."""
        self._terminal.write_controls(text)
        return len(text)

    def flush(self) -> None:
        """Flush the terminal."""
        self._terminal.flush()

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self._terminal.isatty()

    def fileno(self) -> int:
        """Return its file descriptor."""
        return self._terminal.fileno()


class _LogLines(logging.Handler):
    """Prints log messages of programs that configure no logging, each on one line."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message."""
        show(self.format(record), err=True)


def tolerant(stream: TextIO | None) -> TextIO:
    """Return a stream on the same file, or on none, that prints any text and never fails."""
    if stream is None:
        raw = _Tolerant(os.devnull, "wb")
        return _Terminal(raw, "utf-8", line_buffering=False)
    with contextlib.suppress(OSError, ValueError):
        stream.flush()
    raw = _Tolerant(stream.fileno(), "wb", closefd=False)
    return _Terminal(raw, stream.encoding, line_buffering=stream.isatty() or stream is sys.__stderr__)


def open_terminal() -> None:
    """Make stdout and stderr tolerant, unless something else, such as a test, has replaced them."""
    _occupy_standard_files()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, tolerant(stream))
    logging.lastResort = _LogLines(logging.WARNING)


def _occupy_standard_files() -> None:
    """Open the null device for a closed stdin, stdout or stderr; else a data file would get its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
