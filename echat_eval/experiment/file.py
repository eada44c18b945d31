"""Reads an experiment file: a closed schema, paths from the environment, and no secret."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.clients.keys import KEY_VARIABLES, is_secret_name, looks_like_secret
from echat_eval.errors import BadData
from echat_eval.experiment.experiment import Experiment
from echat_eval.experiment.tables import check_tables
from echat_eval.io.schema import TEXT, Rule, Schema, is_number, is_text, list_of, mapping_of, whole
from echat_eval.io.strict_yaml import read_yaml

if TYPE_CHECKING:
    from echat_eval.io.strict_yaml import YamlFile

__all__ = ["RUNNER", "experiment_from", "is_experiment_file", "read_experiment"]

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_FLAG = Rule(lambda value: isinstance(value, bool), "true or false", required=False)
_NAMES = Rule(
    lambda value: is_text(value) or (isinstance(value, list) and all(map(is_text, value))),
    "a name or a list of names",
    required=False,
)


def _parts(kind: str) -> Rule:
    """Return the rule for systems, instruments or judges: specs, or names with their settings."""

    def is_part(value: Any) -> bool:
        return value is None or is_text(value) or isinstance(value, Mapping)

    def holds(value: Any) -> bool:
        entries = value if isinstance(value, list) else value.values() if isinstance(value, Mapping) else ()
        return is_text(value) or (isinstance(value, list | Mapping) and all(map(is_part, entries)))

    example = {
        "systems": "{mine: {use: canned}}",
        "annotators": "{whisper: {}}",
        "scorers": "[defaults, 'my.py:Mine']",
        "extra": "['my_metrics.py:speech_rate']",
        "judges": "{text: {model: NAME}}",
    }[kind]
    return Rule(
        holds, f"a mapping of names to settings or a list of specs, such as {example}", required=False
    )


#: The group `runner`.
RUNNER = Schema(
    {
        "tries": whole(1).optional(),
        "calls_at_once": whole(1).optional(),
        "retry_failed": _FLAG,
        "overlap": _FLAG,
        "cache": _FLAG,
        "max_cost": Rule(
            lambda v: is_number(v, low=0) or is_text(v), "an amount in US dollars", required=False
        ),
        "controls": whole(0).optional(),
    }
)
_METRICS = Schema({"headline": TEXT.optional(), "extra": _parts("extra")})
_EXPERIMENT = Schema(
    {
        "systems": replace(_parts("systems"), required=True),
        "tasks": Rule(
            lambda v: (
                is_text(v) or (isinstance(v, list) and all(is_text(e) or isinstance(e, Mapping) for e in v))
            ),
            "a list of names, or of mappings of name, data, languages, part, limit, ask",
            required=False,
        ),
        "data": TEXT.optional(),
        "languages": _NAMES,
        "part": TEXT.optional(),
        "limit": whole(1).optional(),
        "ask": TEXT.optional(),
        "annotators": _parts("annotators"),
        "scorers": _parts("scorers"),
        "judges": _parts("judges"),
        "metrics": Rule(lambda value: isinstance(value, Mapping), "a mapping of headline and extra", False),
        "runner": Rule(lambda value: isinstance(value, Mapping), "a mapping", required=False),
        "executor": Rule(
            lambda v: is_text(v) or isinstance(v, Mapping), "'local', 'ray' or a mapping of settings", False
        ),
        "send_to": _NAMES,
        "track": Rule(
            lambda v: is_text(v) or isinstance(v, list | Mapping),
            "a name or a mapping of names to settings, such as {wandb: {project: NAME}}",
            required=False,
        ),
        "prices": TEXT.optional(),
        "out": TEXT.optional(),
        # Of `report --tables`; it determines no result.
        "tables": Rule(lambda value: isinstance(value, Mapping), "a mapping", required=False),
    }
)
_MAPPING = Rule(lambda value: value is None or isinstance(value, Mapping), "a mapping")
_NAMED = replace(mapping_of(_MAPPING, "a mapping of names to settings"), required=False)
#: In a run folder: every part has its name and its settings, and every task a mapping. Systems are absent if
#: an older version requested the replies.
_RESOLVED = Schema(
    {
        **_EXPERIMENT.rules,
        **dict.fromkeys(("systems", "annotators", "scorers"), _NAMED),
        "tasks": Rule(
            lambda v: (
                isinstance(v, list) and all(isinstance(e, Mapping) and is_text(e.get("name")) for e in v)
            ),
            "a list of mappings with a name",
            required=False,
        ),
        "judges": replace(list_of(_MAPPING, "a list of mappings"), required=False),
    }
)


def is_experiment_file(given: object) -> bool:
    """Return whether an argument names an experiment file, and no system.

    >>> [is_experiment_file(given) for given in ("a.yaml", Path("b.yml"), "canned", "replay:a.yaml")]
    [True, True, False, False]
    """
    if isinstance(given, Path):
        return given.suffix in {".yaml", ".yml"}
    return isinstance(given, str) and given.endswith((".yaml", ".yml")) and not {":", "="} & set(given)


def read_experiment(path: Path) -> Experiment:
    """Return the experiment in a file.

    Raises:
        BadData: the file is invalid; the message names file and line.
    """
    return experiment_from(read_yaml(path), str(path))


def experiment_from(file: YamlFile, shown: str, *, resolved: bool = False) -> Experiment:
    """Return the experiment in the content of a file; raises as `read_experiment`.

    Args:
        resolved: the file is that of a run folder, whose texts are final.
    """

    def location(key: str) -> str:
        return f"{shown}:{file.lines.get(key, 1)}"

    for key in file.content:
        if key in {"include", "includes", "extends", "defaults", "import"}:
            raise BadData(
                f"{location(key)}: key '{key}': an experiment file includes no other file; write everything "
                "that determines the result in this one"
            )
    (_RESOLVED if resolved else _EXPERIMENT).check(file.content, location)
    for group, schema in (("runner", RUNNER), ("metrics", _METRICS)):
        schema.check(file.content.get(group) or {}, f"{location(group)}: {group}")
    values = {}
    for key, value in file.content.items():
        if value is not None and not resolved:
            _refuse_secrets(key, value, location(key))
            value = _with_variables(value, location(key))
        if value is not None:
            values[key] = value
    if (tables := values.pop("tables", None)) is not None:
        check_tables(tables, values, location("tables"))
    own = dict(values.pop("metrics", {}))
    if "extra" in own:
        own["metrics"] = own.pop("extra")
    return Experiment(**{**values.pop("runner", {}), **own, **values})


def _refuse_secrets(key: str, value: Any, location: str) -> None:
    """Raise BadData for a key (secret) in a file: a file is copied, committed and kept with the run."""
    for name, found in _leaves(key, value):
        if found and isinstance(found, str) and (is_secret_name(name) or looks_like_secret(found)):
            raise BadData(
                f"{location}: '{name}' holds a secret; remove it from the file (and renew it if the file was "
                f"shared) and set the environment variable {KEY_VARIABLES[0]} instead"
            )


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield (key, plain value) of everything below a key."""
    if isinstance(value, Mapping):
        for inner_name, inner in value.items():
            yield from _leaves(str(inner_name), inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(name, inner)
    else:
        yield name, value


def _with_variables(value: Any, location: str) -> Any:
    """Return a value in which each `${NAME}` is the path in that environment variable."""
    if isinstance(value, Mapping):
        return {name: _with_variables(inner, location) for name, inner in value.items()}
    if isinstance(value, list):
        return [_with_variables(inner, location) for inner in value]
    return _VARIABLE.sub(_path_in(location), value) if isinstance(value, str) else value


def _path_in(location: str) -> Callable[[re.Match[str]], str]:
    """Return the function from `${NAME}` to the path in that variable; raises BadData without one."""

    def path(match: re.Match[str]) -> str:
        name = match[1]
        if is_secret_name(name):
            raise BadData(
                f"{location}: ${{{name}}}: keys cannot come into a file; systems and judges read them"
            )
        found = os.environ.get(name)
        if found is None:
            raise BadData(f"{location}: ${{{name}}}: this environment variable is not set; set it to a path")
        if not (os.sep in found or Path(found).exists()):
            raise BadData(
                f"{location}: ${{{name}}} is no path; only paths may come from the environment, so write "
                "other values out"
            )
        return found

    return path
