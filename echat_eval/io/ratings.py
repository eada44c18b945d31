"""Human ratings as one long table, written by `rate import` and read by `check judge` and `report`."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from echat_eval.errors import BadData
from echat_eval.io.csv_cells import safe_cell

__all__ = ["COLUMNS", "Rating", "ratings_csv", "read_ratings_csv"]

COLUMNS = ("rater", "system", "task", "sample_id", "dimension", "value", "low", "high")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """One rater's value for one reply in one dimension ("score": overall).

    Attributes:
        value: from low to high; a preference is 1 for the preferred reply, 0 for the other, 0.5 for equal.
    """

    rater: str
    system: str
    task: str
    sample_id: str
    dimension: str
    value: float
    low: float
    high: float


def ratings_csv(ratings: Sequence[Rating]) -> str:
    """Return the table as CSV; no cell can be a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for rating in ratings:
        writer.writerow([safe_cell(getattr(rating, name)) for name in COLUMNS])
    return out.getvalue()


def read_ratings_csv(path: Path) -> list[Rating]:
    """Return the ratings of a CSV file.

    Raises:
        BadData: with file and line; also if a rater has two values for one reply and dimension.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            if not table.fieldnames:
                raise BadData(f"{path}: an empty file, expected {','.join(COLUMNS)} in its first line")
            if tuple(table.fieldnames) != COLUMNS:
                raise BadData(f"{path}:1: columns are {table.fieldnames}, expected {','.join(COLUMNS)}")
            return _once(path, [_rating(path, line, row) for line, row in enumerate(table, 2)])
    except OSError as error:
        raise BadData(f"{path}: cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadData(f"{path}: not a CSV file in UTF-8: {error}") from error


def _once(path: Path, ratings: list[Rating]) -> list[Rating]:
    """Return the ratings; raise if one is there twice, which would count twice."""
    seen: dict[tuple[str, ...], int] = {}
    for line, r in enumerate(ratings, 2):
        key = (r.rater, r.system, r.task, r.sample_id, r.dimension)
        if key in seen:
            raise BadData(
                f"{path}:{line}: rater '{r.rater}' has a value for '{r.dimension}' of this reply in line "
                f"{seen[key]} already; keep one of them"
            )
        seen[key] = line
    return ratings


def _rating(path: Path, line: int, row: Mapping[str | None, str | None]) -> Rating:
    if None in row or None in row.values():
        raise BadData(f"{path}:{line}: expected {len(COLUMNS)} columns")
    numbers = {}
    for name in ("value", "low", "high"):
        try:
            numbers[name] = float(row[name] or "")
        except ValueError as error:
            raise BadData(f"{path}:{line}: {name} is {row[name]!r}, expected a number") from error
    in_range = (
        all(map(math.isfinite, numbers.values())) and numbers["low"] <= numbers["value"] <= numbers["high"]
    )
    if not in_range or numbers["low"] == numbers["high"]:
        raise BadData(f"{path}:{line}: value {row['value']} is not from {row['low']} to {row['high']}")
    texts = {name: str(row[name]) for name in COLUMNS[:5]}
    # `safe_cell` adds an apostrophe before a formula, so that a spreadsheet does not run it.
    plain = {name: text[1:] if safe_cell(text[1:]) == text else text for name, text in texts.items()}
    return Rating(**plain, **numbers)  # type: ignore[arg-type]
