"""Look-up of systems, annotators and scorers by name, and construction from settings.

Names come from one table per port, then from the entry points of other distributions. The values of a table
are import paths ("package.module:Class"), so that listing names imports nothing. `my.py:Class` names a class
of a file.
"""

from __future__ import annotations

import copy
import importlib.util
import inspect
import re
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from math import isfinite
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from echat_eval.errors import NotInstalled, UnknownName, UsageError

__all__ = [
    "COUNTS",
    "DEFAULTS",
    "SECONDS",
    "PartSpec",
    "absent_members",
    "build_part",
    "check_setting",
    "construct",
    "is_file_spec",
    "known_names",
    "load_file",
    "load_named",
    "parse_parts",
    "parse_setting",
    "present_members",
    "renamed",
    "require_different_names",
    "require_members",
    "split_spec",
]

#: Settings with the same meaning in every adapter: counts, at least 1, and seconds, above 0.
COUNTS = ("calls_at_once", "batch_size", "max_tokens", "max_new_tokens")
SECONDS = ("timeout", "start_timeout")

#: In a list of annotators or scorers: those that are used by default.
DEFAULTS = "defaults"
#: `my.py:Class`: a file and a name in it.
_FILE_SPEC = re.compile(r"(?P<path>.+\.py):(?P<attribute>[^\W\d]\w*)")
_TYPE_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def _entry_points(kind: str) -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=f"echat_eval.{kind}s")}


def known_names(kind: str, table: Mapping[str, str]) -> list[str]:
    """Return all names of a kind: those of the table first, then those of entry points.

    Args:
        kind: "system", "annotator" or "scorer"; entry points are in the group "echat_eval.<kind>s".
        table: name -> import path of the classes that ship with the package.
    """
    return [*table, *sorted(set(_entry_points(kind)) - set(table))]


def load_named(kind: str, name: str, table: Mapping[str, str]) -> Any:
    """Return the class with the given name.

    Raises:
        UnknownName: no class has this name.
        NotInstalled: the class needs a package that is missing.
        UsageError: an entry point names an attribute that does not exist.
    """
    path = table.get(name) or _entry_points(kind).get(name)
    if path is None:
        raise UnknownName(kind, name, known_names(kind, table))
    module, _, attribute = path.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise NotInstalled(
            f"{kind} '{name}' needs the package '{error.name}'; `echat-eval doctor` shows how to install it"
        ) from error
    except AttributeError as error:
        raise UsageError(
            f"{kind} '{name}': {module} has no {attribute!r}; its entry point is wrong"
        ) from error


def is_file_spec(spec: str) -> bool:
    """Return whether text has the form `path/to/my.py:name`."""
    return _FILE_SPEC.fullmatch(spec) is not None


def load_file(kind: str, spec: str) -> Any | None:
    """Return the object that `path/to/my.py:name` names; None if `spec` has another form.

    The file's folder is added to the end of `sys.path`, so that the file can import its neighbours.

    Raises:
        UsageError: the file does not exist, cannot be imported, or has no such name.
        NotInstalled: it imports a package that is missing.
    """
    match = _FILE_SPEC.fullmatch(spec)
    if match is None:
        return None
    path, attribute = Path(match["path"]), match["attribute"]
    if not path.is_file():
        raise UsageError(f"{kind} '{spec}': {path}: no such file; expected FILE.py:NAME")
    module = _import_file(kind, spec, path.resolve())
    if not hasattr(module, attribute):
        names = [name for name in vars(module) if not name.startswith("_")]
        raise UnknownName(f"name in {path}:", attribute, names)
    return getattr(module, attribute)


def build_part(kind: str, name: str, table: Mapping[str, str], settings: Mapping[str, Any]) -> Any:
    """Return an instance of a named class, or of a class, function or object in a file (`my.py:name`).

    Raises:
        UnknownName: no class or setting has this name.
        NotInstalled: the class needs a package that is missing.
        UsageError: a required setting is missing or has the wrong type, or an object is given settings.
    """
    found = load_file(kind, name)
    if found is None:
        return construct(kind, name, load_named(kind, name, table), settings)
    if isinstance(found, type) or inspect.isfunction(found):
        return construct(kind, name, found, settings)
    if settings:
        raise UsageError(f"{kind} '{name}' is an object and takes no settings; got {', '.join(settings)}")
    return found


def split_spec(spec: str) -> tuple[str, str]:
    """Return the name and the settings of `name:settings` or `my.py:Class:settings`.

    >>> split_spec("whisper:model=tiny"), split_spec("my.py:Mine:a=1"), split_spec("acoustics")
    (('whisper', 'model=tiny'), ('my.py:Mine', 'a=1'), ('acoustics', ''))
    """
    file, separator, rest = spec.partition(".py:")
    if separator:
        attribute, _, settings = rest.partition(":")
        return f"{file}.py:{attribute}", settings
    name, _, settings = spec.partition(":")
    return name, settings


