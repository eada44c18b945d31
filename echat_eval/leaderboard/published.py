"""Published tables in `baselines/published/`: numbers reported elsewhere, with their sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData, UnknownName
from echat_eval.io.data_folder import data_folder
from echat_eval.io.schema import ANYTHING, TEXT, Rule, Schema, list_of, mapping_of, read_schema_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Published", "published", "published_names"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One published table; never ranked among measured numbers.

    Attributes:
        name: stem of the file.
        title: title in the source.
        source: origin of the numbers.
        unit: unit of every number.
        columns: one per value: a name, or a mapping with task, metric and test set.
        rows: each with system, values (None: not reported) and further facts.
        details: the other keys of the file.
    """

    name: str
    title: str
    source: str
    unit: str
    columns: tuple[Any, ...]
    rows: tuple[Mapping[str, Any], ...]
    details: Mapping[str, Any]


_FILE = Schema(
    {
        "title": TEXT,
        "source": TEXT,
        "unit": TEXT,
        "columns": Rule(lambda v: isinstance(v, list) and bool(v), "a list with a name for each column"),
        "rows": list_of(mapping_of(ANYTHING, ""), "a list of mappings with system and values"),
    },
    closed=False,
)


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
    found = read_schema_yaml(path, _FILE).content
    for number, row in enumerate(found["rows"], start=1):
        values, columns = len(row.get("values", ())), len(found["columns"])
        if values != columns:
            raise BadData(f"{path}: row {number} has {values} values; expected {columns}, one per column")
    return Published(
        name=name,
        title=found["title"],
        source=found["source"],
        unit=found["unit"],
        columns=tuple(found["columns"]),
        rows=tuple(found["rows"]),
        details={k: v for k, v in found.items() if k not in _FILE.rules},
    )
