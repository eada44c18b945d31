"""Systems, annotators and scorers as a caller describes them, and the objects made from that."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from echat_eval.errors import UsageError
from echat_eval.plugins.names import load_file, load_named
from echat_eval.plugins.settings import construct

__all__ = ["DEFAULTS", "PartSpec", "build_part", "parse_parts"]

#: In a list of annotators or scorers: those that are used by default.
DEFAULTS = "defaults"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartSpec:
    """A system, annotator or scorer as a caller describes it.

    Attributes:
        name: its name in the run; None: its own.
        part: an object, or text: a name, an adapter with an argument, or `my.py:Class`.
        settings: arguments of its constructor; empty for an object.
    """

    name: str | None
    part: Any
    settings: Mapping[str, Any] = field(default_factory=dict)


def parse_parts(kind: str, given: Any) -> list[PartSpec]:
    """Return the descriptions in a name, spec or object, a list of these, or a mapping of names to these.

    In place of a spec, a mapping gives the settings: `{"use": spec, setting: value}`. Under a name in a
    mapping, `use` is that name by default.

    Raises:
        UsageError: nothing is given, or settings have no `use`.

    >>> parts = parse_parts("system", {"a": "echo", "canned": {"text": "Hm."}})
    >>> [(part.name, part.part, part.settings) for part in parts]
    [('a', 'echo', {}), ('canned', 'canned', {'text': 'Hm.'})]
    """
    if isinstance(given, Mapping) and "use" not in given:
        found = [_part(kind, name, part) for name, part in given.items()]
    elif isinstance(given, list | tuple):
        found = [_part(kind, None, part) for part in given]
    else:
        found = [_part(kind, None, given)]
    return found


def _part(kind: str, name: str | None, part: Any) -> PartSpec:
    if isinstance(part, PartSpec):
        return part
    if name is not None and not isinstance(name, str):
        raise UsageError(f"{kind} {name!r}: expected a name as key of the mapping")
    if isinstance(part, Mapping) or (part is None and name is not None):
        settings = dict(part or {})
        use = settings.pop("use", name)
        if not isinstance(use, str):
            raise UsageError(f"{kind} {dict(part or {})!r}: expected 'use' with a name or spec")
        return PartSpec(name=name, part=use, settings=settings)
    return PartSpec(name=name, part=str(part) if isinstance(part, Path) else part)


def build_part(kind: str, name: str, table: Mapping[str, str], settings: Mapping[str, Any]) -> Any:
    """Return an instance of a class, or what a function makes, or an object: by name, or as `my.py:name`.

    Raises:
        UnknownName: no class or setting has this name.
        NotInstalled: the class needs a package that is missing.
        UsageError: a required setting is missing or has the wrong type, or an object is given settings.
    """
    found = load_file(kind, name)
    if found is None:
        found = load_named(kind, name, table)
    if isinstance(found, type) or inspect.isfunction(found):
        return construct(kind, name, found, settings)
    if settings:
        raise UsageError(f"{kind} '{name}' is an object and takes no settings; got {', '.join(settings)}")
    return found
