"""Names become objects: one visible table per port first, then entry points of other distributions.

A table's values are import paths ("package.module:Class"), so listing names imports nothing.
"""

from __future__ import annotations

import inspect
import sys
import types
from importlib import import_module
from importlib.metadata import entry_points
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from echat_eval.errors import NotInstalled, UnknownName, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["COUNTS", "SECONDS", "checked", "construct", "known_names", "load_named", "parse_setting"]


def _others(kind: str) -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=f"echat_eval.{kind}s")}


def known_names(kind: str, table: Mapping[str, str]) -> list[str]:
    """Return every name of a kind, ours first, then those of entry points.

    Args:
        kind: "system", "annotator" or "scorer"; entry points are in the group "echat_eval.<kind>s".
        table: name -> import path of what ships with the package.
    """
    return [*table, *sorted(set(_others(kind)) - set(table))]


def load_named(kind: str, name: str, table: Mapping[str, str]) -> Any:
    """Return the class a name stands for.

    Raises:
        UnknownName: nothing goes by that name.
        NotInstalled: a package it needs is missing.
    """
    path = table.get(name) or _others(kind).get(name)
    if path is None:
        raise UnknownName(kind, name, known_names(kind, table))
    module, _, attribute = path.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise NotInstalled(
            f"{kind} '{name}' needs the package '{error.name}'; `echat-eval doctor` says how to get it"
        ) from error
    except AttributeError as error:
        raise UsageError(
            f"{kind} '{name}': {module} has no {attribute!r}; its entry point is wrong"
        ) from error


def construct(kind: str, name: str, cls: Any, settings: Mapping[str, Any]) -> Any:
    """Return an instance made with settings, and refuse settings it does not know."""
    known = [p for p in inspect.signature(cls).parameters.values() if p.kind is not p.VAR_POSITIONAL]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in known)
    for given in settings:
        if not open_ended and given not in {p.name for p in known}:
            raise UnknownName(f"setting of {kind} '{name}':", given, (p.name for p in known))
    lacking = [
        p.name
        for p in known
        if p.default is p.empty and p.kind is not p.VAR_KEYWORD and p.name not in settings
    ]
    if lacking:
        raise UsageError(f"{kind} '{name}' needs {', '.join(lacking)}; give it as --set {lacking[0]}=VALUE")
    module = vars(sys.modules[cls.__module__])
    fit = {
        p.name: checked(f"{kind} '{name}': {p.name}", p.name, settings[p.name], _hint(p.annotation, module))
        for p in known
        if p.name in settings and p.kind is not p.VAR_KEYWORD
    }
    return cls(**{**settings, **fit})


def _hint(annotation: Any, module: Mapping[str, Any]) -> Any:
    """Return the type of a parameter; Any where only type checkers know it."""
    try:
        return eval(annotation, dict(module)) if isinstance(annotation, str) else annotation
    except Exception:  # noqa: BLE001  somebody else's annotation may do anything
        return Any


def parse_setting(text: str) -> tuple[str, Any]:
    """Return the name and value of `name=value`; the value is read as a YAML scalar.

    >>> parse_setting("max_tokens=40"), parse_setting("model=tiny.en")
    (('max_tokens', 40), ('model', 'tiny.en'))
    """
    import yaml

    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"setting '{text}' is not of the form name=value")
    try:
        parsed = yaml.safe_load(value) if value else ""
    except yaml.YAMLError:
        parsed = value
    return name.strip(), parsed if isinstance(parsed, str | int | float | bool) else value


#: Settings that every adapter means alike: numbers that count something, and seconds.
COUNTS = ("calls_at_once", "batch_size", "max_tokens", "max_new_tokens")


SECONDS = ("timeout", "start_timeout")


_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def checked(where: str, name: str, value: Any, hint: Any) -> Any:
    """Return a setting as the type its parameter is annotated with.

    Only plain types are checked: numbers, text, true or false, `Literal` and unions of them. What is
    annotated otherwise, or not at all, is left to whoever is built.

    Args:
        where: whose setting it is, for the message.
        value: as read from the command line or a file.

    Raises:
        UsageError: it is of another type, or a count below 1, or seconds that are not above 0.

    >>> checked("system 'mine': timeout", "timeout", 30, float)
    30.0
    >>> checked("system 'mine': device", "device", None, str | None) is None
    True
    """
    choices = _choices(hint)
    if choices is None:
        return value
    for choice in choices:
        if _fits(value, choice):
            found = float(value) if choice is float else value
            _check_size(where, name, found)
            return found
    words = [word for choice in choices if choice is not type(None) for word in _in_words(choice)]
    expected = f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]
    if str in choices and isinstance(value, int | float):
        expected += f"""; in quotes, it is: --set {name}='"{value}"'"""
    raise UsageError(f"{where}={value!r}: expected {expected}")


def _choices(hint: Any) -> tuple[Any, ...] | None:
    """Return the plain types that a hint allows; None if it allows anything else."""
    if get_origin(hint) in (Union, types.UnionType):
        parts = [_choices(part) for part in get_args(hint)]
        return None if any(part is None for part in parts) else sum((part or () for part in parts), ())
    if hint in (int, float, bool, str):
        return (hint,)
    if hint in (None, type(None)):
        return (type(None),)
    return (hint,) if get_origin(hint) is Literal else None


def _fits(value: Any, choice: Any) -> bool:
    if get_origin(choice) is Literal:
        return any(value == known and type(value) is type(known) for known in get_args(choice))
    if isinstance(value, bool):
        return choice is bool
    if choice is float:
        return isinstance(value, int | float) and isfinite(value)
    return isinstance(value, choice)


def _in_words(choice: Any) -> list[str]:
    return list(map(str, get_args(choice))) if get_origin(choice) is Literal else [_WORDS[choice]]


def _check_size(where: str, name: str, value: Any) -> None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if name in COUNTS and value < 1:
            raise UsageError(f"{where}={value!r}: expected 1 or more")
        if name in SECONDS and value <= 0:
            raise UsageError(f"{where}={value!r}: expected seconds above 0")
