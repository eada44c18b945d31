"""Content hashes of records, settings and files: the only module that computes a sha256."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

from echat_eval.errors import BadData
from echat_eval.io.files import replacing
from echat_eval.io.jsonl import dumps
from echat_eval.records import LATER, AudioRef

__all__ = [
    "KEY_VERSION",
    "copy_verified",
    "digest",
    "digest_of_texts",
    "facts_of",
    "file_sha256",
    "fingerprint_of",
    "sha256_of",
    "unchanged_file_sha256",
]

#: Increased when the meaning of a key changes, so that old rows are computed again and never misread.
KEY_VERSION = 1

_BLOCK_BYTES = 1 << 20

#: Type of a record -> its fields, each with whether it is in no hash while it is None; None for other types.
_FIELDS: dict[type, tuple[tuple[str, bool], ...] | None] = {}
#: Types whose values are their own facts. Asked for first: a case has some twenty of them.
_PLAIN = frozenset({str, int, float, bool, type(None)})


def facts_of(value: Any) -> Any:
    """Return a value as plain JSON: records become mappings, audio becomes its hash."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is list or kind is tuple:
        return [inner if type(inner) in _PLAIN else facts_of(inner) for inner in value]
    if kind is AudioRef:
        return value.sha256
    if (names := _FIELDS[kind] if kind in _FIELDS else _fields_of(kind)) is not None:
        found = {}
        for name, later in names:
            fact = getattr(value, name)
            if type(fact) not in _PLAIN:
                found[name] = facts_of(fact)
            elif fact is not None or not later:
                found[name] = fact
        return found
    if kind is dict or kind is MappingProxyType or isinstance(value, Mapping):
        return {
            str(name): inner if type(inner) in _PLAIN else facts_of(inner) for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [facts_of(inner) for inner in value]
    return value


def _fields_of(kind: type) -> tuple[tuple[str, bool], ...] | None:
    if kind not in _FIELDS:
        _FIELDS[kind] = (
            tuple((field.name, field.metadata == LATER) for field in fields(kind))
            if is_dataclass(kind)
            else None
        )
    return _FIELDS[kind]


def digest(kind: str, facts: Any) -> str:
    """Return the sha256 hex digest of a kind and its facts.

    >>> digest("x", {"a": 1, "b": 2}) == digest("x", {"b": 2, "a": 1}) != digest("y", {"a": 1, "b": 2})
    True
    """
    return fingerprint_of([KEY_VERSION, kind, facts_of(facts)])


def digest_of_texts(kind: str, texts: Iterable[str]) -> str:
    """Return `digest` of a list whose entries are plain JSON already, so that common ones are written once.

    >>> digest_of_texts("x", [dumps({"a": 1}), "2"]) == digest("x", [{"a": 1}, 2])
    True
    """
    return sha256_of(f"[{KEY_VERSION},{dumps(kind)},[{','.join(texts)}]]")


def fingerprint_of(parts: Any) -> str:
    """Return the sha256 hex digest of plain JSON, with sorted keys and neither kind nor key version.

    Fingerprints of scorers, annotators and tasks have this form: another form would invalidate every stored
    score and annotation. Keys of new kinds of rows use `digest`.

    >>> fingerprint_of(["outcome", "1"])[:12]
    'e4a08973d801'
    """
    return sha256_of(dumps(parts))


def sha256_of(content: str | bytes | Iterable[bytes]) -> str:
    """Return the hex digest of text (as UTF-8), of bytes, or of blocks of bytes, one after the other.

    >>> sha256_of("ab") == sha256_of(b"ab") == sha256_of([b"a", b"b"])
    True
    """
    if isinstance(content, str):
        content = content.encode()
    hasher = hashlib.sha256()
    for block in (content,) if isinstance(content, bytes) else content:
        hasher.update(block)
    return hasher.hexdigest()


def file_sha256(path: Path) -> str:
    """Return the hex digest of a file's bytes, read in blocks.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_verified(source: Path, target: Path, sha256: str) -> None:
    """Copy a file atomically, hashing the bytes that are copied.

    Raises:
        BadData: the content has another hash, since the file changed after it was read; nothing is written.
        OSError: the file cannot be read or the copy not be written.
    """
    with replacing(target, durable=False) as temporary:
        with source.open("rb") as content, temporary.open("wb") as file:
            copied = sha256_of(_each_written(content, file))
        if copied != sha256:
            raise BadData(
                f"{source}: the file changed after it was read: its content is {copied[:12]}..., "
                f"expected {sha256[:12]}...; run the command again"
            )


def _each_written(content: IO[bytes], file: IO[bytes]) -> Iterator[bytes]:
    while block := content.read(_BLOCK_BYTES):
        file.write(block)
        yield block


def unchanged_file_sha256(path: Path) -> str:
    """Return `file_sha256`, read again in this process only if the file's size or time changed.

    For weights: a change of equal size within the resolution of the file system's clock is not seen.
    """
    stat = path.stat()
    return _remembered_sha256(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _remembered_sha256(path: Path, size: int, mtime_ns: int) -> str:
    return file_sha256(path)
