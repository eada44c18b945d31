"""The registry of systems. Add one to `SYSTEMS`, or with an entry point in the group `echat_eval.systems`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.errors import UnknownName, UsageError
from echat_eval.plugins import (
    build_part,
    construct,
    is_file_spec,
    known_names,
    load_named,
    renamed,
    require_members,
)
from echat_eval.ports import Oracle, System
from echat_eval.systems.settings_files import system_settings, system_settings_names

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SYSTEMS", "build_system", "split_name", "system_names"]

SYSTEMS: dict[str, str] = {
    "echo": "echat_eval.systems.echo:Echo",
    "canned": "echat_eval.systems.canned:Canned",
    "replay": "echat_eval.systems.replay:Replay",
    "command": "echat_eval.systems.command:Command",
    "http": "echat_eval.systems.http:Http",
    "openai-chat": "echat_eval.systems.openai_chat:OpenAIChat",
    "realtime": "echat_eval.systems.realtime:Realtime",
    "qwen-omni": "echat_eval.systems.qwen_omni:QwenOmni",
    "cascade": "echat_eval.systems.cascade:Cascade",
    "listening-cascade": "echat_eval.systems.listening_cascade:ListeningCascade",
    "osum-echat": "echat_eval.systems.osum_echat:OsumEChat",
    "transcript-only": "echat_eval.systems.transcript_only:TranscriptOnly",
    "gold-labels": "echat_eval.systems.gold_labels:GoldLabels",
    "reference": "echat_eval.systems.reference:Reference",
    "label-parrot": "echat_eval.systems.label_parrot:LabelParrot",
    "wrong-language": "echat_eval.systems.label_parrot:WrongLanguage",
    "neutral-voice": "echat_eval.systems.neutral_voice:NeutralVoice",
}

#: Adapter -> the setting that `argument` in `adapter:argument` fills.
ARGUMENT = {
    "replay": "replies",
    "command": "program",
    "http": "url",
    "openai-chat": "model",
    "realtime": "model",
    "qwen-omni": "model",
}


def system_names() -> list[str]:
    """Return the names of all adapters, entry points and files in baselines/systems."""
    return list(dict.fromkeys([*known_names("system", SYSTEMS), *system_settings_names()]))


def build_system(spec: str, settings: Mapping[str, Any] | None = None) -> System | Oracle:
    """Return the system for a `--system` value.

    Args:
        spec: `adapter`, `adapter:argument`, `http://host/path`, `my.py:Class`, or a file name in
            baselines/systems; each may have the prefix `name=`.
        settings: arguments of the adapter's constructor; they override those of a file.

    >>> build_system("echo").name, build_system("kind=canned").name
    ('echo', 'kind')
    >>> build_system("mine=http://127.0.0.1:9/speak?voice=a").settings()["url"]
    'http://127.0.0.1:9/speak?voice=a'
    """
    arguments = dict(settings or {})
    name, spec = split_name(spec)
    if name is not None:
        arguments["name"] = name
    if is_file_spec(spec):
        given_name = arguments.pop("name", None)
        system = build_part("system", spec, SYSTEMS, arguments)
        require_members("system", system, System, Oracle)
        system = system if given_name is None else renamed("system", system, given_name)
    else:
        adapter, arguments = _resolve(spec, arguments)
        system = construct("system", str(arguments.get("name", adapter)), _class_of(adapter), arguments)
    check_name(system.name)
    return system  # type: ignore[no-any-return]


def split_name(spec: str) -> tuple[str | None, str]:
    """Return the name in `name=spec`, None without one, and the spec.

    >>> split_name("mine=http://127.0.0.1:9/?voice=a"), split_name("http://127.0.0.1:9/?voice=a")
    (('mine', 'http://127.0.0.1:9/?voice=a'), (None, 'http://127.0.0.1:9/?voice=a'))
    """
    name, equals, rest = spec.partition("=")
    named = equals and ":" not in name and "/" not in name and " " not in name
    return (name, rest) if named else (None, spec)


def _resolve(spec: str, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the adapter's name and the arguments of its constructor."""
    if spec.startswith(("http://", "https://")):
        return "http", {**arguments, "url": spec}
    if spec in system_settings_names():
        file = system_settings(spec)
        return file.adapter, {"name": spec, **file.settings, **arguments}
    adapter, colon, argument = spec.partition(":")
    if not colon:
        return adapter, arguments
    if adapter not in ARGUMENT:
        _class_of(adapter)
        raise UsageError(f"system '{adapter}' takes no argument after a colon; got {argument!r}")
    return adapter, {**arguments, ARGUMENT[adapter]: argument}


def _class_of(adapter: str) -> Any:
    try:
        return load_named("system", adapter, SYSTEMS)
    except UnknownName:
        raise UnknownName("system", adapter, system_names()) from None


def check_name(name: str) -> None:
    """Raise UsageError if a system's name cannot be used in rows, paths and tables."""
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
