"""A comparison as text."""

from __future__ import annotations

from typing import Literal

from echat_eval.analysis.compare import ComparedMetric, Comparison
from echat_eval.analysis.compare_text import to_text


def cell(metric: str, name: str, n: int, part: Literal["task", "slice"] = "task") -> ComparedMetric:
    return ComparedMetric(
        metric=metric,
        part=part,
        name=name,
        difference=None,
        low=None,
        high=None,
        p=None,
        adjusted=None,
        won=0.0,
        lost=0.0,
        tied=0.0,
        n=n,
        clusters=0,
        missing=n,
        why="no row has a value on both sides" if n else "no row is applicable",
        design="",
    )


def test_tasks_without_a_row_are_named_in_one_line() -> None:
    cells = (
        cell("match_rate", "emotion", 4),
        cell("match_rate", "age-asks-age", 0),
        cell("match_rate", "label = sad", 0, "slice"),
        cell("wer", "emotion", 0),
    )
    found = Comparison(
        baseline="a", candidate="b", cells=cells, flips=(), counts="", unlike=(), notes=("read this",)
    )
    assert to_text(found)[1:] == [
        "",
        "match_rate change 95 % interval p adj. won lost tied n clusters",
        "  emotion         cannot tell: no row has a value on both sides",
        "  applies to no sample of age-asks-age",
        "",
        "apply to no sample: wer",
        "",
        "note: read this",
    ]
