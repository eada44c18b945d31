"""Mapping files: which column of a table holds which field, and which of its spellings is which label.

A mapping is data: no code, no templates. `FIELDS` and the cues are the names on the left; see docs/import.md.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from echat_eval.errors import BadData, UnknownName, did_you_mean
from echat_eval.importers.facts import TaskFacts, facts_from
from echat_eval.io.data_folder import data_folder
from echat_eval.io.schema import Rule, Schema, is_number, is_text, shorten, text
from echat_eval.io.strict_yaml import YamlFile, read_yaml
from echat_eval.labels import UNKNOWN, check_label, cues_with
from echat_eval.labels.declared import DECLARATION, declaration_faults, declared_cues
from echat_eval.records import Cue

__all__ = ["FIELDS", "Column", "TableMapping", "known_mappings", "mapping_of", "read_mapping"]

#: Fields of a sample that a column may hold, besides the cues.
FIELDS = (
    "id",
    "audio",
    "transcript",
    "language",
    "source",
    "speaker",
    "references",
    "history",
    "expect",
    "note",
)
MAX_PATTERN_CHARACTERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """Where the value of a field comes from.

    Attributes:
        name: the column; None for `first`.
        pattern: regular expression whose first group is the value, searched in the cell.
        first: value of the first row; the last number in it is counted up row by row.
    """

    name: str | None = None
    pattern: re.Pattern[str] | None = None
    first: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableMapping:
    """How the rows of a table become samples.

    Attributes:
        columns: field or cue -> where its value comes from.
        labels: field or cue -> spelling, without regard to case -> label; None: such rows are not labelled.
        cut_offs: cue -> (lowest number, label), the largest number first.
        constants: field or cue -> value of every row.
        cues: cues of the task; empty: those that every row has.
        own_cues: name -> cue that the mapping defines; None: only shipped ones.
        defined: the definitions as the mapping has them, for the task's file.
        facts: facts about the task, such as its licence.
        files: glob of the table files in a folder.
        form: data format that the mapping belongs to; other formats than tables have no columns.
        hub: data set on the hub.
        revision: commit of that data set for which the mapping was written; None: unknown.
        location: the file that holds the mapping, for messages.
    """

    columns: Mapping[str, Column] = field(default_factory=dict)
    labels: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)
    cut_offs: Mapping[str, tuple[tuple[float, str], ...]] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    cues: tuple[str, ...] = ()
    own_cues: Mapping[str, Cue] | None = None
    defined: Mapping[str, Any] = field(default_factory=dict)
    facts: TaskFacts = field(default_factory=TaskFacts)
    files: str | None = None
    form: str = "table"
    hub: str | None = None
    revision: str | None = None
    location: str = "the mapping"

    def check_columns(self, names: Collection[str], table: str) -> None:
        """Raise BadData for a column that the table does not have."""
        for key, column in self.columns.items():
            if column.name is not None and column.name not in names:
                raise BadData(
                    f"{self.location}: '{key}' is column {shorten(column.name)}, which {table} does not have."
                    f"{did_you_mean(column.name, names)} Its columns: {', '.join(list(names)[:20])}."
                )


_SECTION = Rule(lambda v: isinstance(v, Mapping), "a mapping", required=False)
_SCHEMA = Schema(
    {
        "columns": _SECTION,
        "labels": _SECTION,
        "cut_offs": _SECTION,
        "constants": _SECTION,
        "cues": Rule(lambda v: isinstance(v, list | dict), DECLARATION, required=False),
        "task": _SECTION,
        "form": text("a data format, such as table").optional(),
        "hub": text("owner/name").optional(),
        "revision": text("a commit").optional(),
        "files": text("a glob such as 'data/test-*.parquet'").optional(),
    }
)


def _section_keys(cues: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
    """Return section -> keys that it may have, beside the cues fields whose spellings may be translated."""
    return {
        "columns": (*FIELDS, *cues),
        "labels": ("language", "source", "expect", *cues),
        "cut_offs": cues,
        "constants": (*FIELDS, *cues),
    }


def known_mappings() -> tuple[str, ...]:
    """Return the names of the shipped mappings.

    >>> "vocalbench-zh" in known_mappings()
    True
    """
    return tuple(sorted(path.stem for path in (data_folder("tasks") / "mappings").glob("*.yaml")))


def read_mapping(name: str) -> TableMapping:
    """Return a mapping: that of a file, or a shipped one by its name.

    Raises:
        UnknownName: neither a file nor a shipped mapping.
        BadData: an unknown key, column form, cue or label; the message names file and line.
    """
    path = Path(name)
    if not path.is_file():
        if name not in known_mappings():
            raise UnknownName("mapping", name, known_mappings())
        path = data_folder("tasks") / "mappings" / f"{name}.yaml"
    file = read_yaml(path)
    _SCHEMA.check(file.content, lambda key: f"{path}:{file.lines.get(key, 1)}")
    content = file.content
    for fault in declaration_faults(content.get("cues") or []):
        raise BadData(f"{_place(path, file, 'cues')}: {fault}")
    cues, own = declared_cues(content.get("cues") or [])
    known = cues_with(own)
    for section, keys in _section_keys(tuple(known)).items():
        for key in content.get(section) or {}:
            if key not in keys:
                place = _place(path, file, section)
                raise BadData(
                    f"{place}: unknown key '{key}' in {section}.{did_you_mean(key, keys)} "
                    f"Keys are {', '.join(keys)}; define another cue under cues"
                )
    columns = content.get("columns") or {}
    constants = content.get("constants") or {}
    if twice := [key for key in columns if key in constants]:
        raise BadData(
            f"{_place(path, file, 'constants')}: '{twice[0]}' is a column as well; leave out one of them"
        )
    return TableMapping(
        columns={key: _column(value, _place(path, file, "columns")) for key, value in columns.items()},
        labels={
            key: dict(_spellings(key, value, _place(path, file, "labels"), known))
            for key, value in (content.get("labels") or {}).items()
        },
        cut_offs={
            cue: _cut_offs(cue, value, _place(path, file, "cut_offs"), known)
            for cue, value in (content.get("cut_offs") or {}).items()
        },
        constants={
            key: _constant(key, value, _place(path, file, "constants"), known)
            for key, value in constants.items()
        },
        cues=cues,
        own_cues=own,
        defined={name: content["cues"][name] for name in own} if own else {},
        facts=facts_from(content.get("task") or {}, _place(path, file, "task")),
        files=content.get("files"),
        form=content.get("form", "table"),
        hub=content.get("hub"),
        revision=content.get("revision"),
        location=str(path),
    )


def mapping_of(form: str, name: str | None) -> TableMapping | None:
    """Return the mapping to use: the named one, or the shipped facts about a format; None without either."""
    if name is not None:
        return read_mapping(name)
    return read_mapping(form) if form in known_mappings() else None


def _place(path: Path, file: YamlFile, key: str) -> str:
    return f"{path}:{file.lines.get(key, 1)}"


def _column(value: Any, place: str) -> Column:
    if is_text(value):
        return Column(name=value)
    if (
        not isinstance(value, dict)
        or not all(is_text(part) for part in value.values())
        or set(value) not in ({"first"}, {"column", "pattern"})
    ):
        raise BadData(
            f"{place}: column {shorten(value)}, expected a name, {{column: NAME, pattern: '(...)'}} or "
            "{first: NAME-001}"
        )
    if "first" in value:
        if not re.search(r"\d", value["first"]):
            raise BadData(
                f"{place}: first is {shorten(value['first'])}, expected a name with a number to count up"
            )
        return Column(first=value["first"])
    pattern = value["pattern"]
    try:
        if len(pattern) > MAX_PATTERN_CHARACTERS:
            raise re.error(f"longer than {MAX_PATTERN_CHARACTERS} characters")
        compiled = re.compile(pattern)
    except re.error as error:
        raise BadData(f"{place}: pattern {shorten(pattern)} is no regular expression: {error}") from error
    if compiled.groups != 1:
        raise BadData(
            f"{place}: pattern {shorten(pattern)} has {compiled.groups} groups, expected one: (...)"
        )
    return Column(name=value["column"], pattern=compiled)


def _spellings(
    key: str, labels: Any, place: str, known: Mapping[str, Cue]
) -> Iterator[tuple[str, str | None]]:
    if not isinstance(labels, Mapping):
        raise BadData(f"{place}: labels of {key} are {shorten(labels)}, expected spelling: label")
    for spelling, label in labels.items():
        if label is not None and not isinstance(label, str):
            raise BadData(
                f"{place}: {key} {shorten(spelling)} is mapped to {shorten(label)}, expected a label"
            )
        if label is not None:
            fault_place = f"{place}: {key} {shorten(spelling)} is mapped to {shorten(label)}"
            _check_value(key, label, fault_place, known)
        yield folded(spelling), label


def folded(spelling: str) -> str:
    """Return a spelling without outer spaces, brackets of tags and case, as labels are compared.

    >>> folded(" <ANGRY> "), folded("Wütend")
    ('angry', 'wütend')
    """
    return spelling.strip().strip("<>|").strip().casefold()


def _check_value(key: str, value: str, place: str, known: Mapping[str, Cue]) -> None:
    """Raise BadData unless a value is one that the field may have; a label must be the cue's own."""
    if key in known:
        try:
            check_label(key, value, known)
        except BadData as error:
            raise BadData(f"{place}: {error}") from error
        if value == UNKNOWN:
            raise BadData(f"{place}; leave such rows unlabelled: null")
    elif key == "source" and value not in ("real", "synthetic"):
        raise BadData(f"{place}: expected real or synthetic")
    elif key == "expect" and value != "same":
        raise BadData(f"{place}: expected same, or null where replies differ")


def _cut_offs(cue: str, bounds: Any, place: str, known: Mapping[str, Cue]) -> tuple[tuple[float, str], ...]:
    if not isinstance(bounds, Mapping) or not bounds or not all(map(is_number, bounds.values())):
        raise BadData(f"{place}: cut-offs of {cue} are {shorten(bounds)}, expected label: lowest number")
    for label in bounds:
        _check_value(cue, label, f"{place}: cut-offs of {cue}", known)
    if len(set(bounds.values())) < len(bounds):
        raise BadData(f"{place}: two labels of {cue} begin at the same number")
    return tuple(sorted(((float(low), label) for label, low in bounds.items()), reverse=True))


def _constant(key: str, value: Any, place: str, known: Mapping[str, Cue]) -> str:
    if value is None or isinstance(value, bool | list | dict):
        labels = f": {', '.join(known[key].labels)}" if key in known else ""
        raise BadData(
            f"{place}: constant '{key}' has no value; fill it in{labels}, or name a column that holds it"
        )
    _check_value(key, str(value), f"{place}: constant '{key}' is {shorten(value)}", known)
    return str(value)
