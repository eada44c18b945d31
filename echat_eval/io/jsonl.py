"""Strict JSON Lines: appended row by row; a torn last line is repaired and reported."""

from __future__ import annotations

import json
import logging
import os
import re
from math import inf
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from echat_eval.errors import BadData
from echat_eval.io.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "Appender",
    "RowFault",
    "dumps",
    "loads",
    "mend",
    "read_rows",
    "rows_text",
    "scan_rows",
    "write_rows",
]

logger = logging.getLogger(__name__)

#: A longer line is rejected before it is read into memory.
MAX_LINE_BYTES = 64 * 2**20

#: Built once, because every sample encodes several rows and keys.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))


def dumps(value: Any) -> str:
    """Return strict JSON on one line with sorted keys, so that equal values give equal bytes.

    Raises:
        BadData: NaN, an infinity, or a type that JSON does not have.

    >>> dumps({"b": 1.5, "a": "é"})
    '{"a":"é","b":1.5}'
    """
    try:
        return _ENCODER.encode(value)
    except (ValueError, TypeError) as error:
        raise BadData(f"cannot write as strict JSON: {error}") from error


def _reject_constant(token: str) -> Any:
    raise ValueError(f"{token} is not JSON")


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        raise ValueError("the same key twice in one object")
    return row


def _finite(token: str) -> float:
    number = float(token)
    if number in (inf, -inf):
        raise ValueError(f"the number {token[:20]} is too large")
    return number


_DECODER = json.JSONDecoder(
    parse_constant=_reject_constant, parse_float=_finite, object_pairs_hook=_reject_duplicates
)
#: The escape of a surrogate; a pair of them is one character, a single one is none.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def loads(text: str | bytes) -> Any:
    """Return the value of one strict JSON text: no NaN, no infinity, no duplicate keys, only Unicode.

    Raises:
        ValueError: the text is not strict JSON.

    >>> loads('"\\\\ud83d\\\\ude00"')
    '😀'
    >>> loads('["\\\\ud83d"]')
    Traceback (most recent call last):
    ValueError: a text holds a lone surrogate, which is no character
    """
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text))
    try:
        value = _DECODER.decode(text.removeprefix("\ufeff"))
        if _SURROGATE.search(text):
            _ENCODER.encode(value).encode()
        return value
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except UnicodeEncodeError as error:
        raise ValueError("a text holds a lone surrogate, which is no character") from error
    except ValueError as error:
        if "set_int_max_str_digits" in str(error):  # Python's own words are for programmers
            raise ValueError("a whole number has too many digits") from error
        raise


class RowFault(str):
    """Why a line is no row.

    Attributes:
        line: the line.
    """

    line: bytes

    def __new__(cls, message: str, line: bytes) -> RowFault:
        """Return the message, with its line."""
        fault = super().__new__(cls, message)
        fault.line = line
        return fault


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) for every non-empty line.

    Raises:
        BadData: a line is not a strict JSON object; the message names file and line.
    """
    try:
        for number, row in scan_rows(path):
            if isinstance(row, str):
                raise BadData(f"{path}:{number}: {row}")
            yield number, row
    except OSError as error:
        raise BadData(f"{path}: cannot be read: {error.strerror or error}") from error


def scan_rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | RowFault]]:
    """Yield (line number, object) for every non-empty line; its fault in place of a faulty line.

    Nothing after a line that is too long is read.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                yield number, RowFault(f"line longer than {MAX_LINE_BYTES:,} bytes", b"")
                return
            if line.strip():
                yield number, _row_or_fault(line, first=number == 1)


def _row_or_fault(line: bytes, *, first: bool) -> dict[str, Any] | RowFault:
    try:
        row = loads(line.decode("utf-8-sig" if first else "utf-8"))
    except ValueError as error:
        hint = "" if line.endswith(b"\n") else "; the file ends in the middle of a row"
        return RowFault(f"not strict JSON: {error}{hint}", line)
    if not isinstance(row, dict):
        return RowFault(f"expected an object, got {type(row).__name__}", line)
    return row


def mend(path: Path) -> int:
    """Remove a torn last line, left by an interrupted write, and return the number of bytes removed.

    Only the text after the last line break can be torn. A fault before it is damage, and reading it raises.
    """
    if not path.exists():
        return 0
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        keep = end
        while keep > 0:
            step = min(keep, 1 << 16)
            file.seek(keep - step)
            at = file.read(step).rfind(b"\n")
            if at >= 0:
                keep = keep - step + at + 1
                break
            keep -= step
        torn = end - keep
        if torn:
            file.truncate(keep)
            logger.warning(
                "%s: the last line was torn (%d bytes); it is removed and its row is computed again",
                path,
                torn,
            )
    return torn


class Appender:
    """Appends rows to one file.

    `append` returns after the kernel has the row, so that a killed process loses no finished row. `close`
    also forces the file to the disk.
    """

    def __init__(self, path: Path) -> None:
        mend(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = path.open("ab", buffering=0)

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row."""
        line = (dumps(row) + "\n").encode()
        at = self._file.tell()
        if self._file.write(line) != len(line):
            self._file.truncate(at)
            raise OSError(28, "the disk is full")

    def close(self) -> None:
        """Force the rows to the disk and close."""
        if not self._file.closed:
            try:
                os.fsync(self._file.fileno())
            finally:
                self._file.close()

    def __enter__(self) -> Appender:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            # A second error must not hide the first one.
            self._file.close()


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Replace a JSONL file atomically."""
    write_atomically(path, rows_text(rows))


def rows_text(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the content of a JSONL file."""
    return "".join(dumps(row) + "\n" for row in rows)
