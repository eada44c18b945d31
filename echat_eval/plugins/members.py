"""The members of foreign objects: the only place that asks an object by name what it has."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any

from echat_eval.errors import UsageError

__all__ = ["absent_members", "present_members", "renamed", "require_different_names", "require_members"]


def require_members(kind: str, part: Any, *ports: type) -> None:
    """Raise UsageError unless an object has the members of at least one of the protocols `ports`."""
    if isinstance(part, type):
        raise UsageError(f"{kind}: got the class {part.__name__}; expected an object: {part.__name__}()")
    absent = [absent_members(part, port) for port in ports]
    if all(absent):
        fewest = min(absent, key=len)
        members = ", ".join(_members_of(ports[absent.index(fewest)]))
        raise UsageError(
            f"{kind}: got {type(part).__name__} without {', '.join(fewest)}; expected a name, a spec, or an "
            f"object with {members}"
        )


def absent_members(part: object, port: type) -> list[str]:
    """Return the members of a protocol that an object lacks."""
    return [name for name in _members_of(port) if not hasattr(part, name)]


def present_members(part: object, *ports: type) -> dict[str, Any]:
    """Return the members of protocols that an object has, by name."""
    names = {name: None for port in ports for name in _members_of(port)}
    return {name: getattr(part, name) for name in names if hasattr(part, name)}


def _members_of(port: type) -> list[str]:
    """Return the names that a protocol declares: attributes, then methods."""
    methods = [name for name, value in vars(port).items() if inspect.isfunction(value) and name[0] != "_"]
    return [*port.__annotations__, *methods]


def require_different_names(kind: str, parts: Sequence[Any], *, option: str = "") -> None:
    """Raise UsageError if two systems, annotators or scorers have the same name."""
    names = [part.name for part in parts]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two {kind}s are named '{name}'; give them different names{option}")


def renamed(kind: str, part: Any, name: str) -> Any:
    """Return an object under another name: itself if it has that name already, otherwise a shallow copy.

    Raises:
        UsageError: the object cannot be copied, or its name cannot be set.
    """
    if getattr(part, "name", None) == name or isinstance(part, type):
        return part
    try:
        copied = copy.copy(part)
        object.__setattr__(copied, "name", name)
    except Exception as error:  # copying a foreign object may raise anything
        raise UsageError(f"{kind} {name!r}: the object cannot be given this name; set its `name`") from error
    return copied
