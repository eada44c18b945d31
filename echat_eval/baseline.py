"""Reads `baselines/`: how known systems are run, and what was reported of others, with sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData, UnknownName
from echat_eval.resources import data_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Published", "published", "published_names", "read_yaml"]

#: Bytes. Settings are a page; more is a mistake or an attack.
MAX_YAML = 4 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One table that somebody reported; never ranked among measured numbers.

    Attributes:
        name: the file's name.
        title: as in the source.
        source: where each number was read.
        unit: of every number.
        columns: what each value is of; a mapping with task, metric and test set where a name will not do.
        rows: each with system, values (None: not reported) and what is known besides.
    """

    name: str
    title: str
    source: str
    unit: str
    columns: tuple[Any, ...]
    rows: tuple[Mapping[str, Any], ...]
    details: Mapping[str, Any]


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping a small, plain YAML file holds: no aliases, no tags, no code.

    Raises:
        BadData: with the file and, where known, the line.
    """
    import yaml

    try:
        if path.stat().st_size > MAX_YAML:
            raise BadData(f"{path}: {path.stat().st_size:,} bytes; a settings file is at most {MAX_YAML:,}")
        text = path.read_text(encoding="utf-8")
        # An alias can blow a page up to gigabytes, and nothing here needs one.
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise BadData(
                    f"{path}:{event.start_mark.line + 1}: YAML aliases are not allowed; write the value out"
                )
        found = yaml.safe_load(text)
    except OSError as error:
        raise BadData(f"{path}: cannot be read: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise BadData(f"{path}: not YAML: {' '.join(str(error).split())[:300]}") from error
    if not isinstance(found, dict):
        raise BadData(f"{path}: expected a mapping, got {type(found).__name__}")
    return found


def published_names() -> list[str]:
    """Return the names of the shipped published tables."""
    return sorted(path.stem for path in (data_folder("baselines") / "published").glob("*.yaml"))


def published(name: str) -> Published:
    """Return one published table.

    >>> published("echat-automatic").rows[0]["system"]
    'Qwen2.5-Omni'
    """
    path = data_folder("baselines") / "published" / f"{name}.yaml"
    if name not in published_names():
        raise UnknownName("published table", name, published_names())
    found = read_yaml(path)
    required = ("title", "source", "unit", "columns", "rows")
    for key in required:
        if key not in found:
            raise BadData(f"{path}: no '{key}'; a published table has {', '.join(required)}")
    for number, row in enumerate(found["rows"], start=1):
        if len(row.get("values", ())) != len(found["columns"]):
            raise BadData(f"{path}: row {number} has not one value a column ({len(found['columns'])})")
    return Published(
        name=name,
        title=found["title"],
        source=found["source"],
        unit=found["unit"],
        columns=tuple(found["columns"]),
        rows=tuple(found["rows"]),
        details={k: v for k, v in found.items() if k not in required},
    )
