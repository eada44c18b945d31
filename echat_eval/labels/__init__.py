"""Cue labels of the benchmark, and the table that maps other spellings to them.

The shipped cues are data, `tasks/cues.yaml`, in the form in which a task.yaml defines its own; see
`echat_eval.labels.definition`. A sample has its task's own definitions with it (`Sample.own_cues`).
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from echat_eval.errors import BadData
from echat_eval.io.data_folder import data_folder
from echat_eval.io.strict_yaml import read_yaml
from echat_eval.labels.definition import UNKNOWN, cue_from, definition_faults, folded, spellings_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from echat_eval.records import Cue

__all__ = [
    "ALIASES",
    "CUES",
    "LABELS",
    "SHIPPED",
    "TRAITS",
    "UNKNOWN",
    "check_label",
    "check_labels",
    "cues_with",
    "gold_label",
    "is_right",
    "label_of",
    "labels_of_tags",
    "only_traits",
    "split_tags",
    "to_label",
]


def _shipped() -> dict[str, Cue]:
    path = data_folder("tasks") / "cues.yaml"
    content = read_yaml(path).content
    for name, value in content.items():
        for fault in definition_faults(name, value):
            raise BadData(f"{path}: {fault}; reinstall echat-eval")
    return {name: cue_from(name, value) for name, value in content.items()}


#: Name -> shipped cue, in the order of tables.
SHIPPED: Mapping[str, Cue] = MappingProxyType(_shipped())
#: Cue name -> labels, in the order of tables.
LABELS: Mapping[str, tuple[str, ...]] = MappingProxyType({name: cue.labels for name, cue in SHIPPED.items()})
CUES: tuple[str, ...] = tuple(SHIPPED)
#: Cues that say who speaks. A reply that suits them may stereotype, so that more is not better.
TRAITS: tuple[str, ...] = tuple(name for name, cue in SHIPPED.items() if cue.trait)
#: Cue name -> other spelling (lower case, without <> and <||>) -> label.
ALIASES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {name: cue.aliases for name, cue in SHIPPED.items()}
)


def cues_with(own: Mapping[str, Cue] | None) -> Mapping[str, Cue]:
    """Return name -> cue: the shipped cues, and a task's own definitions in their place or after them.

    >>> list(cues_with(None))
    ['emotion', 'age', 'gender', 'event']
    """
    return {**SHIPPED, **own} if own else SHIPPED


def label_of(cue: Cue, spelling: str) -> str | None:
    """Return the label that a spelling names, "unknown" for an undecided instrument; None: it names none.

    >>> label_of(SHIPPED["emotion"], "<ANGRY>"), label_of(SHIPPED["age"], "dragon")
    ('anger', None)
    """
    plain = folded(spelling)
    return plain if plain in cue.labels else spellings_of(cue).get(plain)


def to_label(cue: str, spelling: str) -> str | None:
    """Return the benchmark's label for another spelling, or None if it is not in the table.

    >>> to_label("emotion", "<ANGRY>"), to_label("event", "<|Laughter|>"), to_label("age", "dragon")
    ('anger', 'laugh', None)
    """
    return label_of(SHIPPED[cue], spelling)


#: A tag of a recogniser or a token of a chat template, such as <|HAPPY|>, <|en|> or <|im_end|>.
_TAG = re.compile(r"<[|｜]\s*([^|｜<>]*?)\s*[|｜]>")


def split_tags(text: str) -> tuple[str, list[str]]:
    """Return a text without tags of the form <|...|>, and the names of the tags.

    >>> split_tags("<|en|><|SAD|><|Speech|><|woitn|>so sorry")
    ('so sorry', ['en', 'SAD', 'Speech', 'woitn'])
    """
    tags = _TAG.findall(text)
    return (_TAG.sub("", text).strip() if tags else text), tags


def labels_of_tags(tags: Iterable[str], own: Mapping[str, Cue] | None = None) -> dict[str, str]:
    """Return cue -> label of the tags that name a label of exactly one cue; the first tag of a cue counts.

    Args:
        tags: names of the tags.
        own: cues of the task's own.

    >>> labels_of_tags(["zh", "HAPPY", "Speech", "Laughter", "withitn"])
    {'emotion': 'happy', 'event': 'laugh'}
    """
    found: dict[str, str] = {}
    for tag in tags:
        if tag.lower() == "nospeech":  # no speech was recognised, which is no sound event
            continue
        named = [
            (name, label)
            for name, cue in cues_with(own).items()
            if (label := label_of(cue, tag)) and label != UNKNOWN
        ]
        if len(named) == 1:
            found.setdefault(*named[0])
    return found


def is_right(gold: str, named: str | None) -> bool:
    """Return whether a named label is the gold label.

    A reply that names no label (None or "unknown") is wrong, in every recall, accuracy and confusion.

    >>> is_right("sad", "sad"), is_right("sad", "happy"), is_right("sad", None), is_right("sad", UNKNOWN)
    (True, False, False, False)
    """
    return named is not None and named != UNKNOWN and named == gold


def gold_label(cues: Mapping[str, str], asks: str | None) -> str | None:
    """Return the gold label of a sample that macro means average over.

    It is the label of the cue that the sample asks about, else of its only cue; None if it has several.

    >>> gold_label({"age": "old", "emotion": "sad"}, "age"), gold_label({"emotion": "sad"}, None)
    ('old', 'sad')
    >>> gold_label({"age": "old", "emotion": "sad"}, None) is None
    True
    """
    if asks is not None and asks in cues:
        return cues[asks]
    return next(iter(cues.values())) if len(cues) == 1 else None


def only_traits(cues: Iterable[str], own: Mapping[str, Cue] | None = None) -> bool:
    """Return whether all cues of a sample say who speaks.

    Args:
        cues: names.
        own: cues of the task's own.

    >>> only_traits(["age"]), only_traits(["age", "gender"]), only_traits(["age", "emotion"]), only_traits([])
    (True, True, False, False)
    """
    found, known = set(cues), cues_with(own)
    return bool(found) and all(cue in known and known[cue].trait for cue in found)


def check_label(cue: str, label: str, own: Mapping[str, Cue] | None = None) -> None:
    """Raise BadData unless `label` is one of the cue's labels in its own spelling.

    >>> check_label("emotion", "angry")
    Traceback (most recent call last):
    echat_eval.errors.BadData: emotion 'angry' is an alias; write 'anger'
    """
    known = cues_with(own)
    if cue not in known:
        raise BadData(f"unknown cue '{cue}'; cues are {', '.join(known)}")
    if label in known[cue].labels:
        return
    alias = label_of(known[cue], label)
    if alias and alias != UNKNOWN:
        raise BadData(f"{cue} '{label}' is an alias; write '{alias}'")
    raise BadData(f"unknown {cue} '{label}'; labels are {', '.join(known[cue].labels)}")


def check_labels(labels: Mapping[str, str], location: str) -> None:
    """Raise BadData, starting with the location, unless every cue and label is valid."""
    for cue, label in labels.items():
        try:
            check_label(cue, label)
        except BadData as error:
            raise BadData(f"{location}: {error}") from error
