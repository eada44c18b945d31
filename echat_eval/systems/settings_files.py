"""Reads `baselines/systems/*.yaml`: how to run a known system, its licence, and untested parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from echat_eval.errors import UnknownName
from echat_eval.io.data_folder import data_folder
from echat_eval.io.schema import STRING, Rule, Schema, mapping_of, read_schema_yaml

__all__ = ["SystemSettings", "is_day", "system_settings", "system_settings_names"]


def is_day(value: object) -> bool:
    """Return whether a value is a day of the calendar as text.

    >>> is_day("2026-11-30"), is_day("2026-13-01"), is_day(20261130)
    (True, False, False)
    """
    try:
        return isinstance(value, str) and date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


_VALUE = Rule(lambda v: v is None or isinstance(v, str | int | float), "a plain value")
_FILE = Schema(
    {
        "title": STRING,
        "adapter": STRING,
        "settings": mapping_of(_VALUE, "a mapping of names to plain values"),
        "served": STRING,
        "licence": STRING,
        "untested": STRING,
        "source": STRING,
        "date": Rule(is_day, "the day on which the source was read, YYYY-MM-DD", required=False),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemSettings:
    """One file.

    Attributes:
        name: the file's name, and the system's name in tables.
        title: the name that the authors use.
        adapter: a name in `echat_eval.systems.SYSTEMS`.
        settings: settings of the adapter; `--set` adds those that depend on the machine.
        served: how to start the server or program that the adapter uses.
        licence: licence of code and weights, or of the service.
        untested: parts that were not tested; "" if there are none.
        source: source of these facts.
        date: day on which the source was read; "" if it is not recorded.
    """

    name: str
    title: str
    adapter: str
    settings: Mapping[str, Any]
    served: str
    licence: str
    untested: str
    source: str
    date: str = ""


def system_settings_names() -> list[str]:
    """Return the names of the shipped files."""
    return sorted(path.stem for path in (data_folder("baselines") / "systems").glob("*.yaml"))


def system_settings(name: str) -> SystemSettings:
    """Return one file.

    Raises:
        UnknownName: there is no such file.
        BadData: a key is missing or unknown, or a value has the wrong type.

    >>> system_settings("glm-4-voice").adapter
    'http'
    """
    if name not in system_settings_names():
        raise UnknownName("system file", name, system_settings_names())
    path = data_folder("baselines") / "systems" / f"{name}.yaml"
    file = read_schema_yaml(path, _FILE, shown=f"baselines/systems/{name}.yaml")
    return SystemSettings(name=name, **file.content)
