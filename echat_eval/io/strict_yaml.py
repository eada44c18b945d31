"""A strict reader for small YAML files: no anchors, tags or duplicate keys; limits on size and depth."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["MAX_DEPTH", "MAX_YAML_BYTES", "YamlFile", "read_yaml"]

#: A larger file is rejected before parsing.
MAX_YAML_BYTES = 256 * 1024
#: Limit on the nesting of lists and mappings.
MAX_DEPTH = 12


#: Where libyaml is laxer, beside question marks in flow style: tabs, a byte order mark that is not the first
#: character, and a comment directly after the head of a block text.
_DIFFERENT = re.compile(r"[\t\ufeff]|[|>][-+0-9]*#")


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlFile:
    """The content of one file, with line numbers.

    Attributes:
        content: top-level key -> value, of the types that `yaml.safe_load` returns.
        lines: top-level key -> line number, from 1.
    """

    content: Mapping[str, Any]
    lines: Mapping[str, int]


def read_yaml(path: Path, *, shown: str | None = None) -> YamlFile:
    """Return the mapping in a YAML file.

    An alias can expand a few bytes to gigabytes, and a tag can name a class to construct, so both are
    rejected.

    Args:
        path: the file, UTF-8.
        shown: name of the file in messages; the path by default.

    Raises:
        BadData: the file is invalid; the message names file and line.
    """
    name = shown or str(path)
    text = _read_text(path, name)
    import yaml

    try:
        loader, node = _composed(text, name)
        if not isinstance(node, yaml.MappingNode):
            raise BadData(f"{name}:1: expected a mapping of keys to values")
        lines: dict[str, int] = {}
        _reject_duplicates(node, name, lines)
        return YamlFile(content=loader.construct_document(node), lines=lines)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadData(f"{name}:{line}: not YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise BadData(f"{name}:1: not YAML: {reason}") from error


def _composed(text: str, name: str) -> tuple[Any, Any]:
    """Return the loader of a text, and its node.

    libyaml reads a valid file several times as fast. PyYAML's own parser reads the files that libyaml
    refuses, and those that libyaml may read as something else: a file means the same on every machine.
    """
    import yaml

    lax = _DIFFERENT.search(text) or ("?" in text and ("{" in text or "[" in text))
    for fast in (True, False) if yaml.__with_libyaml__ and not lax else (False,):
        loader = _strict_loader(fast)(text)
        loader.shown = name
        try:
            return loader, loader.get_single_node()
        except (yaml.YAMLError, ValueError):
            if not fast:
                raise
    raise AssertionError


def _read_text(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_YAML_BYTES + 1)
    except OSError as error:
        raise BadData(f"{name}: cannot be read: {error.strerror or error}") from error
    if len(raw) > MAX_YAML_BYTES:
        raise BadData(f"{name}: larger than {MAX_YAML_BYTES:,} bytes")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BadData(f"{name}:{line}: not UTF-8") from error


@cache
def _strict_loader(fast: bool) -> Any:
    """Return PyYAML's safe loader, made strict: what is unsafe is refused before a value is constructed.

    Args:
        fast: parse with libyaml.
    """
    import yaml

    class Fast(yaml.composer.Composer, yaml.CSafeLoader):
        """The safe loader with libyaml's events and the nodes of PyYAML."""

        def __init__(self, stream: str) -> None:
            yaml.CSafeLoader.__init__(self, stream)
            yaml.composer.Composer.__init__(self)

    base: Any = Fast if fast else yaml.SafeLoader

    class StrictLoader(base):  # type: ignore[misc]
        """Raises BadData for an anchor, an alias, a tag or too much nesting.

        One pass: PyYAML is slow, and the files of a task are read by every command.
        """

        shown = ""
        depth = 0

        def compose_node(self, parent: yaml.Node | None, index: Any) -> Any:
            event: Any = self.peek_event()
            place = f"{self.shown}:{event.start_mark.line + 1 if event.start_mark else 1}"
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise BadData(f"{place}: anchors and aliases (&, *) are not allowed; write the value out")
            if tag := getattr(event, "tag", None):
                raise BadData(f"{place}: tags (!{tag.lstrip('!')}) are not allowed")
            nested = isinstance(event, yaml.CollectionStartEvent)
            self.depth += nested
            if self.depth > MAX_DEPTH:
                raise BadData(f"{place}: nested deeper than {MAX_DEPTH} levels")
            node = super().compose_node(parent, index)
            self.depth -= nested
            return node

    return StrictLoader


def _reject_duplicates(node: Any, name: str, lines: dict[str, int]) -> None:
    """Raise BadData for a key that is not text or appears twice; store the line of each key in `lines`."""
    import yaml

    seen: set[str] = set()
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.tag != "tag:yaml.org,2002:str":
            raise BadData(
                f"{name}:{line}: keys must be text; write '{getattr(key, 'value', key.tag)}' in quotes"
            )
        if key.value in seen:
            raise BadData(f"{name}:{line}: key '{key.value}' twice")
        seen.add(key.value)
        lines.setdefault(key.value, line)
        nested = [value] if isinstance(value, yaml.MappingNode) else []
        if isinstance(value, yaml.SequenceNode):
            nested = [child for child in value.value if isinstance(child, yaml.MappingNode)]
        for child in nested:
            _reject_duplicates(child, name, {})
