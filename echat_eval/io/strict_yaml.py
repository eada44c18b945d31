"""Small YAML files read with suspicion: no anchors, no tags, no key twice, a size and a depth limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["MAX_DEPTH", "MAX_YAML_BYTES", "YamlFile", "read_yaml"]

#: A larger file is refused unread.
MAX_YAML_BYTES = 256 * 1024
#: Lists and mappings nested deeper than this are refused.
MAX_DEPTH = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlFile:
    """What one file says and where.

    Attributes:
        content: top-level key -> value, of the types `yaml.safe_load` makes.
        lines: top-level key -> line number, from 1.
    """

    content: Mapping[str, Any]
    lines: Mapping[str, int]


def read_yaml(path: Path, *, shown: str | None = None) -> YamlFile:
    """Return the mapping a YAML file holds.

    An alias lets a few bytes stand for gigabytes, and a tag can name a class to build, so
    both are refused outright rather than bounded.

    Args:
        path: the file, UTF-8.
        shown: how messages name it; the path itself if left out.

    Raises:
        BadData: with file and line.
    """
    name = shown or str(path)
    text = _read_text(path, name)
    import yaml

    try:
        _refuse_tricks(text, name)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if not isinstance(node, yaml.MappingNode):
            raise BadData(f"{name}:1: expected a mapping of keys to values")
        lines: dict[str, int] = {}
        _refuse_twins(node, name, lines)
        return YamlFile(content=yaml.safe_load(text), lines=lines)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadData(f"{name}:{line}: not YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise BadData(f"{name}:1: not YAML: {reason}") from error


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


def _refuse_tricks(text: str, name: str) -> None:
    """Raise BadData on an anchor, an alias, a tag or too deep a nesting, without building anything."""
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise BadData(f"{name}:{line}: anchors and aliases (&, *) are not allowed; write the value out")
        if tag := getattr(event, "tag", None):
            raise BadData(f"{name}:{line}: tags (!{tag.lstrip('!')}) are not allowed")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise BadData(f"{name}:{line}: nested deeper than {MAX_DEPTH} levels")


def _refuse_twins(node: Any, name: str, lines: dict[str, int]) -> None:
    """Raise BadData if a mapping names a key twice or by something else than text; note the top lines."""
    import yaml

    seen: set[str] = set()
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.tag != "tag:yaml.org,2002:str":
            raise BadData(f"{name}:{line}: keys are text; write '{getattr(key, 'value', key.tag)}' in quotes")
        if key.value in seen:
            raise BadData(f"{name}:{line}: key '{key.value}' twice")
        seen.add(key.value)
        lines.setdefault(key.value, line)
        nested = [value] if isinstance(value, yaml.MappingNode) else []
        if isinstance(value, yaml.SequenceNode):
            nested = [child for child in value.value if isinstance(child, yaml.MappingNode)]
        for child in nested:
            _refuse_twins(child, name, {})
