"""Labels that can be read: in the words, in ids and in file names; and characters that are invisible."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.checks.task_finding import Finding
from echat_eval.io.display import unseen_characters
from echat_eval.scorers.understanding import words_that_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from echat_eval.checks.task_data import TaskData
    from echat_eval.checks.task_finding import Section
    from echat_eval.records import Sample

__all__ = ["name_findings"]


def name_findings(data: TaskData, folder: Path) -> list[Finding]:
    """Return the transcripts, ids and file names that name a label, and texts with unseen characters.

    Args:
        folder: of the task; folders above it are no part of a file's name.
    """
    said, named, unseen = {}, {}, {}
    for sample in data.samples:
        if found := _labels(data, sample, sample.transcript):
            said[sample.id] = f"{found} in {sample.transcript[:60]!r}"
        path = sample.audio.path
        file = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
        for kind, name in (("id", sample.id), ("file", file)):
            if found := _labels(data, sample, name):
                named[sample.id] = f"{found} in the {kind} {name}"
        for kind, text in (("transcript", sample.transcript), *(("reference", r) for r in sample.references)):
            if found := unseen_characters(text):
                unseen[sample.id] = f"{found} in a {kind}"
    return [
        _finding(
            "named-in-names",
            "leaks",
            named,
            f"{len(named)} of {len(data)} samples have an id or a file name with a label of their cue",
            "name samples and files by numbers or random letters",
        ),
        _finding(
            "named-in-words",
            "wording",
            said,
            f"{len(said)} of {len(data)} transcripts name a label of their cue",
            "read them: such words fit one voice and contradict the others",
        ),
        _finding(
            "unseen-characters",
            "wording",
            unseen,
            f"{len(unseen)} of {len(data)} samples have control or invisible characters in their texts",
            "remove them: they cannot be spoken",
        ),
    ]


def _labels(data: TaskData, sample: Sample, text: str) -> str:
    """Return the words of a text that name any label of the sample's cues of the task; "" if none do."""
    cues = [cue for cue in data.cues if cue in sample.cues]
    words = [word for cue in cues for word in words_that_name(data.known_cues[cue], text)]
    return ", ".join(f"'{word}'" for word in dict.fromkeys(words))


def _finding(check: str, section: Section, found: Mapping[str, str], message: str, remedy: str) -> Finding:
    return Finding(
        check=check,
        section=section,
        state="review" if found else "pass",
        message=message,
        remedy=remedy if found else "",
        samples=found,
    )
