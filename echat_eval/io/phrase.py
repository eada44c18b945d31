"""Texts that remember their template, so that the page can print them in another language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Phrase", "joined", "phrase", "phrase_json"]


class Phrase(str):
    """An English text with the template and the values that it was made of.

    Attributes:
        template: as in `str.format`; the key of its translation.
        values: name -> text, which may be a phrase.
    """

    template: str
    values: dict[str, str]


def phrase(template: str, **values: str) -> Phrase:
    """Return a text made of a template.

    >>> phrase("{name}: no interval", name="mine")
    'mine: no interval'
    """
    found = Phrase(template.format(**values))
    found.template, found.values = template, values
    return found


def joined(separator: str, parts: Iterable[str]) -> Phrase:
    """Return texts with a separator between them, as one that can be translated part by part."""
    values = {f"p{number}": part for number, part in enumerate(parts)}
    return phrase(separator.join(f"{{{name}}}" for name in values), **values)


def phrase_json(text: str) -> str | dict[str, Any]:
    """Return a text as the page reads it: phrases as template and values."""
    if not isinstance(text, Phrase):
        return text
    return {"say": text.template, "with": {name: phrase_json(value) for name, value in text.values.items()}}
