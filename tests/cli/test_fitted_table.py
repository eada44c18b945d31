"""Tables on narrow terminals: whole numbers, in blocks; names that tell systems apart."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from echat_eval.cli.fitted_table import Cells, fitted

TASKS = ("all", "emotion", "age", "gender", "event", "multi")
NUMBERS = [[f"{n}.{k} [{n}.0, 100.{k}]" for k in range(6)] for n in (41, 52)]
NAMES = ("osum-echat-stage-2-step-1000", "osum-echat-stage-2-step-2000")
BOARD = Cells(
    "Match rate", ("system", *TASKS), [[[NAMES[0], *NUMBERS[0]]], [[NAMES[1], *NUMBERS[1]]]], labels=1
)


def printed(cells: Cells, width: int) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, markup=False)
    for block in fitted(cells, width):
        console.print(block)
    return out.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 100, 160, 240])
def test_every_number_is_printed_whole_and_no_line_is_too_long(width: int) -> None:
    text = printed(BOARD, width)
    assert re.findall(r"\d+\.\d \[[^]]*\]", text) == [
        cell for block in blocks(width) for row in NUMBERS for cell in row[block]
    ]
    assert max(map(len, text.splitlines())) <= width
    assert all(task in text for task in TASKS)


def blocks(width: int) -> list[slice]:
    """Return the columns of each block, by the smallest number of blocks that can hold them."""
    names = 28 if width >= 50 else 16
    fit = max(1, (width - 2 - names) // (19 - 1 + 3))
    return [slice(start, start + fit) for start in range(0, 6, fit)]


@pytest.mark.parametrize("width", [40, 80])
def test_names_differ_where_they_are_shortened(width: int) -> None:
    names = re.findall(r"^ (osum\S+)", printed(BOARD, width), re.MULTILINE)
    assert len(set(names)) == 2


def test_labels_beside_names_are_broken_between_words() -> None:
    cells = Cells(
        "Gap", ("system", "matched by", "gap"), [[["mine", "the judge gpt-6", "1.0 [0.0, 2.0]"]]], labels=2
    )
    text = printed(cells, 38)
    assert "1.0 [0.0, 2.0]" in text
    assert "gpt-6" in text


def test_a_table_without_rows_is_its_note() -> None:
    assert fitted(Cells("Other", ("system", "n"), [], labels=1, note="nothing"), 80) == ["nothing"]
