"""Anchors that a judge grades again in every run, so that a shift of the judge is detected.

The anchors are the hand-written replies of the rubric, which every run shares. After every tenth question of
a run the judge grades the next one, never from a store. So they are spread over the run and add 10 % at most.
"""

from __future__ import annotations

import random
from dataclasses import asdict
from typing import TYPE_CHECKING, NamedTuple

from echat_eval.io.hashing import digest
from echat_eval.io.jsonl import Appender, mend, read_rows
from echat_eval.judge.question import Question
from echat_eval.judge.rubric import rubric_file
from echat_eval.store.anchors import AnchorPoints, read_anchors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from echat_eval.judge.rubric import Judge

__all__ = ["EVERY", "FEWEST_QUESTIONS", "DueAnchor", "Sentinel"]

#: Questions of a run per anchor.
EVERY = 10
#: Questions of a command below which its anchors would be too few to show a shift.
FEWEST_QUESTIONS = 100


class DueAnchor(NamedTuple):
    """An anchor to grade: its id, its question, and the questions of the run before it."""

    name: str
    question: Question
    after: int


class Sentinel:
    """The anchors of one judge in one run folder.

    Args:
        judge: the rubric.
        metric: of the judge.
        path: file of the anchors' points.
    """

    def __init__(self, judge: Judge, metric: str, path: Path) -> None:
        self.metric, self._path = metric, path
        self._anchors = _anchors(judge)
        if path.exists():
            mend(path)
        self._given = sum(row.metric == metric for row in read_anchors(path))
        self._questions = EVERY * self._given

    def next_anchor(self) -> DueAnchor | None:
        """Count one question of the run; return the anchor that is due after it."""
        self._questions += 1
        if self._questions % EVERY or not self._anchors:
            return None
        self._given += 1
        name, question = self._anchors[(self._given - 1) % len(self._anchors)]
        return DueAnchor(name, question, self._questions)

    def record(self, due: DueAnchor, points: float, *, model: str) -> None:
        """Store the points of an anchor.

        Args:
            model: that graded it, as its server reports it.
        """
        found = AnchorPoints(
            metric=self.metric,
            judge=model,
            anchor=due.name,
            question=digest("anchor", [due.question.transcript, due.question.language]),
            points=points,
            after=due.after,
        )
        with Appender(self._path) as appender:
            appender.append(asdict(found))


def _anchors(judge: Judge) -> Sequence[tuple[str, Question]]:
    """Return id and question of the rubric's hand-written replies, in a fixed random order."""
    rows = [row for _, row in read_rows(rubric_file(judge.name, "golden.jsonl"))]
    names = ("task", "language", "transcript", "cues", "reply")
    found = [
        (str(row["id"]), Question(**{name: row[name] for name in names}, voice_emotion=None))
        for row in rows
        if row["reply"].strip()
    ]
    random.Random(0).shuffle(found)
    return found
