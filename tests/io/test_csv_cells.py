"""Cells that a spreadsheet does not take for formulas."""

from __future__ import annotations

import pytest

from echat_eval.io.csv_cells import safe_cell


@pytest.mark.parametrize("sign", "=+-@＝＋－＠﹦﹢﹣﹫−")
@pytest.mark.parametrize("before", ["", " ", "\u3000", "\ufeff", "\u200b", "\t", "\x00"])
def test_no_sign_begins_a_formula(before: str, sign: str) -> None:
    text = f"{before}{sign}HYPERLINK(1)"
    assert safe_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", ["", "a=1", "1-1", "²", "–1", "名字＝1", -1.5, None])
def test_other_cells_are_unchanged(value: object) -> None:
    assert safe_cell(value) == value
