"""Collected ratings: raters' files, checked against the key of the sheet and merged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData
from echat_eval.io.jsonl import loads
from echat_eval.io.ratings import Rating
from echat_eval.io.schema import ANYTHING, TEXT, Rule, Schema, list_of, mapping_of, whole
from echat_eval.report.rating.match import MATCH, POSITIONS, match_values
from echat_eval.report.rating.plan import require_plan
from echat_eval.report.rating.sheet import PREFERENCE

if TYPE_CHECKING:
    from pathlib import Path


__all__ = [
    "Collected",
    "RaterFacts",
    "collect",
    "match_groups",
    "open_key",
    "read_object",
    "read_ratings",
    "units_of",
]

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


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        BadData: no such file, too large, or another content.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadData(f"{path}: larger than {MAX_BYTES:,} bytes")
        found = loads(path.read_bytes())
    except OSError as error:
        raise BadData(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise BadData(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadData(f"{path}: expected an object, got {type(found).__name__}")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class RaterFacts:
    """How one rater answered.

    Attributes:
        answered, questions: number that were answered whole, and of all of the rater's.
        failed, checks: attention checks that were failed or left out, and all of the rater's.
        differed, repeats: repeated answers that are others than the first, and all of them.
        demographics: what the rater states about themselves.
    """

    rater: str
    answered: int = 0
    questions: int = 0
    failed: int = 0
    checks: int = 0
    differed: int = 0
    repeats: int = 0
    demographics: Mapping[str, str] = field(default_factory=dict)

    @property
    def left_out(self) -> bool:
        """Return whether the rater failed more than half of the attention checks."""
        return self.failed > self.checks / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """The opened answers of a sheet.

    Attributes:
        ratings: of the raters who paid attention.
        raters: all of them, also those who are left out.
        key: the content of the key.
        plan_kept: whether the analysis plan is the one that was written with the sheet.
    """

    ratings: tuple[Rating, ...]
    raters: tuple[RaterFacts, ...]
    key: Mapping[str, Any]
    plan_kept: bool


def open_key(key: Path) -> dict[str, Any]:
    """Return the content of a key.

    Raises:
        BadData: not the key of a rating sheet.
    """
    facts = read_object(key)
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
    _check_crew(key, facts)
    return facts


def _check_crew(key: Path, facts: Mapping[str, Any]) -> None:
    """Raise BadData if what the key keeps of raters, checks and repeated questions is malformed."""
    text_list = list_of(TEXT, "a list")
    checks, again = facts.get("checks", {}), [a["repeats"] for a in facts["items"].values() if "repeats" in a]
    faults = {
        "raters": "raters" in facts and not (_of(facts["raters"], text_list.holds) and facts["raters"]),
        "demographics": not text_list.holds(facts.get("demographics", [])),
        "checks": not _of(checks, lambda c: isinstance(c, list) and len(c) == 2 and TEXT.holds(c[0])),
        "repeats": not all(isinstance(name, str) and name in facts["items"] for name in again),
    }
    for name, wrong in faults.items():
        if wrong:
            raise BadData(f"{key}: '{name}' is not as `rate export` writes it; restore the file")


def _of(value: Any, holds: Callable[[Any], bool]) -> bool:
    return isinstance(value, dict) and all(map(holds, value.values()))


def read_ratings(key: Path, files: Sequence[Path]) -> list[Rating]:
    """Return every rating in the raters' files, with system names from the key; raises as `collect`."""
    return list(collect(key, files).ratings)


def collect(key: Path, files: Sequence[Path], *, plan_changed: bool = False) -> Collected:
    """Open the key and return the raters' answers.

    Args:
        key: the key file.
        files: one file per rater.
        plan_changed: go on although the analysis plan changed since the sheet was written.

    Raises:
        UsageError: the analysis plan changed.
        BadData: a file of another sheet, a question or value that the sheet does not have, a duplicate
            rater, a rater without consent, or no rater who paid attention.
    """
    facts = open_key(key)
    plan_kept = require_plan(key, facts, changed=plan_changed)
    found: list[Rating] = []
    people: list[RaterFacts] = []
    seen: dict[str, Path] = {}
    for path in files:
        answers = _rater_file(path, key, facts)
        rater = answers["rater"]
        if rater in seen:
            raise BadData(f"{path}: rater '{rater}' is also in {seen[rater]}; keep one file per rater")
        seen[rater] = path
        given: dict[tuple[str, str], Any] = {}
        own = set(facts["raters"][rater]) if "raters" in facts else None
        rows: dict[tuple[str, str], list[Rating]] = {}
        for number, row in enumerate(answers["ratings"], start=1):
            location = f"{path}: rating {number}"
            checked = _checked(location, row, rater, facts, given)
            if own is not None and row["item"] not in own:
                raise BadData(f"{location}: question '{row['item']}' is not one of rater '{rater}'")
            rows[row["item"], row["dimension"]] = checked
        person = _person(answers, given, facts)
        people.append(person)
        if not person.left_out:
            items = facts["items"]
            found += [r for (item, _), rs in rows.items() if "repeats" not in items.get(item, {}) for r in rs]
    if people and all(person.left_out for person in people):
        raise BadData(f"{key}: every rater failed more than half of the attention checks; no rating is left")
    return Collected(ratings=tuple(found), raters=tuple(people), key=facts, plan_kept=plan_kept)


