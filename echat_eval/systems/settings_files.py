"""Reads `baselines/systems/*.yaml`: how a known system is run, under which licence, what was not tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from echat_eval.errors import BadData, UnknownName
from echat_eval.io.data_folder import data_folder
from echat_eval.io.strict_yaml import read_yaml

__all__ = ["SystemSettings", "system_settings", "system_settings_names"]

_KEYS = ("title", "adapter", "settings", "served", "licence", "untested", "source")
_VALUES = (str, int, float, bool, type(None))


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemSettings:
    """One file.

    Attributes:
        name: the file's name, and the system's in tables.
        title: as its makers write it.
        adapter: a name of `echat_eval.systems.SYSTEMS`.
        settings: of the adapter; what differs from machine to machine is left to `--set`.
        served: how to start what the adapter talks to.
        licence: of the code and of the weights, or of the service.
        untested: what could not be tried here; "" if all was.
        source: where the facts were read.
    """

    name: str
    title: str
    adapter: str
    settings: Mapping[str, Any]
    served: str
    licence: str
    untested: str
    source: str


def system_settings_names() -> list[str]:
    """Return the names of the shipped files."""
    return sorted(path.stem for path in (data_folder("baselines") / "systems").glob("*.yaml"))


def system_settings(name: str) -> SystemSettings:
    """Return one file.

    Raises:
        UnknownName: no such file.
        BadData: a key is missing or unknown, or a value is of another form.

    >>> system_settings("glm-4-voice").adapter
    'http'
    """
    if name not in system_settings_names():
        raise UnknownName("system file", name, system_settings_names())
    path = data_folder("baselines") / "systems" / f"{name}.yaml"
    file = read_yaml(path, shown=f"baselines/systems/{name}.yaml")
    found = file.content
    for key in (*(k for k in found if k not in _KEYS), *(k for k in _KEYS if k not in found)):
        fault = "unknown" if key in found else "missing"
        raise BadData(f"{path}:{file.lines.get(key, 1)}: key '{key}' is {fault}; keys are {', '.join(_KEYS)}")
    for key in _KEYS:
        if key != "settings" and not isinstance(found[key], str):
            raise BadData(f"{path}:{file.lines[key]}: '{key}' is {found[key]!r}; expected a text")
    settings = found["settings"] or {}
    if not isinstance(settings, dict) or not all(isinstance(v, _VALUES) for v in settings.values()):
        raise BadData(
            f"{path}:{file.lines['settings']}: 'settings' is not a mapping of names to plain values"
        )
    return SystemSettings(name=name, **{**found, "settings": settings})
