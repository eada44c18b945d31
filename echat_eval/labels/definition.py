"""Definitions of cues: the form that the shipped cues and those of a task.yaml have, checked completely."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from echat_eval.io.schema import Rule, Schema, is_text, shorten
from echat_eval.languages import TAG_EXPECTED, language_tag
from echat_eval.records import Cue

__all__ = ["RESERVED", "UNKNOWN", "cue_from", "definition_faults", "folded", "spellings_of"]

#: Label of an undecided instrument; never a gold label.
UNKNOWN = "unknown"
#: Names that mean something else: questions, columns of tables and of imports, parts of prompts.
RESERVED = frozenset(
    f"{UNKNOWN} transcript all cue cues label labels voice id audio language source speaker references "
    "history note task system metric match".split()
)
MAX_LABEL_CHARACTERS = 60
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_LABEL = re.compile(r"[^,<>|\n]+")

_FLAG = Rule(lambda v: isinstance(v, bool), "true or false", required=False)
_MAPPING = Rule(lambda v: isinstance(v, Mapping), "a mapping", required=False)
_FORM = Schema(
    {
        "labels": Rule(lambda v: isinstance(v, list), "a list of labels", required=False),
        "ordinal": _FLAG,
        "trait": _FLAG,
        "aliases": _MAPPING,
        "names": _MAPPING,
        "words": _MAPPING,
        "questions": _MAPPING,
        "guides": _MAPPING,
    }
)
#: Keys that give the wording in a language.
_BY_LANGUAGE = ("names", "words", "questions", "guides")
#: Keys that a definition which adds to a shipped cue must leave out.
_FIXED = ("labels", "ordinal", "trait")


def folded(spelling: str) -> str:
    """Return a spelling as labels are compared: lower case, without outer spaces and brackets of tags.

    >>> folded(" <|ANGRY|> ")
    'angry'
    """
    return spelling.strip().strip("<>|").strip().lower()


def spellings_of(cue: Cue) -> dict[str, str]:
    """Return every spelling of a cue's labels, in lower case -> label: labels, aliases and words."""
    words = {folded(word): label for by_label in cue.words.values() for label, word in by_label.items()}
    return {**words, **cue.aliases, **{label: label for label in cue.labels}}


def definition_faults(name: str, value: Any, shipped: Cue | None = None) -> Iterator[str]:
    """Yield every fault of the definition of a cue.

    Args:
        name: of the cue.
        value: what the file has under it; None: nothing.
        shipped: the shipped cue with that name, to which a definition may only add wording and aliases.
    """
    if shipped is None and not _NAME.fullmatch(name):
        yield f"cue {shorten(name)}: expected lower-case letters, digits, '-' and '_', at most 32"
    if shipped is None and name in RESERVED:
        yield f"cue '{name}' has a reserved name; choose another, such as my-{name}"
    if value is None and shipped is not None:
        return
    if not isinstance(value, Mapping):
        yield f"cue '{name}' has no labels; expected {name}: {{labels: [one, another]}}"
        return
    form = [message for _, message in _FORM.faults(value)]
    yield from (f"cue '{name}': {message}" for message in form)
    if form:
        return
    if shipped is not None and (fixed := [key for key in _FIXED if value.get(key) is not None]):
        yield f"cue '{name}' is a shipped one, so its {fixed[0]} cannot change; choose another name"
        return
    labels = list(shipped.labels) if shipped is not None else value.get("labels")
    if shipped is None:
        found = list(_label_faults(labels, ordinal=bool(value.get("ordinal"))))
        yield from (f"cue '{name}': {message}" for message in found)
        if found:
            return
    assert labels is not None
    yield from (f"cue '{name}': {message}" for message in _wording_faults(labels, value, shipped))


def _label_faults(labels: list[Any] | None, *, ordinal: bool) -> Iterator[str]:
    if not labels:
        yield "no labels; expected a list such as labels: [sincere, sarcastic]"
        return
    for label in labels:
        if not is_text(label):
            yield f"label {shorten(label)} is no text; write it in quotes"
        elif len(label) > MAX_LABEL_CHARACTERS or not label.isprintable() or not _LABEL.fullmatch(label):
            yield (
                f"label {shorten(label)}: expected at most {MAX_LABEL_CHARACTERS} printable characters, "
                "without , < > |"
            )
        elif label != folded(label):
            yield f"label {shorten(label)}: write {shorten(folded(label))}"
        elif label in (UNKNOWN, "all"):
            yield f"label '{label}' has another meaning here; choose another word"
    texts = [label for label in labels if isinstance(label, str)]
    if twice := [label for number, label in enumerate(texts) if label in texts[:number]]:
        yield f"label '{twice[0]}' twice"
    if len(labels) == 1:
        what = "an ordinal cue has steps" if ordinal else "with one label, every voice is the same"
        yield f"one label, '{labels[0]}'; expected at least two: {what}"


def _wording_faults(labels: list[str], value: Mapping[str, Any], shipped: Cue | None) -> Iterator[str]:
    """Yield the faults of aliases and of the wording in languages."""
    taken = spellings_of(shipped) if shipped is not None else {label: label for label in labels}
    for alias, label in (value.get("aliases") or {}).items():
        yield from _spelling_faults("alias", alias, label, [*labels, UNKNOWN], taken)
    for key in _BY_LANGUAGE:
        for tag, wording in (value.get(key) or {}).items():
            if language_tag(tag) is None:
                yield f"{key}: {shorten(tag)} is no language, expected {TAG_EXPECTED}"
            elif key != "words":
                if not is_text(wording):
                    yield f"{key} in {tag}: {shorten(wording)}, expected a text"
            elif not isinstance(wording, Mapping):
                yield f"words in {tag}: {shorten(wording)}, expected label: word"
            else:
                for label, word in wording.items():
                    yield from _spelling_faults(f"words in {tag}:", word, label, labels, taken)


def _spelling_faults(
    kind: str, spelling: Any, label: Any, labels: list[str], taken: dict[str, str]
) -> Iterator[str]:
    """Yield the faults of one spelling of a label, and note it as taken."""
    if label not in labels:
        yield f"{kind} {shorten(spelling)} is of {shorten(label)}, which is none of {', '.join(labels)}"
    elif not is_text(spelling) or not folded(spelling):
        yield f"{kind} {shorten(spelling)} of '{label}' is no text; write it in quotes"
    elif (other := taken.setdefault(folded(spelling), label)) != label:
        yield f"{kind} '{folded(spelling)}' stands for '{other}' and for '{label}'"
    elif kind == "alias" and folded(spelling) == label != UNKNOWN:
        yield f"{kind} '{spelling}' is the label itself; leave it out"


def cue_from(name: str, value: Mapping[str, Any] | None, shipped: Cue | None = None) -> Cue:
    """Return the cue of a definition without faults; see `definition_faults`."""
    given = value or {}
    cue = shipped or Cue(
        name=name,
        labels=tuple(given["labels"]),
        ordinal=bool(given.get("ordinal")),
        trait=bool(given.get("trait")),
    )
    aliases = {folded(alias): label for alias, label in (given.get("aliases") or {}).items()}
    return replace(
        cue,
        aliases={**cue.aliases, **aliases},
        names={**cue.names, **_by_language(given, "names")},
        words={**cue.words, **_by_language(given, "words")},
        questions={**cue.questions, **_by_language(given, "questions")},
        guides={**cue.guides, **_by_language(given, "guides")},
    )


def _by_language(given: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {str(language_tag(tag)): wording for tag, wording in (given.get(key) or {}).items()}
