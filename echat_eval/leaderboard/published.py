"""Reads `baselines/`: how known systems are run, and what was reported of others, with sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData, UnknownName
from echat_eval.io.data_folder import data_folder
from echat_eval.io.strict_yaml import read_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Published", "published", "published_names"]


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
    found = read_yaml(path).content
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
