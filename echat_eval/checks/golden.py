"""Check of a judge against golden replies: hand-made replies with bands of acceptable grades.

Bands alone can be met without reading: a judge that always gives 0 meets the band of every bad reply. So a
bad reply must also score below the good reply to the same question, by at least the gap between their
bands. A judge that meets both bands keeps this distance, so the rule adds nothing for it; a judge with one
score for all meets at most the bands of the good replies.

Verdicts of a judge that samples differ. With several verdicts a reply, the noise of their mean is estimated
over all replies, and a value outside its band by no more than this noise is no fault.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from statistics import fmean
from typing import TYPE_CHECKING, Any

from echat_eval.errors import JudgeFailure, Unavailable, UnknownName, UsageError
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
from echat_eval.judge import JudgeClient, Question, judge_names, load_judge, rubric_file, text_score
from echat_eval.labels import check_labels
from echat_eval.stats.quantiles import student_quantile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "GoldenOutcome",
    "GoldenReply",
    "GoldenVerdicts",
    "golden_outcomes",
    "golden_replies",
    "grade_golden",
    "noise",
]

#: Kind of the reply that the others to the same question are compared with.
GOOD = "good"
#: Questions that show whether the server answers at all.
FIRST = 3

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

    @property
    def subject(self) -> Hashable:
        """Return what the reply answers: transcript, language and cues."""
        return self.question.transcript, self.question.language, frozenset(self.question.cues.items())


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


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenVerdicts:
    """All values that a judge gave to one golden reply.

    Attributes:
        values: "score" and graded dimension -> one value per repeat; empty if the verdict is missing.
        reason: why it is missing.
        unreadable: the judge answered, and its answer is no verdict.
    """

    reply: GoldenReply
    values: Mapping[str, Sequence[float]]
    reason: str = ""
    unreadable: bool = False


def require_reading(rubric: str) -> None:
    """Raise UsageError for a judge that listens: the texts of these checks have no recordings."""
    if load_judge(rubric).listens:
        raise UsageError(
            f"rubric '{rubric}' is for a judge that listens, and golden replies and attacks are texts; "
            "test it with `check judge --listens`"
        )


@cache
def golden_replies(rubric: str) -> tuple[GoldenReply, ...]:
    """Return the golden set of a shipped judge, with every row validated."""
    if rubric not in judge_names():
        raise UnknownName("judge", rubric, judge_names())
    require_reading(rubric)
    path = rubric_file(rubric, "golden.jsonl")
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
) -> list[GoldenVerdicts]:
    """Return the judge's verdicts on every golden reply, in order; call `on_result` after each.

    Raises:
        Unavailable: the server answers none of the first questions.
    """

    def verdicts_of(reply: GoldenReply) -> GoldenVerdicts:
        found = _verdicts(judge_client, reply, repeats)
        on_result()
        return found

    with ThreadPoolExecutor(max_workers=at_once) as pool:
        found = list(pool.map(verdicts_of, replies[:FIRST]))
        dead = all(not one.values and not one.unreadable for one in found)
        reasons = {one.reason for one in found}
        if dead and len(found) == FIRST and len(reasons) == 1:
            raise Unavailable(
                f"{reasons.pop()}; the first {FIRST} questions got no answer, no others were sent"
            )
        return [*found, *pool.map(verdicts_of, replies[FIRST:])]


def _verdicts(judge_client: JudgeClient, reply: GoldenReply, repeats: int) -> GoldenVerdicts:
    try:
        verdicts = [judge_client.rule(reply.question, repeat=n).verdict for n in range(repeats)]
    except Unavailable as error:
        unreadable = isinstance(error, JudgeFailure)
        return GoldenVerdicts(reply=reply, values={}, reason=str(error), unreadable=unreadable)
    points = [text_score(judge_client.judge, v.grades, reply.question.task) for v in verdicts]
    grades = {name: [float(v.grades[name]) for v in verdicts] for name in reply.grades}
    return GoldenVerdicts(reply=reply, values={"score": points, **grades})


def golden_outcomes(verdicts: Sequence[GoldenVerdicts]) -> list[GoldenOutcome]:
    """Return which replies lie outside their bands by more than the judge's noise."""
    tolerance = noise(verdicts)
    good = {v.reply.subject: v for v in verdicts if v.reply.kind == GOOD and v.values}
    outcomes = []
    for found in verdicts:
        if not found.values:
            outcomes.append(GoldenOutcome(reply=found.reply, points=None, faults=(found.reason,)))
            continue
        means = {name: fmean(values) for name, values in found.values.items()}
        faults = [
            fault
            for name, bounds in {"score": found.reply.band, **found.reply.grades}.items()
            for fault in _outside(name, means[name], bounds, tolerance.get(name, 0.0))
        ]
        best = good.get(found.reply.subject)
        if best is not None and found.reply.kind != GOOD:
            faults += _too_close(means["score"], best, found.reply, tolerance.get("score", 0.0))
        outcomes.append(GoldenOutcome(reply=found.reply, points=means["score"], faults=tuple(faults)))
    return outcomes


def noise(verdicts: Sequence[GoldenVerdicts], *, level: float = 0.95) -> dict[str, float]:
    """Return "score" and dimension -> how far noise moves a reply's mean in 95 % of replies.

    The variance between verdicts on one reply is pooled over replies. One verdict a reply shows none: empty.
    """
    squares: dict[str, float] = {}
    freedom: dict[str, int] = {}
    repeats = 1
    for found in verdicts:
        for name, values in found.values.items():
            repeats = max(repeats, len(values))
            mean = fmean(values)
            squares[name] = squares.get(name, 0.0) + math.fsum((x - mean) ** 2 for x in values)
            freedom[name] = freedom.get(name, 0) + len(values) - 1
    return {
        name: student_quantile(df, 0.5 + level / 2) * math.sqrt(squares[name] / df / repeats)
        for name, df in freedom.items()
        if df
    }


def _too_close(points: float, good: GoldenVerdicts, reply: GoldenReply, tolerance: float) -> Iterable[str]:
    gap, best = good.reply.band[0] - reply.band[1], fmean(good.values["score"])
    # Both scores carry noise.
    if best - points < gap - math.sqrt(2) * tolerance:
        yield (
            f"score is {points:g} beside {best:g} for the good reply to the same question; expected at least "
            f"{gap:g} points less"
        )


def _outside(name: str, value: float, bounds: tuple[float, float], tolerance: float) -> Iterable[str]:
    if not bounds[0] - tolerance <= value <= bounds[1] + tolerance:
        yield f"{name} is {value:g}, expected {bounds[0]:g} to {bounds[1]:g}"
