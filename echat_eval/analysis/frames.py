"""Long tables as frames: read from CSV or JSONL, checked, and of known columns and types."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from echat_eval.errors import BadData, UnknownName, UsageError
from echat_eval.io import jsonl
from echat_eval.records import STATES

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["COLUMNS", "LINKS", "check_table", "one_system", "read_table"]

REQUIRED = ("task", "sample_id", "system", "metric", "value")
#: Columns whose equal values mean that samples vary together.
LINKS = ("cluster", "speaker", "transcript", "contrast_group")
SLICES = ("label", "language", "source")
#: Every column a table may have.
COLUMNS = (*REQUIRED, "weight", "state", *LINKS, *SLICES)


def read_table(path: Path) -> pd.DataFrame:
    """Return the checked table a .csv, .tsv or .jsonl file holds.

    Raises:
        BadData: not readable, or a row that `check_table` refuses; with file and line.
    """
    kind = path.suffix.lower()
    if kind not in {".csv", ".tsv", ".jsonl"}:
        raise BadData(f"{path}: expected a run folder or a .csv, .tsv or .jsonl table")
    if kind == ".jsonl":
        numbered = list(jsonl.read_rows(path))
        frame = pd.DataFrame([row for _, row in numbered], index=[number for number, _ in numbered])
        return check_table(frame, where=str(path))
    try:
        frame = pd.read_csv(
            path,
            sep="\t" if kind == ".tsv" else ",",
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
            skip_blank_lines=False,
        )
    except (OSError, ValueError) as error:
        raise BadData(f"{path}: cannot be read as a table: {' '.join(str(error).split())}") from error
    if not isinstance(frame.index, pd.RangeIndex):
        raise BadData(f"{path}: a row has more cells than the header has names")
    frame.index = frame.index + 2  # the line in the file; line 1 is the header
    frame = frame[~(frame.isna() | (frame == "")).all(axis=1)]  # blank lines
    return check_table(frame, where=str(path))


def check_table(frame: pd.DataFrame, *, where: str = "table") -> pd.DataFrame:
    """Return a long table with all `COLUMNS`, typed, or say what is wrong with it.

    `system` may be left out where there is only one. A row without a value and without a state is missing.

    Args:
        frame: at least task, sample_id, metric and value. Its index numbers the rows in messages.
        where: what messages call it.

    Raises:
        BadData: an unknown column, a lacking one, an empty name, a value that is infinite or not a number, an
            unknown state, the same row twice.
    """
    for name in frame.columns:
        if name not in COLUMNS:
            near = get_close_matches(str(name), COLUMNS, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else " Drop it or rename it."
            raise BadData(f"{where}: unknown column '{name}'.{hint} Known: {', '.join(COLUMNS)}.")
    lacking = [name for name in REQUIRED if name not in frame.columns and name != "system"]
    if lacking:
        raise BadData(f"{where}: no column '{lacking[0]}'; expected {', '.join(REQUIRED)}")
    if frame.empty:
        raise BadData(f"{where}: no rows")
    out = pd.DataFrame(index=frame.index)
    for name in ("task", "sample_id", "system", "metric"):
        column = frame[name] if name in frame.columns else pd.Series("system", index=frame.index)
        _refuse(where, column.isna() | (column.astype(str) == ""), f"an empty {name}")
        out[name] = column.astype(str)
    out["value"] = _numbers(frame["value"], "value", where)
    weight = _numbers(frame["weight"], "weight", where) if "weight" in frame.columns else None
    out["weight"] = 1.0 if weight is None else weight.fillna(1.0)
    _refuse(where, out["weight"] < 0, "a weight below 0")
    out["state"] = _states(frame, out["value"], where)
    out.loc[out["state"].isin(["missing", "not applicable"]), "value"] = np.nan
    for name in (*LINKS, *SLICES):
        column = frame[name].astype(object) if name in frame.columns else pd.Series(None, frame.index, object)
        out[name] = column.where(column.notna() & (column != ""), None)
    twice = out.duplicated(["task", "sample_id", "system", "metric"])
    if twice.any():
        first = out[twice].iloc[0]
        raise BadData(
            f"{where}:{out.index[twice][0]}: {int(twice.sum())} rows stand there twice, the first for task "
            f"'{first.task}', sample '{first.sample_id}', system '{first.system}', metric '{first.metric}'"
        )
    return out


def one_system(frame: pd.DataFrame, system: str | None = None, *, where: str = "table") -> pd.DataFrame:
    """Return the rows of one system.

    Raises:
        UnknownName: there is none of that name.
        UsageError: none is named and there are several.
    """
    names = sorted(frame["system"].unique())
    if system is None:
        if len(names) > 1:
            raise UsageError(
                f"{where} holds {len(names)} systems; name one: {', '.join(f'{where}:{n}' for n in names)}"
            )
        return frame
    if system not in names:
        raise UnknownName("system", system, names)
    return frame[frame["system"] == system]


def _numbers(column: pd.Series, name: str, where: str) -> pd.Series:
    """Return a column as floats; blank is NaN."""
    filled = (
        column.notna() & (column.astype(str).str.strip() != "")
        if column.dtype == object or isinstance(column.dtype, pd.StringDtype)
        else column.notna()
    )
    numbers = pd.to_numeric(column.where(filled, None), errors="coerce").astype(np.float64)
    spelled = column.astype(str).str.lower() if numbers[filled].isna().any() else None
    if spelled is not None:
        _refuse(
            where,
            filled & numbers.isna() & ~spelled.isin(["nan", "none", "null"]),
            f"a {name} that is not a number",
            column,
        )
    _refuse(where, pd.Series(np.isinf(numbers.to_numpy()), column.index), f"an infinite {name}", column)
    return numbers


def _states(frame: pd.DataFrame, value: pd.Series, where: str) -> pd.Series:
    derived = pd.Series(np.where(value.isna(), "missing", "value"), index=frame.index, dtype=object)
    if "state" not in frame.columns:
        return derived
    given = frame["state"].astype(object)
    blank = given.isna() | (given == "")
    state = given.where(~blank, derived)
    _refuse(where, ~state.isin(STATES), f"a state that is none of {', '.join(STATES)}", state)
    _refuse(where, (state == "value") & value.isna(), "state 'value' without a finite value")
    return state


def _refuse(where: str, wrong: pd.Series, what: str, column: pd.Series | None = None) -> None:
    if wrong.any():
        at = wrong.index[wrong.to_numpy()][0]
        shown = "" if column is None else f" ({column.loc[at]!r})"
        more = f", and {int(wrong.sum()) - 1} more rows" if wrong.sum() > 1 else ""
        raise BadData(f"{where}:{at}: {what}{shown}{more}")