def _import_file(kind: str, spec: str, path: Path) -> types.ModuleType:
    name = "file_" + re.sub(r"\W", lambda match: f"_{ord(match[0]):x}_", str(path))
    if name in sys.modules:
        return sys.modules[name]
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None  # the name ends in .py
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    sys.modules[name] = module
    try:
        found.loader.exec_module(module)
    except ModuleNotFoundError as error:
        del sys.modules[name]
        raise NotInstalled(f"{kind} '{spec}' needs the package '{error.name}'; install it") from error
    except Exception as error:  # the user's file may raise anything
        del sys.modules[name]
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise UsageError(f"{kind} '{spec}': the file cannot be imported: {reason}") from error
    return module


@dataclass(frozen=True, slots=True, kw_only=True)
class PartSpec:
    """A system, annotator or scorer as a caller describes it.

    Attributes:
        name: its name in the run; None: its own.
        part: an object, or text: a name, an adapter with an argument, or `my.py:Class`.
        settings: arguments of its constructor; empty for an object.
    """

    name: str | None
    part: Any
    settings: Mapping[str, Any] = field(default_factory=dict)


def parse_parts(kind: str, given: Any) -> list[PartSpec]:
    """Return the descriptions in a name, spec or object, a list of these, or a mapping of names to these.

    In place of a spec, a mapping gives the settings: `{"use": spec, setting: value}`. Under a name in a
    mapping, `use` is that name by default.

    Raises:
        UsageError: nothing is given, or settings have no `use`.

    >>> parts = parse_parts("system", {"a": "echo", "canned": {"text": "Hm."}})
    >>> [(part.name, part.part, part.settings) for part in parts]
    [('a', 'echo', {}), ('canned', 'canned', {'text': 'Hm.'})]
    """
    if isinstance(given, Mapping) and "use" not in given:
        found = [_part(kind, name, part) for name, part in given.items()]
    elif isinstance(given, list | tuple):
        found = [_part(kind, None, part) for part in given]
    else:
        found = [_part(kind, None, given)]
    return found


def _part(kind: str, name: str | None, part: Any) -> PartSpec:
    if name is not None and not isinstance(name, str):
        raise UsageError(f"{kind} {name!r}: expected a name as key of the mapping")
    if isinstance(part, Mapping) or (part is None and name is not None):
        settings = dict(part or {})
        use = settings.pop("use", name)
        if not isinstance(use, str):
            raise UsageError(f"{kind} {dict(part or {})!r}: expected 'use' with a name or spec")
        return PartSpec(name=name, part=use, settings=settings)
    return PartSpec(name=name, part=str(part) if isinstance(part, Path) else part)


def require_members(kind: str, part: Any, *ports: type) -> None:
    """Raise UsageError unless an object has the members of at least one of the protocols `ports`."""
    if isinstance(part, type):
        raise UsageError(f"{kind}: got the class {part.__name__}; expected an object: {part.__name__}()")
    absent = [absent_members(part, port) for port in ports]
    if all(absent):
        fewest = min(absent, key=len)
        members = ", ".join(_members_of(ports[absent.index(fewest)]))
        raise UsageError(
            f"{kind}: got {type(part).__name__} without {', '.join(fewest)}; expected a name, a spec, or an "
            f"object with {members}"
        )


def absent_members(part: object, port: type) -> list[str]:
    """Return the members of a protocol that an object lacks."""
    return [name for name in _members_of(port) if not hasattr(part, name)]


def present_members(part: object, *ports: type) -> dict[str, Any]:
    """Return the members of protocols that an object has, by name."""
    names = {name: None for port in ports for name in _members_of(port)}
    return {name: getattr(part, name) for name in names if hasattr(part, name)}


def _members_of(port: type) -> list[str]:
    """Return the names that a protocol declares: attributes, then methods."""
    methods = [name for name, value in vars(port).items() if inspect.isfunction(value) and name[0] != "_"]
    return [*port.__annotations__, *methods]


def require_different_names(kind: str, parts: Sequence[Any], *, option: str = "") -> None:
    """Raise UsageError if two systems, annotators or scorers have the same name."""
    names = [part.name for part in parts]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two {kind}s are named '{name}'; give them different names{option}")


def renamed(kind: str, part: Any, name: str) -> Any:
    """Return an object under another name: itself if it has that name already, otherwise a shallow copy.

    Raises:
        UsageError: the object cannot be copied, or its name cannot be set.
    """
    if getattr(part, "name", None) == name or isinstance(part, type):
        return part
    try:
        copied = copy.copy(part)
        object.__setattr__(copied, "name", name)
    except Exception as error:  # copying a foreign object may raise anything
        raise UsageError(f"{kind} {name!r}: the object cannot be given this name; set its `name`") from error
    return copied


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
            f"{kind} '{name}': {p.name}", p.name, settings[p.name], _type_of(p.annotation, namespace)
        )
        for p in parameters
        if p.name in settings and p.kind is not p.VAR_KEYWORD
    }
    return cls(**{**settings, **checked})


def _type_of(annotation: Any, namespace: Mapping[str, Any]) -> Any:
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
    names = [word for plain_type in allowed if plain_type is not type(None) for word in _names_of(plain_type)]
    expected = f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]
    if str in allowed and isinstance(value, int | float):
        expected += f"""; put text in quotes: --set {name}='"{value}"'"""
    raise UsageError(f"{label}={value!r}: expected {expected}")


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
