"""Cues that tasks declare: a list of shipped names, or a mapping that also defines cues of the task's own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData, did_you_mean
from echat_eval.io.schema import shorten
from echat_eval.labels import CUES, SHIPPED
from echat_eval.labels.definition import cue_from, definition_faults

if TYPE_CHECKING:
    from echat_eval.records import Cue, Sample

__all__ = [
    "DECLARATION",
    "Declared",
    "cues_of",
    "declaration_faults",
    "declared_cues",
    "merged_cues",
    "stored_cues",
    "stored_from",
]

#: Form of a declaration, for messages.
DECLARATION = f"a list of cues out of {', '.join(CUES)}, each once, or a mapping that defines others"

#: Names of the cues in their order, and the task's own definitions; None: it has none.
Declared = tuple[tuple[str, ...], "Mapping[str, Cue] | None"]


def declaration_faults(value: Any) -> Iterator[str]:
    """Yield every fault of the value of `cues` in a task.yaml.

    >>> list(declaration_faults(["emotion"])), list(declaration_faults({"emotion": None}))
    ([], [])
    """
    if isinstance(value, list):
        yield from _list_faults(value)
    elif isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        for name, definition in value.items():
            yield from definition_faults(name, definition, SHIPPED.get(name))
    else:
        yield f"'cues' is {shorten(value)}, expected {DECLARATION}"


def _list_faults(names: list[Any]) -> Iterator[str]:
    for number, name in enumerate(names):
        if not isinstance(name, str):
            yield f"'cues' has {shorten(name)}, expected {DECLARATION}"
        elif name not in CUES:
            close = (
                did_you_mean(name, CUES) or f" Define it: cues: {{{name[:32]}: {{labels: [one, another]}}}}"
            )
            yield f"unknown cue {shorten(name)}; the shipped cues are {', '.join(CUES)}.{close}"
        elif name in names[:number]:
            yield f"cue '{name}' twice"


def declared_cues(value: Any) -> Declared:
    """Return the cues of a declaration without faults; see `declaration_faults`.

    >>> declared_cues(["age", "gender"])
    (('age', 'gender'), None)
    """
    if not isinstance(value, Mapping):
        return tuple(value), None
    own = {
        name: cue_from(name, definition, SHIPPED.get(name))
        for name, definition in value.items()
        if definition is not None
    }
    return tuple(value), MappingProxyType(own) if own else None


def merged_cues(tasks: Iterable[tuple[str, Mapping[str, Cue] | None]]) -> Mapping[str, Cue]:
    """Return name -> cue of several tasks, the shipped ones first; of a task, its own definitions.

    Wording may differ between tasks; then that of the first task is returned.

    Raises:
        BadData: two tasks give a cue different labels, another order of them, or another kind.
    """
    known = dict(SHIPPED)
    first: dict[str, tuple[str, Cue]] = {}
    for task, own in tasks:
        for name, cue in (own or {}).items():
            other_task, other = first.setdefault(name, (task, cue))
            if (other.labels, other.ordinal, other.trait) != (cue.labels, cue.ordinal, cue.trait):
                raise BadData(
                    f"tasks '{other_task}' and '{task}' define the cue '{name}' differently ({_text(other)}; "
                    f"{_text(cue)}); rename one of the two cues, or run the tasks apart"
                )
            known[name] = other
    return known


def _text(cue: Cue) -> str:
    kinds = [kind for kind, holds in (("ordinal", cue.ordinal), ("trait", cue.trait)) if holds]
    return ", ".join(cue.labels) + (f", {' '.join(kinds)}" if kinds else "")


def cues_of(samples: Iterable[Sample]) -> Mapping[str, Cue]:
    """Return name -> cue of the tasks of samples, as `merged_cues`."""
    own = {sample.task: sample.own_cues for sample in samples}
    return merged_cues(own.items()) if any(own.values()) else SHIPPED


def stored_cues(own: Mapping[str, Cue]) -> dict[str, Any]:
    """Return a task's own cues as plain JSON, in the form of definitions."""
    return {name: _definition(cue) for name, cue in own.items()}


def _definition(cue: Cue) -> dict[str, Any]:
    values: dict[str, Any] = {
        "labels": list(cue.labels),
        "ordinal": cue.ordinal,
        "trait": cue.trait,
        "aliases": dict(cue.aliases),
        "names": dict(cue.names),
        "words": {tag: dict(words) for tag, words in cue.words.items()},
        "questions": dict(cue.questions),
        "guides": dict(cue.guides),
    }
    return {key: value for key, value in values.items() if value}


def stored_from(row: Any) -> Mapping[str, Cue]:
    """Return the cues of `stored_cues`; equal rows give the same object.

    Raises:
        BadData: a fault in a definition.
    """
    if not isinstance(row, Mapping):
        raise BadData(f"own_cues is {shorten(row)}, expected a mapping of definitions")
    return _read(json.dumps(row))


@lru_cache(maxsize=256)
def _read(text: str) -> Mapping[str, Cue]:
    row = json.loads(text)
    for name, value in row.items():
        for fault in definition_faults(name, value):
            raise BadData(f"own_cues: {fault}")
    return MappingProxyType({name: cue_from(name, value) for name, value in row.items()})
