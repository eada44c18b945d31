"""Settings of a part in words: names, types, defaults and meaning, from its signature and docstring."""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import dataclass
from typing import Any

from echat_eval.plugins.settings import annotated_type, words_for_type

__all__ = ["DescribedSetting", "described_settings"]

#: The entry of an argument in a docstring, or of several that share one: "timeout: seconds per reply".
_ENTRY = re.compile(r"^((?:\w+)(?:, \w+)*): (.*)$")

#: Settings that mean the same in every part; a docstring may be more precise.
_SHARED = {
    "name": "name in tables.",
    "model": "a folder, or a hub name that is in the local cache.",
    "hub": 'where the model comes from: "ms" (ModelScope) or "hf" (Hugging Face).',
    "revision": "revision of the model on its hub; None for the cached one.",
    "device": 'such as "cpu", "cuda" or "cuda:1".',
    "dtype": "type of the weights.",
    "threads": "processor threads of each call.",
    "seed": "seed of the sampling; None leaves it out.",
    "temperature": "of the sampling; None leaves it out.",
    "timeout": "seconds per reply.",
    "timeout_seconds": "seconds per reply.",
    "batch_size": "requests or replies per batch.",
    "languages": "languages that are supported.",
    "embedder": "model that turns a text into a vector; from Python only.",
    "threshold": 'below this probability the label is "unknown".',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedSetting:
    """One setting of a part.

    Attributes:
        expected: allowed values in words, such as "a number"; "" if the constructor does not state them.
        default: as written on the command line; None if the setting is required.
        meaning: its line of the docstring; "" if there is none.
    """

    name: str
    expected: str
    default: str | None
    meaning: str


def described_settings(part: Any) -> list[DescribedSetting]:
    """Return the settings of a class, or of a function that builds a part, in the order of its parameters.

    >>> class Waits:
    ...     '''A system.
    ...
    ...     Args:
    ...         timeout: seconds per
    ...             reply.
    ...     '''
    ...
    ...     def __init__(self, timeout: float = 2.0) -> None: ...
    >>> described_settings(Waits)
    [DescribedSetting(name='timeout', expected='a number', default='2.0', meaning='seconds per reply.')]
    """
    meanings = dict(_SHARED)
    for base in reversed(inspect.getmro(part) if inspect.isclass(part) else (part,)):
        meanings |= _arguments(inspect.cleandoc(base.__doc__ or ""))
    namespace = vars(sys.modules[part.__module__])
    return [
        DescribedSetting(
            name=parameter.name,
            expected=words_for_type(annotated_type(parameter.annotation, namespace)),
            default=None if parameter.default is parameter.empty else _written(parameter.default),
            meaning=meanings.get(parameter.name, ""),
        )
        for parameter in inspect.signature(part).parameters.values()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]


def _arguments(docstring: str) -> dict[str, str]:
    """Return argument -> its meaning in one line, from the sections Args and Attributes of a docstring."""
    meanings: dict[str, str] = {}
    names: list[str] = []
    inside = False
    for line in docstring.splitlines():
        if line and not line.startswith(" "):
            inside, names = line in ("Args:", "Attributes:"), []
            continue
        if not inside:
            continue
        entry = _ENTRY.match(line.strip()) if len(line) - len(line.lstrip()) == 4 else None
        if entry:
            names = entry[1].split(", ")
            meanings |= dict.fromkeys(names, entry[2])
        elif line.strip():
            meanings |= {name: f"{meanings[name]} {line.strip()}" for name in names}
    return meanings


def _written(value: Any) -> str:
    """Return a default as `--set` takes it; "built in" for one that is no plain value.

    >>> _written(None), _written(True), _written(""), _written(("en", "zh")), _written(object)
    ('null', 'true', "''", 'en+zh', 'built in')
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, tuple) and value:
        return "+".join(map(str, value))
    return (str(value) or "''") if isinstance(value, str | int | float) else "built in"
