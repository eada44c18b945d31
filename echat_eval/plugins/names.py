"""Look-up of classes by name, and of objects in a user's file.

Names come from one table per port, then from the entry points of other distributions. The values of a table
are import paths ("package.module:Class"), so that listing names imports nothing. `my.py:Class` names a class
of a file.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import types
from collections.abc import Mapping
from importlib import import_module
from importlib.machinery import SourceFileLoader
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from echat_eval.errors import NotInstalled, UnknownName, UsageError
from echat_eval.plugins.packages import package_of

__all__ = ["is_file_spec", "known_names", "load_file", "load_named", "loaded_source", "split_spec"]

#: `my.py:Class`: a file and a name in it.
_FILE_SPEC = re.compile(r"(?P<path>.+\.py):(?P<attribute>[^\W\d]\w*)")


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
    """Return the class, function or object with the given name.

    Raises:
        UnknownName: nothing has this name.
        NotInstalled: it needs a package that is missing.
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
            f"{kind} '{name}' needs the package '{package_of(error)}'; `echat-eval doctor` shows how to "
            "install it"
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


#: Path of an imported file -> the bytes that were compiled.
_SOURCES: dict[str, bytes] = {}


class _FromSource(SourceFileLoader):
    """Compiles a file itself: a `.pyc` beside it may be of other code with the same time and size."""

    def get_code(self, fullname: str) -> types.CodeType:
        source = _SOURCES[self.path] = self.get_data(self.path)
        return self.source_to_code(source, self.path)


def loaded_source(path: str) -> bytes | None:
    """Return the text of a file as `load_file` imported it; None for other files."""
    return _SOURCES.get(path)


def _import_file(kind: str, spec: str, path: Path) -> types.ModuleType:
    name = "file_" + re.sub(r"\W", lambda match: f"_{ord(match[0]):x}_", str(path))
    if name in sys.modules:
        return sys.modules[name]
    found = importlib.util.spec_from_file_location(name, path, loader=_FromSource(name, str(path)))
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
        raise NotInstalled(f"{kind} '{spec}' needs the package '{package_of(error)}'; install it") from error
    except Exception as error:  # the user's file may raise anything
        del sys.modules[name]
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise UsageError(f"{kind} '{spec}': the file cannot be imported: {reason}") from error
    return module
