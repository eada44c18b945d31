"""Collected ratings: raters' files, checked against the key of the sheet and merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData
from echat_eval.io.jsonl import loads
from echat_eval.io.schema import ANYTHING, TEXT, Rule, Schema, list_of, mapping_of, whole
from echat_eval.report.rating.match import MATCH, POSITIONS, match_values
from echat_eval.report.rating.sheet import PREFERENCE
from echat_eval.report.rating.table import Rating

if TYPE_CHECKING:
    from pathlib import Path


__all__ = ["match_groups", "read_ratings", "units_of"]

_DIMENSION = Schema({"name": TEXT, "low": whole(-100, 100), "high": whole(-100, 100)}, closed=False)
_ANSWER = Schema(
    {"task": TEXT, "sample_id": TEXT, "systems": list_of(TEXT, "a list of systems")}, closed=False
)
#: One rating in a rater's file; the sheet's key decides which values are valid.
_RATING = Schema({"item": TEXT, "dimension": TEXT, "value": ANYTHING})
#: A rater's file; the page may add facts.
_FILE = Schema({"rater": TEXT, "ratings": list_of(ANYTHING, "a list of ratings")}, closed=False)
#: The key of a sheet, as `rate export` writes it; a later version may add facts.
_KEY = Schema(
    {
        "sheet": TEXT,
        "dimensions": list_of(Rule(_DIMENSION.holds, ""), "a list of name, low and high"),
        "items": mapping_of(
            Rule(_ANSWER.holds, ""),
            "an object of task, sample_id and systems for each question",
        ),
    },
    closed=False,
)

MAX_BYTES = 16 * 2**20


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
    """Return every rating in the raters' files, with system names from the key.

    Raises:
        BadData: a file of another sheet, a question or value that the sheet does not have, a duplicate rater.
    """
    facts = _loaded(key)
    for name, message in _KEY.faults(facts):
        raise BadData(
            f"{key}: {message or name}; not the key of a rating sheet, which `rate export` writes beside it"
        )
    count = 1 if facts["dimensions"] or facts.get("match") else 2
    if any(len(answer["systems"]) != count for answer in facts["items"].values()):
        raise BadData(f"{key}: 'items' have other than {count} system(s) each; restore the file")
    if facts.get("match") and any(a.get("own") not in POSITIONS for a in facts["items"].values()):
        raise BadData(
            f"{key}: 'items' lack 'own', the position of the voice that was answered; restore the file"
        )
    found: list[Rating] = []
    seen: dict[str, Path] = {}
    for path in files:
        answers = _loaded(path)
        for _, message in _FILE.faults(answers):
            raise BadData(
                f"{path}: {message}; not a rater's file, which the sheet's button 'Save my ratings' writes"
            )
        rater = answers["rater"]
        if answers.get("sheet") != facts["sheet"]:
            raise BadData(f"{path}: answers another sheet than the one of {key}")
        if rater in seen:
            raise BadData(f"{path}: rater '{rater}' is also in {seen[rater]}; keep one file per rater")
        seen[rater] = path
        answered: set[tuple[str, str]] = set()
        for number, row in enumerate(answers["ratings"], start=1):
            found += _checked(f"{path}: rating {number}", row, rater, facts, answered)
    return found


def _checked(
    location: str, row: Any, rater: str, facts: Mapping[str, Any], answered: set[tuple[str, str]]
) -> list[Rating]:
    _RATING.check(row, location)
    item, dimension, value = row["item"], row["dimension"], row["value"]
    answer = facts["items"].get(item)
    if answer is None:
        raise BadData(f"{location}: the sheet has no question {item!r}")
    if (item, dimension) in answered:
        raise BadData(f"{location}: question '{item}' is answered twice in '{dimension}'")
    answered.add((item, dimension))

    def rating(system: str, number: float, low: float, high: float) -> Rating:
        return Rating(
            rater=rater,
            system=system,
            task=answer["task"],
            sample_id=answer["sample_id"],
            dimension=dimension,
            value=number,
            low=low,
            high=high,
        )

    if facts.get("match"):
        if dimension != MATCH or value not in ("a", "b", "equal"):
            raise BadData(f"{location}: expected the {MATCH} a, b or equal, got {dimension!r} {value!r}")
        row_dimension, *numbers = match_values(value, answer)
        return [replace(rating(answer["systems"][0], *numbers), dimension=row_dimension)]
    if not facts["dimensions"]:
        preferences = {"a": (1.0, 0.0), "b": (0.0, 1.0), "equal": (0.5, 0.5)}
        if dimension != PREFERENCE or not isinstance(value, str) or value not in preferences:
            raise BadData(f"{location}: expected the {PREFERENCE} a, b or equal, got {dimension!r} {value!r}")
        return [
            rating(system, share, 0, 1)
            for system, share in zip(answer["systems"], preferences[value], strict=True)
        ]
    ranges = {d["name"]: d for d in facts["dimensions"]}
    if dimension not in ranges:
        raise BadData(f"{location}: dimension {dimension!r}; the sheet asks for {', '.join(ranges)}")
    low, high = ranges[dimension]["low"], ranges[dimension]["high"]
    if type(value) is not int or not low <= value <= high:
        raise BadData(f"{location}: value {value!r} is not a whole number from {low} to {high}")
    return [rating(answer["systems"][0], value, low, high)]


def match_groups(key: Path) -> dict[tuple[str, str], str]:
    """Return (task, sample id) -> contrast group of a match sheet's questions; empty for other sheets."""
    facts = _loaded(key)
    if not facts.get("match"):
        return {}
    return {(a["task"], a["sample_id"]): str(a.get("group")) for a in facts["items"].values()}


def units_of(ratings: Sequence[Rating], dimension: str) -> list[list[float]]:
    """Return the values of each reply in one dimension."""
    units: dict[tuple[str, str, str], list[float]] = {}
    for r in ratings:
        if r.dimension == dimension:
            units.setdefault((r.system, r.task, r.sample_id), []).append(r.value)
    return list(units.values())
