"""Long tables as data frames: read from CSV or JSONL, checked, with fixed columns and types."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.analysis.stated import AVERAGES, DIRECTIONS, STATED
from echat_eval.errors import BadData, UnknownName, UsageError, did_you_mean
from echat_eval.io import jsonl
from echat_eval.io.schema import is_whole, shorten
from echat_eval.records import STATES

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

__all__ = [
    "COLUMNS",
    "CONTENT",
    "IN_ALL",
    "LINKS",
    "check_table",
    "has_states",
    "in_all_tasks",
    "is_frame",
    "one_system",
    "over_all_tasks",
    "read_table",
    "several_tasks",
]

REQUIRED = ("task", "sample_id", "system", "metric", "value")
#: Columns that link samples: rows with equal values vary together.
LINKS = ("cluster", "speaker", "transcript", "contrast_group")
SLICES = ("label", "language", "source")
#: Hash of a reply: the same hash is the same reply, byte for byte.
REPLY = "reply"
#: Hash of a sample's content, and of its contrast group's: the same hash is the same sample.
CONTENT = "content"
#: "no": the row counts in its task and not in the mean over all tasks.
IN_ALL = "in_all"
#: Every column a table may have.
COLUMNS = (*REQUIRED, "weight", "state", *LINKS, *SLICES, REPLY, CONTENT, IN_ALL, *STATED)


def read_table(path: Path) -> pd.DataFrame:
    """Return the checked table of a .csv, .tsv or .jsonl file.

    Raises:
        BadData: unreadable, or a row that `check_table` refuses; the message has file and line.
    """
    import pandas as pd

    kind = path.suffix.lower()
    if kind not in {".csv", ".tsv", ".jsonl"}:
        raise BadData(f"{path}: expected a run folder or a .csv, .tsv or .jsonl table")
    if kind == ".jsonl":
        return check_table(_json_frame(path), location=str(path))
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
    return check_table(frame, location=str(path))


def _json_frame(path: Path) -> pd.DataFrame:
    """Return the rows of a .jsonl file, indexed by their lines.

    Cells are collected by column, and equal texts are kept once: objects for every row of a large table would
    take several times the memory.
    """
    import pandas as pd

    columns: dict[str, list[object]] = {}
    lines: list[int] = []
    texts: dict[str, str] = {}
    for number, row in jsonl.read_rows(path):
        for name, value in row.items():
            if isinstance(value, str):
                value = texts.setdefault(value, value)
            elif not (value is None or isinstance(value, float) or is_whole(value)):
                raise BadData(f"{path}:{number}: {name} is {shorten(value)}, expected text or a number")
            if name not in columns:
                columns[name] = [None] * len(lines)
            columns[name].append(value)
        lines.append(number)
        if len(row) < len(columns):
            for cells in columns.values():
                if len(cells) < len(lines):
                    cells.append(None)
    return pd.DataFrame(columns, index=lines)


def is_frame(value: object) -> bool:
    """Return whether a value is a data frame."""
    pandas = sys.modules.get("pandas")  # a frame exists only once pandas is imported
    return pandas is not None and isinstance(value, pandas.DataFrame)


def check_table(frame: pd.DataFrame, *, location: str = "table") -> pd.DataFrame:
    """Return a long table with all `COLUMNS`, typed; those of `STATED` only if the table has them.

    `system` may be omitted if there is only one. A row without a value and without a state is missing.
    Whether the table had states at all is kept in the frame's `attrs` (see `has_states`).

    Args:
        frame: at least task, sample_id, metric and value. Its index numbers the rows in messages.
        location: how messages name the table.

    Raises:
        BadData: an unknown or absent column, an empty name, a value that is infinite or not a number, an
            unknown state, a duplicate row, a weight of 0 or below, a value outside the range that the table
            states, or two statements about a metric that differ.
    """
    import pandas as pd

    for name in frame.columns:
        if name not in COLUMNS:
            hint = did_you_mean(str(name), COLUMNS) or " Drop it or rename it."
            raise BadData(f"{location}: unknown column '{name}'.{hint} Known: {', '.join(COLUMNS)}.")
    absent = [name for name in REQUIRED if name not in frame.columns and name != "system"]
    if absent:
        raise BadData(f"{location}: no column '{absent[0]}'; expected {', '.join(REQUIRED)}")
    if frame.empty:
        raise BadData(f"{location}: no rows")
    out = pd.DataFrame(index=frame.index)
    for name in ("task", "sample_id", "system", "metric"):
        column = frame[name] if name in frame.columns else pd.Series("system", index=frame.index)
        _refuse(location, column.isna() | (column.astype(str) == ""), f"an empty {name}")
        out[name] = column.astype(str)
    out["value"] = _numbers(frame["value"], "value", location)
    weight = _numbers(frame["weight"], "weight", location) if "weight" in frame.columns else None
    out["weight"] = 1.0 if weight is None else weight.fillna(1.0)
    out["state"] = _states(frame, out["value"], location)
    out.loc[out["state"].isin(["missing", "not applicable"]), "value"] = np.nan
    counts = out["state"].isin(["value", "failed"])
    _refuse(
        location,
        (out["weight"] <= 0) & counts | (out["weight"] < 0),
        "a weight of 0 or below; expected one above 0",
        out["weight"],
    )
    _state_metrics(out, frame, location)
    for name in (*LINKS, *SLICES, REPLY, CONTENT, IN_ALL):
        column = frame[name].astype(object) if name in frame.columns else pd.Series(None, frame.index, object)
        out[name] = column.where(column.notna() & (column != ""), None)
    out.attrs["has_states"] = has_states(frame)
    duplicated = out.duplicated(["task", "sample_id", "system", "metric"])
    if duplicated.any():
        first = out[duplicated].iloc[0]
        raise BadData(
            f"{location}:{out.index[duplicated][0]}: duplicate row ({int(duplicated.sum())} in the table) "
            f"for task '{first.task}', sample '{first.sample_id}', system '{first.system}', "
            f"metric '{first.metric}'"
        )
    return out


def over_all_tasks(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that a mean over all tasks covers."""
    return rows[in_all_tasks(rows)]


