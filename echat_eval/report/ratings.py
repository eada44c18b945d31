"""What raters sent back: checked against the sheet's key, joined into one table, with their agreement."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from echat_eval.errors import BadData
from echat_eval.jsonl import loads
from echat_eval.keys import sha256_of_file
from echat_eval.leaderboard import clusters_of
from echat_eval.leaderboard_files import safe_cell
from echat_eval.report.cells import Cell
from echat_eval.report.sheet import PREFERENCE
from echat_eval.report.tables import summary_cell, text_judge
from echat_eval.stats import cluster_mean

if TYPE_CHECKING:
    from pathlib import Path

    from echat_eval.report.merged import MergedRuns

__all__ = ["COLUMNS", "Rating", "alpha", "human_cells", "ratings_csv", "read_ratings"]

COLUMNS = ("rater", "system", "task", "sample_id", "dimension", "value", "low", "high")
MAX_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """One rater's number for one reply in one dimension.

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


def _loaded(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadData(f"{path}: larger than {MAX_BYTES:,} bytes")
        found = loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadData(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadData(f"{path}: expected an object, got {type(found).__name__}")
    return found


def read_ratings(key: Path, files: Sequence[Path]) -> list[Rating]:
    """Return every rating of several raters' files, systems named by the key.

    Raises:
        BadData: a file of another sheet, a question or value the sheet does not have, a rater twice.
    """
    facts = _loaded(key)
    if not isinstance(facts.get("items"), dict) or "sheet" not in facts or "dimensions" not in facts:
        raise BadData(f"{key}: not the key of a rating sheet (`rate export` writes it beside the sheet)")
    found: list[Rating] = []
    seen: dict[str, Path] = {}
    for path in files:
        sent = _loaded(path)
        rater = sent.get("rater")
        if not isinstance(rater, str) or not rater.strip() or not isinstance(sent.get("ratings"), list):
            raise BadData(
                f"{path}: not a rater's file; it is what the sheet's button 'Save my ratings' writes"
            )
        if sent.get("sheet") != facts["sheet"]:
            raise BadData(f"{path}: answers another sheet than {key} is the key of")
        if rater in seen:
            raise BadData(f"{path}: rater '{rater}' is also in {seen[rater]}; keep one file a rater")
        seen[rater] = path
        asked: set[tuple[str, str]] = set()
        for number, row in enumerate(sent["ratings"], start=1):
            found += _checked(f"{path}: rating {number}", row, rater, facts, asked)
    return found


def _checked(
    where: str, row: Any, rater: str, facts: Mapping[str, Any], asked: set[tuple[str, str]]
) -> list[Rating]:
    if not isinstance(row, dict) or set(row) != {"item", "dimension", "value"}:
        raise BadData(f"{where}: expected item, dimension and value")
    item, dimension, value = row["item"], row["dimension"], row["value"]
    answer = facts["items"].get(item) if isinstance(item, str) else None
    if answer is None:
        raise BadData(f"{where}: the sheet has no question {item!r}")
    if (item, dimension) in asked:
        raise BadData(f"{where}: question '{item}' is answered twice in '{dimension}'")
    asked.add((item, str(dimension)))

    def rating(system: str, number: float, low: float, high: float) -> Rating:
        return Rating(rater=rater, system=system, task=answer["task"], sample_id=answer["sample_id"],
                      dimension=dimension, value=number, low=low, high=high)  # fmt: skip

    if not facts["dimensions"]:
        shares = {"a": (1.0, 0.0), "b": (0.0, 1.0), "equal": (0.5, 0.5)}
        if dimension != PREFERENCE or not isinstance(value, str) or value not in shares:
            raise BadData(f"{where}: expected the {PREFERENCE} a, b or equal, got {dimension!r} {value!r}")
        return [
            rating(system, share, 0, 1)
            for system, share in zip(answer["systems"], shares[value], strict=True)
        ]
    known = {d["name"]: d for d in facts["dimensions"]}
    if dimension not in known:
        raise BadData(f"{where}: dimension {dimension!r}; the sheet asks for {', '.join(known)}")
    low, high = known[dimension]["low"], known[dimension]["high"]
    if type(value) is not int or not low <= value <= high:
        raise BadData(f"{where}: value {value!r} is not a whole number from {low} to {high}")
    return [rating(answer["systems"][0], value, low, high)]


def ratings_csv(ratings: Sequence[Rating]) -> str:
    """Return the long table that `check judge --ratings` reads; no cell is a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for r in ratings:
        writer.writerow([safe_cell(getattr(r, name)) for name in COLUMNS])
    return out.getvalue()


def alpha(
    units: Sequence[Sequence[float]], scale: Literal["nominal", "ordinal", "interval"] = "ordinal"
) -> float | None:
    """Return Krippendorff's alpha, or None where it is not defined: nothing rated twice, or nothing varied.

    Args:
        units: per reply the values its raters gave; a reply rated once tells nothing.
        scale: what a difference of two values means.

    Source: Krippendorff (2011), Computing Krippendorff's alpha-reliability.
    """
    paired = [list(unit) for unit in units if len(unit) > 1]
    values = sorted({v for unit in paired for v in unit})
    total = sum(map(len, paired))
    if total == 0 or len(values) < 2:
        return None
    count = {v: sum(unit.count(v) for unit in paired) for v in values}

    def gap(a: float, b: float) -> float:
        if scale == "nominal":
            return float(a != b)
        if scale == "interval":
            return (a - b) ** 2
        low, high = sorted((a, b))
        between = sum(count[v] for v in values if low <= v <= high)
        return (between - (count[low] + count[high]) / 2) ** 2

    observed = math.fsum(
        math.fsum(gap(a, b) for a in unit for b in unit) / (len(unit) - 1) for unit in paired
    ) / total  # fmt: skip
    expected = math.fsum(count[a] * count[b] * gap(a, b) for a in values for b in values)
    return 1 - observed * total * (total - 1) / expected


def units_of(ratings: Sequence[Rating], dimension: str) -> list[list[float]]:
    """Return the values each reply got in one dimension."""
    units: dict[tuple[str, str, str], list[float]] = {}
    for r in ratings:
        if r.dimension == dimension:
            units.setdefault((r.system, r.task, r.sample_id), []).append(r.value)
    return list(units.values())


def human_cells(path: Path, runs: MergedRuns) -> dict[tuple[str, str], tuple[Cell, Cell]]:
    """Return (system, task) -> people's mean on 0 to 100, and the automatic measure.

    Every rating counts alike, put on 0 to 100 by its own range; the interval is over clusters of samples.
    """
    board = runs.board
    assert board is not None
    metric = text_judge(board) or board.headline
    cluster = dict(zip(runs.samples, clusters_of(list(runs.samples.values())), strict=True))
    points: dict[tuple[str, str], list[float]] = {}
    groups: dict[tuple[str, str], list[int]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise BadData(f"{path}:1: columns are {reader.fieldnames}; expected {', '.join(COLUMNS)}")
        for line, row in enumerate(reader, start=2):
            try:
                low, high, value = float(row["low"]), float(row["high"]), float(row["value"])
                group = cluster[row["task"], row["sample_id"]]
            except (ValueError, KeyError) as error:
                raise BadData(f"{path}:{line}: not a rating of these runs: {error}") from error
            cell = (row["system"].removeprefix("'"), row["task"])
            points.setdefault(cell, []).append(100 * (value - low) / (high - low))
            groups.setdefault(cell, []).append(group)
    sha256 = sha256_of_file(path)
    cells = {}
    for (system, task), found in points.items():
        e = cluster_mean(found, groups[system, task])
        interval = "" if e.low is None or e.high is None else f" [{e.low:.1f}, {e.high:.1f}]"
        rests_on = {"ratings": {"sha256": sha256, "system": system, "task": task}}
        human = Cell(
            text=f"{e.value:.1f}{interval}", value=e.value, low=e.low, high=e.high, rests_on=rests_on
        )
        summary = board.summaries.get((system, task, metric.name))
        cells[system, task] = (human, summary_cell(summary, metric, system, task))
    return cells