def _rater_file(path: Path, key: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rater's file, if it answers this sheet."""
    answers = read_object(path)
    for _, message in _FILE.faults(answers):
        raise BadData(
            f"{path}: {message}; not a rater's file, which the sheet's button 'Save my ratings' writes"
        )
    if answers.get("sheet") != facts["sheet"]:
        raise BadData(f"{path}: answers another sheet than the one of {key}")
    if "raters" in facts and answers["rater"] not in facts["raters"]:
        known = list(facts["raters"])
        raise BadData(f"{path}: rater '{answers['rater']}' is none of the sheet, {known[0]} to {known[-1]}")
    if facts.get("consent") and answers.get("consented") is not True:
        raise BadData(
            f"{path}: rater '{answers['rater']}' did not agree to the consent text; leave the file out"
        )
    return answers


def _person(
    answers: Mapping[str, Any], given: Mapping[tuple[str, str], Any], facts: Mapping[str, Any]
) -> RaterFacts:
    """Return how much a rater answered, and how attention checks and repeated questions."""
    every = {**facts["items"], **facts.get("checks", {})}
    own = facts["raters"][answers["rater"]] if "raters" in facts else every
    stated = {name: check for name, check in facts.get("checks", {}).items() if name in own}
    checks = [given.get((name, d)) == value for name, (d, value) in stated.items()]
    rated = _dimensions(facts)
    whole_answers = [
        all((name, d) in given for d in ([stated[name][0]] if name in stated else rated)) for name in own
    ]
    same = [
        value == given[first, dimension]
        for (item, dimension), value in given.items()
        if (first := facts["items"].get(item, {}).get("repeats")) and (first, dimension) in given
    ]
    stated_facts = answers.get("demographics")
    demographics = stated_facts if isinstance(stated_facts, dict) else {}
    return RaterFacts(
        rater=answers["rater"],
        answered=sum(whole_answers),
        questions=len(whole_answers),
        failed=checks.count(False),
        checks=len(checks),
        differed=same.count(False),
        repeats=len(same),
        demographics={
            name: str(demographics[name]) for name in facts.get("demographics", ()) if demographics.get(name)
        },
    )


def _dimensions(facts: Mapping[str, Any]) -> list[str]:
    """Return what every question of a sheet asks."""
    own = [dimension["name"] for dimension in facts["dimensions"]]
    return [MATCH, *own] if facts.get("match") else own or [PREFERENCE]


def _checked(
    location: str, row: Any, rater: str, facts: Mapping[str, Any], given: dict[tuple[str, str], Any]
) -> list[Rating]:
    _RATING.check(row, location)
    item, dimension, value = row["item"], row["dimension"], row["value"]
    if (item, dimension) in given:
        raise BadData(f"{location}: question '{item}' is answered twice in '{dimension}'")
    given[item, dimension] = value
    if item in facts.get("checks", {}):
        return []
    answer = facts["items"].get(item)
    if answer is None:
        raise BadData(f"{location}: the sheet has no question {item!r}")

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

    ranges = {d["name"]: d for d in facts["dimensions"]}
    if facts.get("match") and dimension not in ranges:
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
    if dimension not in ranges:
        raise BadData(f"{location}: dimension {dimension!r}; the sheet asks for {', '.join(ranges)}")
    low, high = ranges[dimension]["low"], ranges[dimension]["high"]
    if type(value) is not int or not low <= value <= high:
        raise BadData(f"{location}: value {value!r} is not a whole number from {low} to {high}")
    return [rating(answer["systems"][0], value, low, high)]


def match_groups(key: Path) -> dict[tuple[str, str], str]:
    """Return (task, sample id) -> contrast group of a match sheet's questions; empty for other sheets."""
    facts = read_object(key)
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
