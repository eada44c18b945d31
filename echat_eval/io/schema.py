"""Closed schemas for YAML, JSON and JSON Lines: every key has a rule, and every fault has a place.

A fault states what was found, what is expected and, through its reader, the file and the line.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

from echat_eval.errors import BadData, did_you_mean
from echat_eval.io.jsonl import read_rows
from echat_eval.io.strict_yaml import YamlFile, read_yaml

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "ANYTHING",
    "MAX_TEXT_CHARACTERS",
    "SHA256",
    "STRING",
    "TEXT",
    "Rule",
    "Schema",
    "build_record",
    "is_number",
    "is_text",
    "is_whole",
    "list_of",
    "mapping_of",
    "number",
    "one_of",
    "read_schema_rows",
    "read_schema_yaml",
    "record_schema",
    "shorten",
    "text",
    "whole",
]

#: Length limit of one text in a file, and of a text that scorers compare: counting the errors of a longer
#: one would take hours.
MAX_TEXT_CHARACTERS = 20_000
_MAX_SHOWN = 60
#: A whole number in JSON may have any size; one beyond it is no float.
_LARGEST = sys.float_info.max

T = TypeVar("T")
_SURROGATE = re.compile("[\ud800-\udfff]")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Rule:
    """Constraint on the value of one key.

    Attributes:
        holds: test of a value; a null value counts as a missing key and is not tested.
        expected: description of valid values, for messages.
        required: whether the key must be there.
        sure: values of exactly this type hold; large files are read faster if `holds` need not be asked.
    """

    holds: Callable[[Any], bool]
    expected: str
    required: bool = True
    sure: type | None = None

    def optional(self) -> Rule:
        """Return the rule for a key that may be missing."""
        return replace(self, required=False)


@dataclass(frozen=True, slots=True)
class Schema:
    """Rules for the keys of a mapping.

    Attributes:
        rules: key -> rule, in the order in which messages list them.
        closed: whether other keys are faults.
    """

    rules: Mapping[str, Rule]
    closed: bool = True
    _required: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_required", sum(rule.required for rule in self.rules.values()))

    def faults(self, values: Any) -> Iterator[tuple[str, str]]:
        """Yield (key, message) for each fault: unknown keys first, then missing keys and invalid values.

        >>> schema = Schema({"version": whole(1), "note": text().optional()})
        >>> list(schema.faults({"version": "2", "nota": "x"}))  # doctest: +NORMALIZE_WHITESPACE
        [('nota', "unknown key 'nota'; did you mean 'note'? keys are version, note"),
         ('version', "'version' is '2', expected a whole number from 1")]
        """
        if self.holds(values):
            return
        keys = ", ".join(self.rules)
        if not isinstance(values, Mapping):
            yield "", f"is {shorten(values)}, expected a mapping of {keys}"
            return
        for key in values:
            if self.closed and key not in self.rules:
                hint = did_you_mean(str(key), self.rules) or ";"
                yield str(key), f"unknown key {shorten(key)}{hint.replace(' Did', '; did')} keys are {keys}"
        for key, rule in self.rules.items():
            value = values.get(key)
            if value is None:
                if rule.required:
                    yield key, f"key '{key}' is missing; expected {rule.expected}"
            elif not rule.holds(value):
                yield key, f"'{key}' is {shorten(value)}, expected {rule.expected}"

    def holds(self, values: Any) -> bool:
        """Return whether a mapping has no fault, as the `holds` of a rule for a nested mapping."""
        if type(values) is not dict and not isinstance(values, Mapping):
            return False
        missing, rules = self._required, self.rules
        for key, value in values.items():
            rule = rules.get(key)
            if rule is None:
                if self.closed:
                    return False
            elif value is not None:
                if type(value) is not rule.sure and not rule.holds(value):
                    return False
                missing -= rule.required
        return not missing

    def check(self, values: Any, location: str | Callable[[str], str]) -> None:
        """Raise BadData with the first fault.

        Args:
            location: place of the mapping, or a function from a key to the key's place.
        """
        for key, message in self.faults(values):
            raise BadData(f"{location if isinstance(location, str) else location(key)}: {message}")


def record_schema(kind: type, rules: Mapping[str, Rule] = {}) -> Schema:
    """Return the schema of a dataclass's fields: those without a default are required.

    Args:
        kind: the dataclass.
        rules: field -> its rule; the others may have any value.
    """
    assert is_dataclass(kind)
    return Schema(
        {
            item.name: replace(
                rules.get(item.name, ANYTHING),
                required=item.default is MISSING and item.default_factory is MISSING,
            )
            for item in fields(kind)
        }
    )


def build_record(
    kind: type[T], values: Any, location: str | Callable[[str], str], rules: Mapping[str, Rule] = {}
) -> T:
    """Return the dataclass with the values of a mapping whose keys are its fields.

    Args:
        rules: as in `record_schema`.

    Raises:
        BadData: a key is unknown or missing, or a value violates its rule.
    """
    record_schema(kind, rules).check(values, location)
    return kind(**values)


def read_schema_yaml(path: Path, schema: Schema, *, shown: str | None = None) -> YamlFile:
    """Return the content of a YAML file that follows a schema.

    Args:
        shown: name of the file in messages; the path by default.

    Raises:
        BadData: the file is invalid; the message names file and line.
    """
    file = read_yaml(path, shown=shown)
    schema.check(file.content, lambda key: f"{shown or path}:{file.lines.get(key, 1)}")
    return file


def read_schema_rows(path: Path, schema: Schema) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of a JSON Lines file whose rows follow a schema.

    Raises:
        BadData: a row is invalid; the message names file and line.
    """
    for line, row in read_rows(path):
        schema.check(row, f"{path}:{line}")
        yield line, row


