"""Systems under evaluation, by name. One line here, or an entry point `echat_eval.systems`, adds one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.errors import UnknownName, UsageError
from echat_eval.plugins import construct, known_names, load_named
from echat_eval.systems.settings_files import system_settings, system_settings_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from echat_eval.ports import Oracle, System

__all__ = ["SYSTEMS", "build_system", "system_names"]

SYSTEMS: dict[str, str] = {
    "echo": "echat_eval.systems.echo:Echo",
    "canned": "echat_eval.systems.canned:Canned",
    "replay": "echat_eval.systems.replay:Replay",
    "command": "echat_eval.systems.command:Command",
    "http": "echat_eval.systems.http:Http",
    "openai-chat": "echat_eval.systems.openai_chat:OpenAIChat",
    "qwen-omni": "echat_eval.systems.qwen_omni:QwenOmni",
    "cascade": "echat_eval.systems.cascade:Cascade",
    "osum-echat": "echat_eval.systems.osum_echat:OsumEChat",
    "transcript-only": "echat_eval.systems.transcript_only:TranscriptOnly",
    "gold-labels": "echat_eval.systems.gold_labels:GoldLabels",
    "reference": "echat_eval.systems.reference:Reference",
}

#: What stands behind the colon of `adapter:argument`.
ARGUMENT = {
    "replay": "replies",
    "command": "program",
    "http": "url",
    "openai-chat": "model",
    "qwen-omni": "model",
}


def system_names() -> list[str]:
    """Return every name: adapters, entry points, and the files of baselines/systems."""
    return list(dict.fromkeys([*known_names("system", SYSTEMS), *system_settings_names()]))


def build_system(spec: str, settings: Mapping[str, Any] | None = None) -> System | Oracle:
    """Return the system that a `--system` value names.

    Args:
        spec: `adapter`, `adapter:argument`, `http://host/path`, a file of baselines/systems, or any of
            these with `name=` before it.
        settings: passed to the adapter's constructor; they win over those of a file.

    >>> build_system("echo").name, build_system("kind=canned").name
    ('echo', 'kind')
    >>> build_system("mine=http://127.0.0.1:9/speak?voice=a").settings()["url"]
    'http://127.0.0.1:9/speak?voice=a'
    """
    given = dict(settings or {})
    name, equals, rest = spec.partition("=")
    if equals and ":" not in name and "/" not in name and " " not in name:
        given["name"], spec = name, rest
    adapter, given = _resolved(spec, given)
    system = construct("system", adapter, _class_of(adapter), given)
    check_name(system.name)
    return system  # type: ignore[no-any-return]


def _resolved(spec: str, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the adapter's name and its settings."""
    if spec.startswith(("http://", "https://")):
        return "http", {**given, "url": spec}
    if spec in system_settings_names():
        file = system_settings(spec)
        return file.adapter, {"name": spec, **file.settings, **given}
    adapter, colon, argument = spec.partition(":")
    if not colon:
        return adapter, given
    if adapter not in ARGUMENT:
        _class_of(adapter)
        raise UsageError(f"system '{adapter}' takes nothing behind a colon; got {argument!r}")
    return adapter, {**given, ARGUMENT[adapter]: argument}


def _class_of(adapter: str) -> Any:
    try:
        return load_named("system", adapter, SYSTEMS)
    except UnknownName:
        raise UnknownName("system", adapter, system_names()) from None


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
