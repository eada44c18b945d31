"""Anchors of a run: points of shared replies that its judge graded again, to show a shift of the judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from echat_eval.io.schema import STRING, Schema, number, read_schema_rows, whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["ANCHOR_ROW", "AnchorPoints", "anchors_path", "present_anchors", "read_anchors"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorPoints:
    """One verdict on an anchor.

    Attributes:
        metric: of the judge whose level it shows.
        judge: model that graded it, as its server reports it.
        anchor: id of the reply.
        question: hash of the question that it answers; anchors of one question vary together.
        points: the text score.
        after: questions of the run before it, over all commands.
    """

    metric: str
    judge: str
    anchor: str
    question: str
    points: float
    after: int


ANCHOR_ROW = Schema(
    {
        **dict.fromkeys(("metric", "judge", "anchor", "question"), STRING),
        "points": number(0, 100),
        "after": whole(0),
    }
)


def anchors_path(run: Path) -> Path:
    """Return the file of a run folder's anchors."""
    return run / "anchors.jsonl"


def read_anchors(path: Path) -> list[AnchorPoints]:
    """Return the points in a file, in order; an empty list without one.

    Raises:
        BadData: a row is invalid; the message names file and line.
    """
    if not path.exists():
        return []
    return [AnchorPoints(**row) for _, row in read_schema_rows(path, ANCHOR_ROW)]


def present_anchors(rows: list[AnchorPoints]) -> tuple[AnchorPoints, ...]:
    """Return the points by each metric's present judge: the model that graded last."""
    present: Mapping[str, str] = {row.metric: row.judge for row in rows}
    return tuple(row for row in rows if row.judge == present[row.metric])
