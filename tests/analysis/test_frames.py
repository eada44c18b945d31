"""Long tables: how they are read, and the message for each fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from echat_eval.analysis import check_table, load_scored_system, pair, read_table
from echat_eval.errors import BadData, Exit, UnknownName, UsageError

HEAD = "task,sample_id,system,metric,value"
ROW = {"task": "emotion", "sample_id": "s1", "system": "a", "metric": "empathy", "value": 1.5}


def csv(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "t.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{HEAD},scroe\ne,1,a,m,1,2\n", "unknown column 'scroe'"),
        (f"{HEAD},wieght\ne,1,a,m,1,2\n", "Did you mean 'weight'"),
        ("task,sample_id,system,value\ne,1,a,1\n", "no column 'metric'"),
        (f"{HEAD}\n", "no rows"),
        ("", "cannot be read as a table"),
        (
            f"{HEAD}\ne,1,a,m,1\ne,1,a,m,2\n",
            "t.csv:3: duplicate row (1 in the table) for task 'e', sample '1'",
        ),
        (f"{HEAD}\ne,1,a,m,1\ne,2,a,m,high\n", "t.csv:3: a value that is not a number ('high')"),
        (f"{HEAD}\ne,1,a,m,inf\n", "t.csv:2: an infinite value"),
        (f"{HEAD}\ne,1,a,m,-Infinity\n", "an infinite value"),
        (f"{HEAD}\ne,,a,m,1\n", "t.csv:2: an empty sample_id"),
        (f"{HEAD},state\ne,1,a,m,1,fine\n", "a state that is none of value, failed"),
        (f"{HEAD},state\ne,1,a,m,,value\n", "state 'value' without a finite value"),
        (f"{HEAD},state\ne,1,a,m,nan,value\n", "state 'value' without a finite value"),
        (f"{HEAD},weight\ne,1,a,m,1,-2\n", "t.csv:2: a weight of 0 or below; expected one above 0 (-2)"),
        (f"{HEAD},weight\ne,1,a,m,1,0\n", "t.csv:2: a weight of 0 or below; expected one above 0 (0)"),
        (
            f"{HEAD},average\ne,1,a,m,1,median\n",
            "t.csv:2: an average other than mean, ratio, macro ('median')",
        ),
        (f"{HEAD},direction\ne,1,a,m,1,up\n", "t.csv:2: a direction other than higher, lower ('up')"),
        (
            f"{HEAD},average\ne,1,a,m,1,mean\ne,2,a,m,1,\ne,3,a,m,1,ratio\n",
            "t.csv:4: an average that differs from an earlier row of the metric ('ratio')",
        ),
        (
            f"{HEAD},low\ne,1,a,m,1,2\n",
            "t.csv:2: a value below the metric's stated `low`; correct the value or the range (1)",
        ),
        (
            f"{HEAD},low,high\ne,1,a,m,1,0,5\ne,2,a,m,7,,\n",
            "t.csv:3: a value above the metric's stated `high`; correct the value or the range (7)",
        ),
        (f"{HEAD},high\ne,1,a,m,1,x\n", "t.csv:2: a high that is not a number ('x')"),
        (f"{HEAD},low,high\ne,1,a,m,1,5,5\n", "t.csv:2: a range whose low is not below its high (5)"),
        (f"{HEAD}\ne,1,a,m,1,2,3\n", "more cells than the header"),
        (f"{HEAD}\n\ne,1,a,m,1\n\ne,2,a,m,x\n", "t.csv:5: a value that is not"),
    ],
)
def test_a_broken_table_is_misuse_and_names_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadData) as error:
        read_table(csv(tmp_path, text))
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == Exit.MISUSE


def test_csv_and_jsonl_give_the_same_table(tmp_path: Path) -> None:
    rows = [{**ROW, "sample_id": str(i), "value": i / 3, "label": "sad", "cluster": "c"} for i in range(5)]
    rows[2]["value"], rows[3]["state"] = None, "failed"
    csv_path, jsonl_path = tmp_path / "t.csv", tmp_path / "t.jsonl"
    pd.DataFrame(rows).to_csv(csv_path, index=False)
    jsonl_path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    a, b = (read_table(path).reset_index(drop=True) for path in (csv_path, jsonl_path))
    pd.testing.assert_frame_equal(a, b, check_dtype=False)
    assert a["state"].tolist() == ["value", "value", "missing", "failed", "value"]
    assert a["speaker"].isna().all()


def test_an_empty_value_is_missing_and_numeric_ids_become_strings() -> None:
    got = check_table(pd.DataFrame([{**ROW, "sample_id": 7}, {**ROW, "sample_id": 8, "value": np.nan}]))
    assert got["sample_id"].tolist() == ["7", "8"]
    assert got["state"].tolist() == ["value", "missing"]


def test_a_jsonl_error_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(ROW) + "\n\n" + json.dumps({**ROW, "sample_id": "s2", "value": "x"}) + "\n")
    with pytest.raises(BadData, match=r"t\.jsonl:3: a value that is not a number"):
        read_table(path)


@pytest.mark.parametrize("name", ["cluster", "task", "sample_id", "value", "state"])
@pytest.mark.parametrize("value", [["a"], {"a": 1}, True, 10**400])
def test_a_jsonl_cell_is_text_or_a_number(tmp_path: Path, name: str, value: Any) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(ROW) + "\n" + json.dumps({**ROW, "sample_id": "s2", name: value}) + "\n")
    with pytest.raises(BadData, match=rf"t\.jsonl:2: {name} is .*, expected text or a number"):
        read_table(path)


def test_a_colon_selects_one_of_several_systems(tmp_path: Path) -> None:
    path = csv(tmp_path, f"{HEAD}\ne,1,a,m,1\ne,1,b,m,2\n")
    assert load_scored_system(f"{path}:b").frame["value"].tolist() == [2.0]
    with pytest.raises(UsageError, match="2 systems; name one: "):
        load_scored_system(str(path))
    with pytest.raises(UnknownName, match="unknown system 'c'"):
        load_scored_system(f"{path}:c")
    with pytest.raises(BadData, match="no such run folder"):
        load_scored_system(str(tmp_path / "nothing"))
    with pytest.raises(BadData, match="not a run folder"):
        load_scored_system(str(tmp_path))


def test_speakers_cross_tasks_but_contrast_groups_do_not() -> None:
    def row(task: str, sample: str, **more: Any) -> dict[str, Any]:
        return {**ROW, "task": task, "sample_id": sample, **more}

    rows = [
        row("emotion", "1", speaker="ann", contrast_group="g1"),
        row("emotion", "2", speaker="bob", contrast_group="g1"),
        row("age", "1", speaker="ann"),
        row("age", "2", contrast_group="g1"),
        row("age", "3"),
    ]
    table = check_table(pd.DataFrame(rows))
    got = pair(table, table, metrics=["empathy"])
    assert got.frame["speaker"].tolist() == [0, 1, 0, 2, 3]
    assert got.frame["sentence"].tolist() == [0, 0, 1, 2, 3]
    assert got.linked


def test_empty_cells_of_the_candidate_are_taken_from_the_baseline() -> None:
    plain = check_table(pd.DataFrame([{**ROW, "sample_id": s} for s in "abc"]))
    linked = check_table(pd.DataFrame([{**ROW, "sample_id": s, "speaker": "ann"} for s in "abc"]))
    assert set(pair(plain, linked, metrics=["empathy"]).frame["speaker"]) == {0}


def test_a_metric_absent_from_a_table_is_named() -> None:
    table = check_table(pd.DataFrame([ROW]))
    with pytest.raises(BadData, match="has no metric 'wer'; it has empathy"):
        pair(table, table, metrics=["wer"])
