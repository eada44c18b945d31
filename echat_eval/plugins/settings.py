"""Settings of a part: their text on the command line, and construction with checked types."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Mapping
from math import isfinite
from typing import Any, Literal, Union, get_args, get_origin

from echat_eval.errors import UnknownName, UsageError

__all__ = [
    "COUNTS",
    "SECONDS",
    "annotated_type",
    "check_setting",
    "construct",
    "parse_setting",
    "words_for_type",
]

#: Settings with the same meaning in every adapter: counts, at least 1, and seconds, above 0.
COUNTS = ("calls_at_once", "batch_size", "max_tokens", "max_new_tokens")
SECONDS = ("timeout", "start_timeout")

_TYPE_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def construct(kind: str, name: str, cls: Any, settings: Mapping[str, Any]) -> Any:
    """Return an instance of a class, with checked settings.

    Raises:
        UnknownName: the constructor has no parameter for a setting.
        UsageError: a required setting is missing, or a value has the wrong type.
    """
    parameters = [p for p in inspect.signature(cls).parameters.values() if p.kind is not p.VAR_POSITIONAL]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for setting in settings:
        if not takes_any and setting not in {p.name for p in parameters}:
            raise UnknownName(f"setting of {kind} '{name}':", setting, (p.name for p in parameters))
    missing = [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind is not p.VAR_KEYWORD and p.name not in settings
    ]
    if missing:
        raise UsageError(f"{kind} '{name}' needs {', '.join(missing)}; give it as --set {missing[0]}=VALUE")
    namespace = vars(sys.modules[cls.__module__])
    checked = {
        p.name: check_setting(
            f"{kind} '{name}': {p.name}", p.name, settings[p.name], annotated_type(p.annotation, namespace)
        )
        for p in parameters
        if p.name in settings and p.kind is not p.VAR_KEYWORD
    }
    return cls(**{**settings, **checked})


def annotated_type(annotation: Any, namespace: Mapping[str, Any]) -> Any:
    """Return the type of a parameter; Any if the annotation cannot be evaluated at run time."""
    try:
        return eval(annotation, dict(namespace)) if isinstance(annotation, str) else annotation
    except Exception:  # noqa: BLE001  evaluating a foreign annotation may raise anything
        return Any


def parse_setting(text: str) -> tuple[str, Any]:
    """Return the name and value of `name=value`; the value is parsed as a YAML scalar.

    >>> parse_setting("max_tokens=40"), parse_setting("model=tiny.en")
    (('max_tokens', 40), ('model', 'tiny.en'))
    >>> parse_setting("temperature=null")
    ('temperature', None)
    """
    import yaml

    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"setting '{text}' is not of the form name=value")
    try:
        parsed = yaml.safe_load(value) if value else ""
    except yaml.YAMLError:
        parsed = value
    return name.strip(), parsed if parsed is None or isinstance(parsed, str | int | float | bool) else value


def check_setting(label: str, name: str, value: Any, annotation: Any) -> Any:
    """Return a setting converted to the annotated type of its parameter.

    Only plain types are checked: numbers, text, true or false, `Literal` and unions of them. A value with
    another annotation, or with none, is returned unchanged.

    Args:
        label: owner and name of the setting, for the message.
        value: as read from the command line or a file.

    Raises:
        UsageError: the value has another type, is a count below 1, or is not above 0 seconds.

    >>> check_setting("system 'mine': timeout", "timeout", 30, float)
    30.0
    >>> check_setting("system 'mine': device", "device", None, str | None) is None
    True
    """
    allowed = _plain_types(annotation)
    if allowed is None:
        return value
    for plain_type in allowed:
        if _matches(value, plain_type):
            converted = float(value) if plain_type is float else value
            _check_range(label, name, converted)
            return converted
    expected = words_for_type(annotation)
    if str in allowed and isinstance(value, int | float):
        expected += f"""; put text in quotes: --set {name}='"{value}"'"""
    elif str in allowed and isinstance(value, list):
        expected += f"; several go into one text: {name}: {','.join(map(str, value))[:80]}"
    raise UsageError(f"{label}={value!r}: expected {expected}")


def words_for_type(annotation: Any) -> str:
    """Return the values that an annotation allows in words; "" if they are not plain values.

    >>> words_for_type(int | None), words_for_type(Literal["fast", "good"]), words_for_type(Any)
    ('a whole number', 'fast or good', '')
    """
    allowed = _plain_types(annotation) or ()
    names = [word for plain_type in allowed if plain_type is not type(None) for word in _names_of(plain_type)]
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else "".join(names)


def _plain_types(annotation: Any) -> tuple[Any, ...] | None:
    """Return the plain types that an annotation allows; None if it allows any other type."""
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [_plain_types(part) for part in get_args(annotation)]
        return None if any(part is None for part in parts) else sum((part or () for part in parts), ())
    if annotation in (int, float, bool, str):
        return (annotation,)
    if annotation in (None, type(None)):
        return (type(None),)
    return (annotation,) if get_origin(annotation) is Literal else None


def _matches(value: Any, plain_type: Any) -> bool:
    if get_origin(plain_type) is Literal:
        return any(value == option and type(value) is type(option) for option in get_args(plain_type))
    if isinstance(value, bool):
        return plain_type is bool
    if plain_type is float:
        return isinstance(value, int | float) and isfinite(value)
    return isinstance(value, plain_type)


def _names_of(plain_type: Any) -> list[str]:
    is_literal = get_origin(plain_type) is Literal
    return list(map(str, get_args(plain_type))) if is_literal else [_TYPE_NAMES[plain_type]]


def _check_range(label: str, name: str, value: Any) -> None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if name in COUNTS and value < 1:
            raise UsageError(f"{label}={value!r}: expected 1 or more")
        if name in SECONDS and value <= 0:
            raise UsageError(f"{label}={value!r}: expected seconds above 0")
