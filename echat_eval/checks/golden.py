"""Check of a judge against golden replies: hand-made replies with bands of acceptable grades."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from statistics import fmean
from typing import TYPE_CHECKING, Any

from echat_eval.errors import Unavailable, UnknownName
from echat_eval.io.data_folder import data_folder
from echat_eval.io.schema import (
    STRING,
    TEXT,
    Rule,
    Schema,
    is_number,
    is_whole,
    mapping_of,
    read_schema_rows,
)
from echat_eval.judge import JudgeClient, Question, judge_names, text_score
from echat_eval.labels import check_labels

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["GoldenOutcome", "GoldenReply", "golden_replies", "grade_golden"]

_ROW = Schema(
    {
        "id": TEXT,
        "kind": TEXT,
        "task": TEXT,
        "language": TEXT,
        "transcript": TEXT,
        "cues": mapping_of(STRING, "an object of cue: label"),
        "reply": STRING,
        "band": Rule(lambda v: _is_range(v, is_number), "low and high within 0 to 100"),
        "grades": mapping_of(
            Rule(lambda v: _is_range(v, is_whole), ""), "an object of dimension: [lowest, highest grade]"
        ),
    }
)


def _is_range(value: Any, is_kind: Callable[..., bool]) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and is_kind(value[0], low=0)
        and is_kind(value[1], low=value[0], high=100)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenReply:
    """A reply with agreed bands of grades.

    Attributes:
        kind: good, cue-blind, cold, off-topic, over-acted, parroting, stereotyped, empty, wrong language.
        band: lowest and highest acceptable text score.
        grades: dimension -> lowest and highest acceptable grade.
    """

    id: str
    kind: str
    question: Question
    band: tuple[float, float]
    grades: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenOutcome:
    """A judge's result on one golden reply.

    Attributes:
        points: the text score; None if the verdict is missing.
        faults: the scores and grades outside their bands; for a missing verdict, the reason.
    """

    reply: GoldenReply
    points: float | None
    faults: tuple[str, ...]


@cache
def golden_replies(rubric: str) -> tuple[GoldenReply, ...]:
    """Return the golden set of a shipped judge, with every row validated."""
    if rubric not in judge_names():
        raise UnknownName("judge", rubric, judge_names())
    path = data_folder("judges") / rubric / "golden.jsonl"
    return tuple(_golden(path, line, row) for line, row in read_schema_rows(path, _ROW))


def _golden(path: Path, line: int, row: Mapping[str, Any]) -> GoldenReply:
    check_labels(row["cues"], f"{path}:{line}")
    return GoldenReply(
        id=row["id"],
        kind=row["kind"],
        question=Question(
            task=row["task"],
            language=row["language"],
            transcript=row["transcript"],
            cues=row["cues"],
            reply=row["reply"],
        ),
        band=(row["band"][0], row["band"][1]),
        grades={name: (bounds[0], bounds[1]) for name, bounds in row["grades"].items()},
    )


def grade_golden(
    judge_client: JudgeClient,
    replies: Sequence[GoldenReply],
    *,
    repeats: int = 1,
    at_once: int = 4,
    on_result: Callable[[], None] = lambda: None,
) -> list[GoldenOutcome]:
    """Return the judge's result on every golden reply, in order; call `on_result` after each."""

    def outcome_of(reply: GoldenReply) -> GoldenOutcome:
        outcome = _outcome(judge_client, reply, repeats)
        on_result()
        return outcome

    with ThreadPoolExecutor(max_workers=at_once) as pool:
        return list(pool.map(outcome_of, replies))


def _outcome(judge_client: JudgeClient, reply: GoldenReply, repeats: int) -> GoldenOutcome:
    try:
        verdicts = [judge_client.rule(reply.question, repeat=n).verdict for n in range(repeats)]
    except Unavailable as error:
        return GoldenOutcome(reply=reply, points=None, faults=(str(error),))
    points = fmean(text_score(judge_client.judge, v.grades, reply.question.task) for v in verdicts)
    grades = {name: fmean(v.grades[name] for v in verdicts) for name in reply.grades}
    faults = list(_outside("score", points, reply.band))
    for name, bounds in reply.grades.items():
        faults += _outside(name, grades[name], bounds)
    return GoldenOutcome(reply=reply, points=points, faults=tuple(faults))


def _outside(name: str, value: float, bounds: tuple[float, float]) -> Iterable[str]:
    if not bounds[0] <= value <= bounds[1]:
        yield f"{name} is {value:g}, expected {bounds[0]:g} to {bounds[1]:g}"
