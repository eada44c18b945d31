"""Whether a setting is what its parameter expects, told before anything is built with it."""

from __future__ import annotations

import types
from math import isfinite
from typing import Any, Literal, Union, get_args, get_origin

from echat_eval.errors import UsageError

__all__ = ["checked"]

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
