"""A finding of `check task`: what one check found, for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SECTIONS", "STATES", "Finding", "FindingState", "Section"]

#: "fault": the check refuses the task. "review": people should look; refuses nothing. "cannot tell": too few
#: data, with what would be enough. "not checked": something that the check needs is absent.
FindingState = Literal["fault", "allowed", "review", "cannot tell", "not checked", "pass"]
STATES: tuple[FindingState, ...] = ("fault", "allowed", "review", "cannot tell", "not checked", "pass")
#: Parts of the report, in its order.
Section = Literal["leaks", "confounds", "duplicates", "audio", "labels", "wording", "design"]
SECTIONS: Mapping[Section, str] = {
    "leaks": "Leaks: the label without the voice",
    "confounds": "Confounds: other things that go with the label",
    "duplicates": "Near-duplicates",
    "audio": "Recordings",
    "labels": "Labels and words, by annotators",
    "wording": "Wording, for people to read",
    "design": "Design",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The finding of one check.

    Attributes:
        check: name of the check, such as "duration"; `--allow` takes it.
        section: part of the report.
        state: see `FindingState`.
        message: what was found, in one line.
        cue: cue that it concerns; None: none or all.
        remedy: what to do; empty if there is nothing to do.
        samples: sample id -> why people should look at it.
        details: further lines.
        numbers: plain values for programs.
    """

    check: str
    section: Section
    state: FindingState
    message: str
    cue: str | None = None
    remedy: str = ""
    samples: Mapping[str, str] = field(default_factory=dict)
    details: tuple[str, ...] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)
