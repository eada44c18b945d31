"""Repeats: several replies of one system to one sample, and the one row per sample that tables read.

The first reply has the sample's own id, so a run without repeats has the rows that it always had. A later
one has an id of its own, which no sample of a task can have, and in files the field `repeat`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Any, TypeVar

from echat_eval.records import Annotation, JudgeEvidence, Response, Score

if TYPE_CHECKING:
    from echat_eval.records import Sample

__all__ = [
    "averaged_scores",
    "first_replies",
    "join_repeat",
    "repeated",
    "repeats_in",
    "split_repeat",
    "worst_responses",
]

#: Not printable, so no id of a sample holds it.
_SEPARATOR = "\x1f"

Row = TypeVar("Row", Response, Annotation, Score)


def join_repeat(sample_id: str, number: int) -> str:
    """Return the id of a repeat, numbered from 1."""
    return sample_id if number == 1 else f"{sample_id}{_SEPARATOR}{number}"


def split_repeat(sample_id: str) -> tuple[str, int]:
    """Return the id of the sample and the number of the repeat.

    >>> split_repeat("a"), split_repeat(join_repeat("a", 3))
    (('a', 1), ('a', 3))
    """
    name, _, number = sample_id.partition(_SEPARATOR)
    return name, int(number or 1)


def repeated(sample: Sample, number: int) -> Sample:
    """Return a sample as its repeat: with an id of its own, in a contrast group of its own."""
    if number == 1:
        return sample
    group = sample.contrast_group
    return replace(
        sample,
        id=join_repeat(sample.id, number),
        contrast_group=None if group is None else join_repeat(group, number),
    )


def repeats_in(idents: Iterable[tuple[str, ...]]) -> dict[str, int]:
    """Return the largest number of a repeat per system, of identities (system, task, sample id, ...)."""
    found: dict[str, int] = {}
    for system, _, sample_id, *_ in idents:
        found[system] = max(found.get(system, 1), split_repeat(sample_id)[1])
    return found


def first_replies(rows: Mapping[Any, Row]) -> dict[Any, Row]:
    """Return the rows of first replies."""
    return {ident: row for ident, row in rows.items() if _SEPARATOR not in ident[2]}


def worst_responses(rows: Mapping[Any, Response]) -> dict[Any, Response]:
    """Return one response per system and sample: the first, unless a later one is missing or failed.

    A system that fails now and then does not pass as one that never does.
    """
    kept = first_replies(rows)
    for (system, task, sample_id), row in rows.items():
        name, number = split_repeat(sample_id)
        ident = system, task, name
        if number > 1 and ident in kept and _badness(row.state) > _badness(kept[ident].state):
            kept[ident] = replace(row, sample_id=name)
    return kept


def averaged_scores(rows: Mapping[Any, Score]) -> dict[Any, Score]:
    """Return one score per system, sample and metric: the mean over the repeats, weighted as a ratio.

    It is missing if a repeat is, and failed if one failed; the failure's value is then in the mean.
    """
    if not any(_SEPARATOR in ident[2] for ident in rows):
        return dict(rows)
    groups: dict[Any, list[Score]] = {}
    for (system, task, sample_id, metric), row in rows.items():
        groups.setdefault((system, task, split_repeat(sample_id)[0], metric), []).append(row)
    return {
        ident: members[0] if len(members) == 1 else _averaged(members, ident[2])
        for ident, members in groups.items()
    }


def _averaged(rows: list[Score], sample_id: str) -> Score:
    worst = max(rows, key=lambda row: _badness(row.state))
    if worst.state == "missing":
        return replace(worst, sample_id=sample_id)
    valued = [row for row in rows if row.value is not None and row.state in ("value", "failed")]
    if not valued:
        return replace(worst, sample_id=sample_id)
    total = sum(row.weight for row in valued)
    value = (
        sum(row.value * row.weight for row in valued if row.value is not None) / total
        if total
        else fmean(row.value for row in valued if row.value is not None)
    )
    weight = total / len(valued)
    return replace(worst, sample_id=sample_id, value=value, weight=weight, evidence=_evidence(worst, rows))


def _evidence(worst: Score, rows: list[Score]) -> Mapping[str, Any] | JudgeEvidence:
    """Return the evidence of the worst repeat, and beside it that of all repeats, unless it is a judge's."""
    if isinstance(worst.evidence, JudgeEvidence):
        return worst.evidence
    found = [
        {"state": row.state, **row.evidence} for row in rows if not isinstance(row.evidence, JudgeEvidence)
    ]
    return {**worst.evidence, "repeats": found}


def _badness(state: str) -> int:
    """Return the order in which one state of a repeat hides others."""
    return ("not applicable", "value", "failed", "missing").index(state)
