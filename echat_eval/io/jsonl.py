"""Strict JSON Lines: appended row by row, a torn last line mended and said."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from echat_eval.errors import BadData
from echat_eval.io.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "Appender",
    "dumps",
    "loads",
    "mend",
    "read_rows",
    "write_rows",
]

logger = logging.getLogger(__name__)

#: A line longer than this is refused rather than read into memory.
MAX_LINE_BYTES = 64 * 2**20


#: Made once: a row is written and a key made of it several times a sample.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))


def dumps(value: Any) -> str:
    """Return strict JSON on one line, keys sorted, so that equal values are equal bytes.

    Raises:
        BadData: NaN, an infinity, or something JSON cannot hold.

    >>> dumps({"b": 1.5, "a": "é"})
    '{"a":"é","b":1.5}'
    """
    try:
        return _ENCODER.encode(value)
    except (ValueError, TypeError) as error:
        raise BadData(f"cannot write as strict JSON: {error}") from error


def _refuse(token: str) -> Any:
    raise ValueError(f"{token} is not JSON")


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen = dict(pairs)
    if len(seen) != len(pairs):
        raise ValueError("the same key twice in one object")
    return seen


_DECODER = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=_no_twins)


def loads(text: str | bytes) -> Any:
    """Return the value of one strict JSON text: no NaN, no key twice.

    Raises:
        ValueError: it is not strict JSON.
    """
    try:
        if isinstance(text, str) and not text.startswith("\ufeff"):
            return _DECODER.decode(text)
        return json.loads(text, parse_constant=_refuse, object_pairs_hook=_no_twins)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) for every non-empty line.

    Raises:
        BadData: with file and line.
    """
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(line) > MAX_LINE_BYTES:
                    raise BadData(f"{path}:{number}: line longer than {MAX_LINE_BYTES:,} bytes")
                if line.strip():
                    yield number, _parse_row(path, number, line)
    except OSError as error:
        raise BadData(f"{path}: cannot be read: {error.strerror or error}") from error


def _parse_row(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except ValueError as error:
        raise BadData(f"{path}:{number}: not strict JSON: {error}") from error
    if not isinstance(row, dict):
        raise BadData(f"{path}:{number}: expected an object, got {type(row).__name__}")
    return row


def mend(path: Path) -> int:
    """Cut a torn last line (a write that was interrupted) and return how many bytes went.

    Only what follows the last line break can be torn; anything broken before it is damage,
    and reading it raises.
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
                "%s: the last line was torn (%d bytes); it is cut and its row done again", path, torn
            )
    return torn


class Appender:
    """Appends rows to one file; every row is in the kernel's hands before `append` returns.

    So a killed process loses no finished row. `close` also forces the file to the disk.
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
            # What went wrong already is the news; a second error must not hide it.
            self._file.close()


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Replace a JSONL file as a whole."""
    write_atomically(path, "".join(dumps(row) + "\n" for row in rows))