def shorten(value: Any) -> str:
    """Return a value for a message: its repr in at most 60 characters.

    >>> shorten("happy"), len(shorten("x" * 1000))
    ("'happy'", 60)
    """
    shown = repr(value[: _MAX_SHOWN + 1] if isinstance(value, str) else value)
    return shown if len(shown) <= _MAX_SHOWN else shown[: _MAX_SHOWN - 3] + "..."


def is_text(value: Any) -> bool:
    """Return whether a value is non-blank text of bounded length that UTF-8 can encode."""
    if not isinstance(value, str) or not value or value.isspace() or len(value) > MAX_TEXT_CHARACTERS:
        return False
    return value.isascii() or _SURROGATE.search(value) is None


def is_number(value: Any, *, low: float = -inf, high: float = inf) -> bool:
    """Return whether a value is a finite number from `low` to `high`; booleans are no numbers.

    >>> [is_number(value, low=0) for value in (0, 1.5, True, -1, float("nan"), float("inf"), "1", 10**400)]
    [True, True, False, False, False, False, False, False]
    """
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and low <= value <= high and abs(value) <= _LARGEST


def is_whole(value: Any, *, low: float = -inf, high: float = inf) -> bool:
    """Return whether a value is a whole number from `low` to `high`, written without a decimal point."""
    return isinstance(value, int) and is_number(value, low=low, high=high)


def text(expected: str = f"text of 1 to {MAX_TEXT_CHARACTERS:,} characters") -> Rule:
    """Return the rule for a text; see `is_text`."""
    return Rule(is_text, expected)


def whole(low: int, high: float = inf) -> Rule:
    """Return the rule for a whole number from `low` to `high`."""
    return Rule(lambda v: is_whole(v, low=low, high=high), f"a whole number {_range(low, high)}")


def number(low: float = -inf, high: float = inf) -> Rule:
    """Return the rule for a finite number from `low` to `high`."""
    return Rule(lambda v: is_number(v, low=low, high=high), f"a finite number {_range(low, high)}".rstrip())


def _range(low: float, high: float) -> str:
    return " ".join(
        [f"from {low:g}"] * (low > -inf) + [f"{'to' if low > -inf else 'up to'} {high:g}"] * (high < inf)
    )


def one_of(values: tuple[str, ...]) -> Rule:
    """Return the rule for one of several words."""
    expected = " or ".join(part for part in (", ".join(values[:-1]), values[-1]) if part)
    known = frozenset(values)
    return Rule(lambda v: isinstance(v, str) and v in known, expected)


def list_of(rule: Rule, expected: str) -> Rule:
    """Return the rule for a list whose every entry follows `rule`."""
    return Rule(lambda v: isinstance(v, list) and all(map(rule.holds, v)), expected)


def mapping_of(rule: Rule, expected: str) -> Rule:
    """Return the rule for a mapping from any texts to values that follow `rule`."""

    def holds(value: Any) -> bool:
        if type(value) is not dict and not isinstance(value, Mapping):
            return False
        for key, entry in value.items():
            if not isinstance(key, str) or (type(entry) is not rule.sure and not rule.holds(entry)):
                return False
        return True

    return Rule(holds, expected)


#: Rules that several schemas share; `STRING` also accepts empty text.
TEXT = text()
ANYTHING = Rule(lambda _: True, "any value")
STRING = Rule(lambda v: isinstance(v, str), "text", sure=str)
SHA256 = Rule(
    lambda v: isinstance(v, str) and _SHA256.fullmatch(v) is not None, "64 lower-case hexadecimal digits"
)
