"""All checks of a task's content, from its samples to a list of findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from echat_eval.checks.task_audio import measure
from echat_eval.checks.task_confounds import cue_findings
from echat_eval.checks.task_data import TaskData
from echat_eval.checks.task_design import MARGIN, SD, design_findings
from echat_eval.checks.task_duplicates import (
    alike_recordings,
    alike_words,
    duplicate_findings,
    linked_pairs,
)
from echat_eval.checks.task_labels import annotator_findings
from echat_eval.checks.task_names import name_findings
from echat_eval.checks.task_recordings import recording_findings
from echat_eval.checks.task_split import split_findings
from echat_eval.checks.task_wording import wording_findings
from echat_eval.errors import UsageError, did_you_mean
from echat_eval.ports import Silent
from echat_eval.task.faults import FaultList
from echat_eval.task.folder import read_contents

if TYPE_CHECKING:
    from echat_eval.checks.task_audio import Recording
    from echat_eval.checks.task_finding import Finding
    from echat_eval.ports import Annotator, Progress
    from echat_eval.records import Sample

__all__ = ["CHECKS", "TaskCheck", "check_folder"]

#: Names of all checks, beside the names of cues and annotators, which are checks too.
CHECKS = (
    "words",
    "embedding",
    "duration",
    "silence-before",
    "silence-after",
    "dc-offset",
    "size",
    "format",
    "order",
    "speaker",
    "source",
    "language",
    "level",
    "peak",
    "similar-words",
    "same-sound",
    "clipping",
    "silence",
    "far-level",
    "words-spoken",
    "intended-label",
    "quality",
    "named-in-names",
    "named-in-words",
    "unseen-characters",
    "named-label",
    "equal-references",
    "phrases",
    "design",
    "margin",
    "split",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCheck:
    """The findings about one task.

    Attributes:
        name, version, sha256: of the task.
        folder: its folder.
        cues: names of its cues.
        samples: its samples.
        recordings: measures of the recordings, in the order of the samples.
        findings: of all checks, in the order of the report.
    """

    name: str
    version: int
    sha256: str
    folder: Path
    cues: tuple[str, ...]
    samples: tuple[Sample, ...]
    recordings: tuple[Recording, ...]
    findings: tuple[Finding, ...]

    @property
    def refused(self) -> bool:
        """Return whether a check refuses the task."""
        return any(finding.state == "fault" for finding in self.findings)

    def counts(self) -> Counter[str]:
        """Return state -> number of findings."""
        return Counter(finding.state for finding in self.findings)


def check_folder(
    folder: Path,
    *,
    annotators: Sequence[Annotator] = (),
    embedding: bool = False,
    margin: float = MARGIN,
    sd: float = SD,
    allow: Collection[str] = (),
    progress: Progress | None = None,
) -> TaskCheck:
    """Return the findings about the content of a task folder whose form has no fault.

    Args:
        folder: the task's folder.
        annotators: of the recordings; their words and labels are compared with the rows.
        embedding: also predict labels from the sentence embedding.
        margin, sd: as in `design_findings`.
        allow: names of checks that refuse nothing.
        progress: receives the progress.

    Raises:
        BadData: a fault of form; `task.find_faults` lists all of them.
        UsageError: `allow` names no check.
    """
    progress = progress or Silent()
    contents = read_contents(folder, FaultList(keep_going=False), decode=False)
    assert contents is not None  # without keep_going every fault raises
    samples, cues = contents.samples, contents.cues
    _require_known(allow, [name for s in samples for name in s.cues] + [one.name for one in annotators])
    progress.stage("recordings", len(samples), 0)
    recordings: list[Recording] = []
    for sample in samples:
        recordings.append(measure(sample))
        progress.advance()
    similar = alike_words(samples)
    data = TaskData(samples, cues, linked_pairs(len(samples), similar) if similar else None)
    progress.stage("predicting labels", len(cues), 0)
    findings: list[Finding] = []
    for cue in cues:
        findings += cue_findings(data, cue, recordings, embedding=embedding)
        progress.advance()
    findings += duplicate_findings(samples, similar, alike_recordings(recordings))
    findings += recording_findings(samples, recordings)
    findings += annotator_findings(data, annotators, progress)
    findings += name_findings(data, folder)
    findings += wording_findings(data)
    findings += design_findings(data, margin=margin, sd=sd)
    findings += split_findings(folder, samples, contents.sha256, similar)
    return TaskCheck(
        name=contents.settings["name"],
        version=contents.settings["version"],
        sha256=contents.sha256,
        folder=folder,
        cues=cues,
        samples=samples,
        recordings=tuple(recordings),
        findings=tuple(_allowed(findings, allow)),
    )


def _require_known(allow: Collection[str], others: Sequence[str]) -> None:
    known = dict.fromkeys([*CHECKS, *others])
    if unknown := [check for check in allow if check not in known]:
        names = ", ".join(known)
        raise UsageError(
            f"--allow {unknown[0]}: no such check.{did_you_mean(unknown[0], known)} Checks: {names}"
        )


def _allowed(findings: Sequence[Finding], allow: Collection[str]) -> list[Finding]:
    return [
        replace(finding, state="allowed") if finding.state == "fault" and finding.check in allow else finding
        for finding in findings
    ]
