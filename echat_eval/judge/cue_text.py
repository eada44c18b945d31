"""Cues of a task's own in a judge's prompt: how their labels are worded, and the guides to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from echat_eval.languages import lookup

if TYPE_CHECKING:
    from echat_eval.records import Cue

__all__ = ["guide_of", "label_text"]

#: Language of a prompt -> guide to a cue whose definition has none.
_GUIDES = {
    "en": "a reply meets it if its words suit somebody who sounds like the label, and would not suit "
    "{others}.",
    "zh": "回复所说的内容适合听起来如此的人,而不适合{others},才算贴合。",
}
_OTHERS = {"en": "the other labels ({labels})", "zh": "其他标签({labels})"}
_SCALE = {"en": " The labels are a scale, from the least to the most.", "zh": "这些标签由弱到强排列。"}


def label_text(name: str, label: str, own: Mapping[str, Cue] | None, language: str) -> str:
    """Return a cue and its label as a prompt in a language shows them.

    >>> label_text("emotion", "sad", None, "zh")
    'emotion: sad'
    """
    cue = (own or {}).get(name)
    words = cue.words.get(lookup(language, cue.words) or "", {}) if cue is not None else {}
    return f"{name}: {words.get(label, label)}"


def guide_of(cue: Cue, language: str) -> str:
    """Return the guide to a cue in a prompt's language: the definition's, else one made of its labels."""
    tag = lookup(language, cue.guides) or lookup("en", cue.guides)
    if tag is not None:
        return f"- {cue.name}: {cue.guides[tag].strip()}"
    made = "zh" if language.startswith("zh") else "en"
    words = cue.words.get(lookup(language, cue.words) or "", {})
    labels = ", ".join(words.get(label, label) for label in cue.labels)
    text = _GUIDES[made].format(others=_OTHERS[made].format(labels=labels))
    return f"- {cue.name}: {text}{_SCALE[made] if cue.ordinal else ''}"
