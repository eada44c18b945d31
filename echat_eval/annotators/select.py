"""Selection of the annotators of a run: objects, names and settings become annotators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from echat_eval.annotators import ANNOTATORS
from echat_eval.errors import NotInstalled
from echat_eval.plugins import (
    DEFAULTS,
    PartSpec,
    build_part,
    parse_parts,
    parse_setting,
    renamed,
    require_different_names,
    require_members,
    split_spec,
)
from echat_eval.ports import Annotator, licence_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DEFAULT_ANNOTATORS", "select_annotators"]

#: One whose package is not installed is left out.
DEFAULT_ANNOTATORS = ("whisper", "acoustics")


def select_annotators(given: Any, note: Callable[[str], None]) -> list[Annotator]:
    """Return the annotators that a caller describes.

    Args:
        given: an object with the `Annotator` protocol; `name` or `my.py:Class`, with settings as in
            `name:key=value,key=value`; a mapping `{"use": name, setting: value}`; a list of these; or a
            mapping of names to these. `"defaults"` in a list, or None, stands for `DEFAULT_ANNOTATORS`.
        note: called with the reason why a default annotator is left out, and with licences to observe.

    Raises:
        UnknownName: no annotator or setting has this name.
        UsageError: an object that is no annotator, a wrong setting, or two annotators with the same name.
        NotInstalled: an annotator that is not left out needs a package.
    """
    specs = parse_parts("annotator", DEFAULTS if given is None else given)
    made: list[Annotator] = []
    for spec in specs:
        if spec.part != DEFAULTS:
            made.append(_annotator(spec))
    if any(spec.part == DEFAULTS for spec in specs):
        named = {annotator.name for annotator in made}
        made = [*_defaults(named, note), *made]
    require_different_names("annotator", made)
    for annotator in made:
        if licence := licence_of(annotator):
            note(f"annotator '{annotator.name}' has the licence {licence}")
    return made


def _defaults(named: set[str], note: Callable[[str], None]) -> list[Annotator]:
    """Return the default annotators that are installed, except those in `named`."""
    made = []
    for name in DEFAULT_ANNOTATORS:
        if name not in named:
            try:
                made.append(_annotator(PartSpec(name=None, part=name)))
            except NotInstalled as error:
                note(f"annotator '{name}' is left out: {error}")
    return made


def _annotator(spec: PartSpec) -> Annotator:
    part = spec.part
    if isinstance(part, str):
        name, assignments = split_spec(part)
        settings = dict(parse_setting(text) for text in assignments.split(",") if text)
        part = build_part("annotator", name, ANNOTATORS, {**spec.settings, **settings})
    part = part if spec.name is None else renamed("annotator", part, spec.name)
    require_members("annotator", part, Annotator)
    part.fingerprint()  # raises NotInstalled before anything is sent
    annotator: Annotator = part
    return annotator
