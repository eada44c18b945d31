"""Selection of the systems of a run: objects, names, specs and settings become systems of different names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from echat_eval.errors import UsageError
from echat_eval.plugins import parse_parts, renamed, require_different_names, require_members
from echat_eval.ports import Oracle, System
from echat_eval.systems import build_system, check_name

if TYPE_CHECKING:
    from echat_eval.plugins import PartSpec

__all__ = ["select_systems"]


def select_systems(given: Any) -> list[System | Oracle]:
    """Return the systems that a caller describes.

    Args:
        given: an object with the `System` or `Oracle` protocol; a spec as in `build_system`; a mapping
            `{"use": spec, setting: value}`; a list of these; or a mapping of names to these.

    Raises:
        UnknownName: no system or setting has this name.
        UsageError: an object that is no system, a wrong setting, or two systems with the same name.

    >>> [system.name for system in select_systems({"a": "echo", "b": {"use": "canned", "text": "I see."}})]
    ['a', 'b']
    """
    systems = [_system(spec) for spec in parse_parts("system", given)]
    if not systems:
        raise UsageError("no system; give an object, a name such as 'canned', or a spec")
    require_different_names("system", systems, option=" (--system NAME=SPEC)")
    return systems


def _system(spec: PartSpec) -> System | Oracle:
    if isinstance(spec.part, str):
        if spec.part.endswith((".yaml", ".yml")) and ":" not in spec.part:
            raise UsageError(
                f"{spec.part}: experiment files cannot be read yet; give systems, tasks and judges as "
                "arguments"
            )
        settings = spec.settings if spec.name is None else {**spec.settings, "name": spec.name}
        return build_system(spec.part, settings)
    part = spec.part if spec.name is None else renamed("system", spec.part, spec.name)
    require_members("system", part, System, Oracle)
    check_name(part.name)
    system: System | Oracle = part
    return system
