"""Systems under evaluation, by name. One line here, or an entry point `echat_eval.systems`, adds one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.errors import UsageError
from echat_eval.plugins import construct, load_named

if TYPE_CHECKING:
    from collections.abc import Mapping

    from echat_eval.ports import Oracle, System

__all__ = ["SYSTEMS", "build_system"]

SYSTEMS: dict[str, str] = {
    "echo": "echat_eval.systems.echo:Echo",
    "canned": "echat_eval.systems.canned:Canned",
    "replay": "echat_eval.systems.replay:Replay",
    "cascade": "echat_eval.systems.cascade:Cascade",
    "osum-echat": "echat_eval.systems.osum_echat:OsumEChat",
    "reference": "echat_eval.systems.reference:Reference",
}

#: What stands behind the colon of `adapter:argument`.
ARGUMENT = {"replay": "replies"}


def build_system(spec: str, settings: Mapping[str, Any] | None = None) -> System | Oracle:
    """Return the system that a `--system` value names.

    Args:
        spec: `adapter`, `adapter:argument`, or either with `name=` before it.
        settings: passed to the adapter's constructor.

    >>> build_system("echo").name, build_system("kind=canned").name
    ('echo', 'kind')
    """
    given = dict(settings or {})
    name, equals, rest = spec.partition("=")
    if equals and ":" not in name and "/" not in name:
        given["name"], spec = name, rest
    adapter, colon, argument = spec.partition(":")
    if colon:
        if adapter not in ARGUMENT:
            load_named("system", adapter, SYSTEMS)
            raise UsageError(f"system '{adapter}' takes nothing behind a colon; got {argument!r}")
        given[ARGUMENT[adapter]] = argument
    system = construct("system", adapter, load_named("system", adapter, SYSTEMS), given)
    check_name(system.name)
    return system  # type: ignore[no-any-return]


def check_name(name: str) -> None:
    """Raise UsageError unless a system's name can stand in a row, a path and a table."""
    if (
        not name
        or len(name) > 120
        or "\n" in name
        or ":" in name
        or name != name.strip()
        or name != Path(name).name
    ):
        raise UsageError(
            f"system name {name!r}: expected 1 to 120 characters on one line, without ':' or '/'"
        )
