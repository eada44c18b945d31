"""Content hashes of records, settings and files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from echat_eval.io.jsonl import dumps
from echat_eval.records import AudioRef

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["KEY_VERSION", "digest", "facts_of", "sha256_of_file"]

#: Increased when the meaning of a key changes, so that old rows are computed again and never misread.
KEY_VERSION = 1

_FIELDS: dict[type, tuple[str, ...] | None] = {}


def facts_of(value: Any) -> Any:
    """Return a value as plain JSON: records become mappings, audio becomes its hash."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list | tuple):
        return [facts_of(inner) for inner in value]
    if isinstance(value, AudioRef):
        return value.sha256
    if (names := _fields_of(type(value))) is not None:
        return {name: facts_of(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(name): facts_of(inner) for name, inner in value.items()}
    return value


def _fields_of(kind: type) -> tuple[str, ...] | None:
    """Return the names of a record's fields; None for any other type."""
    if kind not in _FIELDS:
        _FIELDS[kind] = tuple(field.name for field in fields(kind)) if is_dataclass(kind) else None
    return _FIELDS[kind]


def digest(kind: str, facts: Any) -> str:
    """Return the sha256 hex digest of a kind and its facts.

    >>> digest("x", {"a": 1, "b": 2}) == digest("x", {"b": 2, "a": 1}) != digest("y", {"a": 1, "b": 2})
    True
    """
    return hashlib.sha256(dumps([KEY_VERSION, kind, facts_of(facts)]).encode()).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Return the hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
