"""Selection of the systems of a run: objects, names, specs and settings become systems of different names."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from echat_eval.errors import UnknownName, UsageError
from echat_eval.io.schema import is_whole
from echat_eval.plugins import parse_parts, renamed, require_different_names, require_members
from echat_eval.ports import Oracle, RepliesByFile, System
from echat_eval.systems import build_system, check_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echat_eval.plugins import PartSpec

__all__ = ["MAX_REPEATS", "REPEATS", "select_repeats", "select_systems"]

#: Setting of every system: the number of its replies to each sample.
REPEATS = "repeats"
#: Its limit.
MAX_REPEATS = 100
#: Setting of the systems that take several calls.
CALLS = "calls_at_once"


def select_systems(given: Any, calls_at_once: int | None = None) -> list[System | Oracle]:
    """Return the systems that a caller describes.

    Args:
        given: an object with the `System` or `Oracle` protocol; a spec as in `build_system`; a mapping
            `{"use": spec, setting: value}`; a list of these; or a mapping of names to these.
        calls_at_once: concurrent calls of each system that takes several and sets no number of its own; None:
            the default of each.

    Raises:
        UnknownName: no system or setting has this name.
        UsageError: an object that is no system, a wrong setting, or two systems with the same name.

    >>> [system.name for system in select_systems({"a": "echo", "b": {"use": "canned", "text": "I see."}})]
    ['a', 'b']
    """
    systems = [_system(spec, calls_at_once) for spec in parse_parts("system", given)]
    if not systems:
        raise UsageError("no system; give an object, a name such as 'canned', or a spec")
    require_different_names("system", systems, option=" (--system NAME=SPEC)")
    return systems


def select_repeats(given: Any, systems: Sequence[System | Oracle]) -> dict[str, int]:
    """Return name -> number of replies to each sample, for the systems that a caller asks more than once.

    Args:
        given: as in `select_systems`, which returned `systems`.

    Raises:
        UsageError: not a whole number within limits, or replies that are read from files.
    """
    repeats: dict[str, int] = {}
    for spec, system in zip(parse_parts("system", given), systems, strict=True):
        number = spec.settings.get(REPEATS, 1)
        if not is_whole(number, low=1, high=MAX_REPEATS):
            raise UsageError(
                f"system '{system.name}': {REPEATS}={number!r}: expected a whole number 1 to {MAX_REPEATS}"
            )
        if number > 1 and isinstance(system, RepliesByFile):
            raise UsageError(f"system '{system.name}': {REPEATS}={number}: its replies are read from a file")
        if number > 1:
            repeats[system.name] = number
    return repeats


def _system(spec: PartSpec, calls_at_once: int | None) -> System | Oracle:
    if isinstance(spec.part, str):
        if spec.part.endswith((".yaml", ".yml")) and ":" not in spec.part:
            raise UsageError(
                f"{spec.part}: an experiment file stands alone; give it to `echat-eval run` or to `evaluate` "
                "as the only argument"
            )
        settings = {key: value for key, value in spec.settings.items() if key != REPEATS}
        if spec.name is not None:
            settings["name"] = spec.name
        if calls_at_once is not None and CALLS not in settings:
            with suppress(UnknownName):  # it takes one call at a time; or a setting of its own is unknown
                return build_system(spec.part, {**settings, CALLS: calls_at_once})
        return build_system(spec.part, settings)
    part = spec.part if spec.name is None else renamed("system", spec.part, spec.name)
    require_members("system", part, System, Oracle)
    check_name(part.name)
    system: System | Oracle = part
    return system
