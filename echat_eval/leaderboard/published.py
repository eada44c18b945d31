"""Published tables in `baselines/published/`: numbers reported elsewhere, with their sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData, UnknownName
from echat_eval.io.data_folder import data_folder
from echat_eval.io.schema import ANYTHING, TEXT, Rule, Schema, list_of, mapping_of, read_schema_yaml
from echat_eval.store.headline import is_quality

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from echat_eval.records import Metric

__all__ = ["Published", "of_same_measure", "published", "published_names", "words_judge"]


#: Measure -> in words.
_MEASURES = {
    "judge": "a judge's grade of the words (--judge MODEL)",
    "people": "ratings by people (--ratings)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One published table; never ranked among measured numbers.

    Attributes:
        name: stem of the file.
        measure: what the numbers are: "judge" (a judge's grade of the words), "people", or another one.
        title: title in the source.
        source: origin of the numbers.
        unit: unit of every number.
        columns: one per value: a name, or a mapping with task, metric and test set.
        rows: each with system, values (None: not reported) and further facts.
        details: the other keys of the file.
    """

    name: str
    title: str
    measure: str
    source: str
    unit: str
    columns: tuple[Any, ...]
    rows: tuple[Mapping[str, Any], ...]
    details: Mapping[str, Any]


_FILE = Schema(
    {
        "title": TEXT,
        "measure": TEXT,
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
        measure=found["measure"],
        source=found["source"],
        unit=found["unit"],
        columns=tuple(found["columns"]),
        rows=tuple(found["rows"]),
        details={k: v for k, v in found.items() if k not in _FILE.rules},
    )


def of_same_measure(
    tables: Sequence[Published], metrics: Iterable[Metric], *, people: bool = False
) -> tuple[list[Published], list[str]]:
    """Return the published tables whose measure some runs have, and one note per other table.

    Args:
        metrics: of the runs.
        people: ratings of people stand beside the runs.
    """
    held = {"judge": words_judge(metrics) is not None, "people": people}
    shown = [table for table in tables if held.get(table.measure, False)]
    return shown, [
        f"published table {table.name} is not shown: nothing here has its measure, "
        f"{_MEASURES.get(table.measure, table.measure)}; `echat-eval report --published --out FOLDER` writes "
        "it alone"
        for table in tables
        if table not in shown
    ]


def words_judge(metrics: Iterable[Metric]) -> Metric | None:
    """Return the first judge's grade of the words of a reply, the measure of published automatic scores."""
    found = [metric for metric in metrics if is_quality(metric)]
    names = {metric.name for metric in found}
    voices = {name for name in names if name.removesuffix("_voice") in names - {name}}
    return next((metric for metric in found if metric.name not in voices), None)
