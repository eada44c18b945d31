"""Decisions of people about the samples of a task: accept, relabel, reject."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from echat_eval.errors import BadData
from echat_eval.io.schema import ANYTHING, TEXT, Schema, list_of
from echat_eval.report.rating.collect import read_object
from echat_eval.report.rating.review import CANNOT_TELL, KEEP, REJECTIONS, USE, labels_of

if TYPE_CHECKING:
    from pathlib import Path

    from echat_eval.records import Sample
    from echat_eval.task import Task

__all__ = ["Decision", "Review", "is_review", "read_review"]

_FILE = Schema({"review": TEXT, "task": TEXT, "task_sha256": TEXT, "items": ANYTHING}, closed=False)
_ANSWERS = Schema({"rater": TEXT, "sheet": TEXT, "ratings": list_of(ANYTHING, "a list")}, closed=False)
_ANSWER = Schema({"item": TEXT, "dimension": TEXT, "value": TEXT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The decision of people on one sample.

    Attributes:
        outcome: "accept": their label is the intended one.
        cues: the cues that are labelled anew.
        reason: of a rejected sample.
        raters: number of people who answered.
    """

    outcome: Literal["accept", "relabel", "reject"]
    cues: Mapping[str, str]
    reason: str
    raters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """All decisions.

    Attributes:
        decisions: sample id -> decision; samples that were not answered have none.
        agreeing: cue -> (answers that are the intended label, all answers).
    """

    decisions: Mapping[str, Decision]
    agreeing: Mapping[str, tuple[int, int]]


def is_review(key: Path) -> bool:
    """Return whether a key is that of a review sheet.

    Raises:
        BadData: no key at all.
    """
    return "review" in read_object(key)


def read_review(key: Path, files: Sequence[Path], task: Task) -> Review:
    """Return what people decided about the samples of a task.

    A sample is rejected if more than half of those who answered reject it, or if no label has more than half
    of the answers to a cue.

    Args:
        key: the sheet's key.
        files: one of each rater.
        task: the task that was reviewed.

    Raises:
        BadData: a file of another form or sheet, two files of one rater, or the task has changed.
    """
    facts = read_object(key)
    _FILE.check(facts, str(key))
    if facts["task_sha256"] != task.sha256:
        raise BadData(
            f"{key}: the sheet was made of another state of task '{facts['task']}' (sha256 "
            f"{facts['task_sha256'][:12]}…, now {task.sha256[:12]}…); name the folder that was reviewed"
        )
    samples = {sample.id: sample for sample in task.samples}
    items: Mapping[str, str] = facts["items"]
    labels = labels_of(task.samples)
    given: dict[str, dict[str, list[str]]] = {}
    raters: dict[str, Path] = {}
    for path in files:
        answers = read_object(path)
        _ANSWERS.check(answers, str(path))
        if answers["sheet"] != facts["review"]:
            raise BadData(f"{path}: answers another sheet than the one of {key}")
        if (rater := answers["rater"]) in raters:
            raise BadData(f"{path}: rater '{rater}' also answers in {raters[rater]}; give one file per rater")
        raters[rater] = path
        for number, row in enumerate(answers["ratings"], 1):
            sample = _sample(f"{path}: answer {number}", row, items, samples, labels, task.cues)
            given.setdefault(sample.id, {}).setdefault(row["dimension"], []).append(row["value"])
    decisions = {ident: _decision(samples[ident], found) for ident, found in given.items()}
    counts = {
        cue: [
            value == samples[ident].cues[cue]
            for ident, found in given.items()
            for value in found.get(cue, ())
        ]
        for cue in task.cues
    }
    return Review(
        decisions=decisions,
        agreeing={cue: (sum(found), len(found)) for cue, found in counts.items() if found},
    )


def _sample(
    place: str,
    row: Any,
    items: Mapping[str, str],
    samples: Mapping[str, Sample],
    labels: Mapping[str, Sequence[str]],
    cues: Sequence[str],
) -> Sample:
    """Return the sample that an answer is about; raise BadData if the answer is none of the sheet."""
    _ANSWER.check(row, place)
    item, dimension, value = row["item"], row["dimension"], row["value"]
    if item not in items or items[item] not in samples:
        raise BadData(f"{place}: the sheet has no question {item[:40]!r}")
    sample = samples[items[item]]
    if dimension == USE:
        allowed: Sequence[str] = (KEEP, *REJECTIONS)
    elif dimension in cues and dimension in sample.cues:
        allowed = (*labels[dimension], CANNOT_TELL)
    else:
        raise BadData(f"{place}: {dimension[:40]!r} is no question about this sample")
    if value not in allowed:
        raise BadData(f"{place}: {dimension} is {value[:40]!r}, expected {', '.join(allowed)}")
    return sample


def _decision(sample: Sample, given: Mapping[str, Sequence[str]]) -> Decision:
    raters = max(map(len, given.values()))
    uses = Counter(given.get(USE, ()))
    if 2 * (uses.total() - uses[KEEP]) > uses.total():
        worst = max(REJECTIONS, key=lambda answer: uses[answer])
        return Decision(outcome="reject", cues={}, reason=REJECTIONS[worst], raters=raters)
    changed = {}
    for cue, values in given.items():
        if cue == USE:
            continue
        label, count = Counter(values).most_common(1)[0]
        if 2 * count <= len(values):
            return Decision(
                outcome="reject", cues={}, reason=f"people: no majority on the {cue}", raters=raters
            )
        if label == CANNOT_TELL:
            return Decision(outcome="reject", cues={}, reason=f"people: cannot tell the {cue}", raters=raters)
        if label != sample.cues[cue]:
            changed[cue] = label
    return Decision(outcome="relabel" if changed else "accept", cues=changed, reason="", raters=raters)