def in_all_tasks(rows: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which rows a mean over all tasks covers: those without `in_all: no`; all if every row has it."""
    left_out = rows[IN_ALL].eq("no").to_numpy(dtype=bool)
    return np.ones(len(rows), dtype=bool) if left_out.all() else ~left_out


def several_tasks(rows: pd.DataFrame) -> bool:
    """Return whether a mean over all tasks covers more than one."""
    return over_all_tasks(rows)["task"].nunique() > 1


def has_states(frame: pd.DataFrame) -> bool:
    """Return whether a table had states; a checked table has the column in any case.

    Without them, a failed reply looks like any other row.
    """
    if "state" not in frame.columns:
        return False
    state = frame["state"]
    if state.isin(["failed", "not applicable"]).any():  # no such state is derived from a value
        return True
    return bool(frame.attrs.get("has_states", (state.notna() & (state != "")).any()))


def one_system(frame: pd.DataFrame, system: str | None = None, *, location: str = "table") -> pd.DataFrame:
    """Return the rows of one system.

    Raises:
        UnknownName: no system has that name.
        UsageError: the table holds several systems and `system` is None.
    """
    names = sorted(frame["system"].unique())
    if system is None:
        if len(names) > 1:
            specs = ", ".join(f"{location}:{name}" for name in names)
            raise UsageError(f"{location} holds {len(names)} systems; name one: {specs}")
        return frame
    if system not in names:
        raise UnknownName("system", system, names)
    return frame[frame["system"] == system]


def _state_metrics(out: pd.DataFrame, frame: pd.DataFrame, location: str) -> None:
    """Add the columns that state facts of metrics; check them, and the values against the ranges."""
    import pandas as pd

    for name in (name for name in STATED if name in frame.columns):
        if name in ("low", "high"):
            out[name] = _numbers(frame[name], name, location)
        else:
            known = tuple(DIRECTIONS) if name == "direction" else AVERAGES
            column = frame[name].astype(object)
            out[name] = column.where(column.notna() & (column != ""), None)
            wrong = out[name].notna() & ~out[name].isin(known)
            _refuse(location, wrong, f"{_an(name)} other than {', '.join(known)}", out[name])
        first = out.groupby("metric", sort=False)[name].transform("first")
        differs = out[name].notna() & (out[name] != first)
        _refuse(location, differs, f"{_an(name)} that differs from an earlier row of the metric", out[name])
        out[name] = first.where(first.notna(), None) if first.dtype == object else first
    if "low" in out and "high" in out:
        _refuse(location, out["low"] >= out["high"], "a range whose low is not below its high", out["low"])
    for name, beyond in (("low", np.less), ("high", np.greater)):
        if name in out:
            outside = pd.Series(beyond(out["value"], out[name]), out.index)
            end = "below" if name == "low" else "above"
            what = f"a value {end} the metric's stated `{name}`; correct the value or the range"
            _refuse(location, outside, what, out["value"])


def _an(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _numbers(column: pd.Series, name: str, location: str) -> pd.Series:
    """Return a column as floats; NaN where it is empty."""
    import pandas as pd

    filled = (
        column.notna() & (column.astype(str).str.strip() != "")
        if column.dtype == object or isinstance(column.dtype, pd.StringDtype)
        else column.notna()
    )
    numbers = pd.to_numeric(column.where(filled, None), errors="coerce").astype(np.float64)
    spelled = column.astype(str).str.lower() if numbers[filled].isna().any() else None
    if spelled is not None:
        _refuse(
            location,
            filled & numbers.isna() & ~spelled.isin(["nan", "none", "null"]),
            f"a {name} that is not a number",
            column,
        )
    _refuse(location, pd.Series(np.isinf(numbers.to_numpy()), column.index), f"an infinite {name}", column)
    return numbers


def _states(frame: pd.DataFrame, value: pd.Series, location: str) -> pd.Series:
    import pandas as pd

    derived = pd.Series(np.where(value.isna(), "missing", "value"), index=frame.index, dtype=object)
    if "state" not in frame.columns:
        return derived
    stated = frame["state"].astype(object)
    empty = stated.isna() | (stated == "")
    state = stated.where(~empty, derived)
    _refuse(location, ~state.isin(STATES), f"a state that is none of {', '.join(STATES)}", state)
    _refuse(location, (state == "value") & value.isna(), "state 'value' without a finite value")
    return state


def _refuse(location: str, wrong: pd.Series, what: str, column: pd.Series | None = None) -> None:
    if wrong.any():
        row = wrong.index[wrong.to_numpy()][0]
        cell = None if column is None else column.loc[row]
        shown = f" ({cell:g})" if isinstance(cell, float) else "" if column is None else f" ({cell!r})"
        more = f", and {int(wrong.sum()) - 1} more rows" if wrong.sum() > 1 else ""
        raise BadData(f"{location}:{row}: {what}{shown}{more}")
