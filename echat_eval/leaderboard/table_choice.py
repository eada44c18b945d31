"""The section `tables:` of a file: systems, tasks, metrics, names and digits of tables and figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from echat_eval.errors import BadData
from echat_eval.io.schema import TEXT, Rule, Schema, is_text, is_whole, list_of, mapping_of, one_of

__all__ = ["BOLD", "CHOICES", "Bold", "TableChoice", "choice_from"]

#: "significant": where paired tests support it; "best": the best number of a column; "none".
Bold = Literal["significant", "best", "none"]
BOLD: tuple[Bold, ...] = ("significant", "best", "none")

_MAX_DIGITS = 6


def _is_digits(value: Any) -> bool:
    return is_whole(value, low=0) and value <= _MAX_DIGITS


_NAMES = list_of(TEXT, "a list of names").optional()
_FLAG = Rule(lambda value: isinstance(value, bool), "true or false", required=False)
#: The keys of the section.
CHOICES = Schema(
    {
        "systems": _NAMES,
        "tasks": _NAMES,
        "metrics": _NAMES,
        "names": replace(
            mapping_of(Rule(is_text, "a text"), "a mapping of systems, tasks and metrics to printed names"),
            required=False,
        ),
        "digits": Rule(
            lambda v: _is_digits(v) or (isinstance(v, Mapping) and all(map(_is_digits, v.values()))),
            f"decimals, 0 to {_MAX_DIGITS}, or a mapping of metrics to decimals",
            required=False,
        ),
        "headline": TEXT.optional(),
        "bold": one_of(BOLD).optional(),
        "wide": _FLAG,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableChoice:
    """The content of tables and figures.

    Attributes:
        systems, tasks, metrics: in this order; empty: all of them, in the usual order.
        names: system, task or metric -> printed name.
        digits: metric -> decimals; a number is of every metric; None: as the metrics state.
        headline: metric that leads; None: the first of `metrics`, or else that of the runs.
        bold: what is bold.
        wide: tables for both columns of a paper.
    """

    systems: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    digits: int | Mapping[str, int] | None = None
    headline: str | None = None
    bold: Bold = "significant"
    wide: bool = False

    @property
    def leading(self) -> str | None:
        """Return the metric that leads by choice."""
        return self.headline or next(iter(self.metrics), None)

    @property
    def restricts(self) -> bool:
        """Return whether chosen runs differ from the runs."""
        return bool(self.systems or self.tasks or self.metrics or self.names) or self.digits is not None

    def shown(self, name: str) -> str:
        """Return the printed name of a system, task or metric."""
        return self.names.get(name, name)


def choice_from(content: object, location: str) -> TableChoice:
    """Return the choice that a section states.

    Args:
        content: of the section.
        location: file and line, for messages.

    Raises:
        BadData: the section is invalid.
    """
    if not isinstance(content, Mapping):
        raise BadData(f"{location}: tables: expected a mapping; its keys are {', '.join(CHOICES.rules)}")
    CHOICES.check(content, f"{location}: tables")
    values = {key: value for key, value in content.items() if value is not None}
    for key in ("systems", "tasks", "metrics"):
        names = values.get(key, ())
        if twice := next((name for name in names if list(names).count(name) > 1), None):
            raise BadData(f"{location}: tables: '{key}' names '{twice}' twice")
        values[key] = tuple(names)
    return TableChoice(**values)
