"""Raters of questions, and the questions that show whether a rater pays attention."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from echat_eval.errors import UsageError

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

__all__ = ["OVERLAP", "Crew", "Dimension", "assign", "rater_names", "stated_answer"]

#: Raters of a question, unless stated.
OVERLAP = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """One question about a reply: whole numbers from low to high."""

    name: str
    low: int
    high: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """The raters of a sheet.

    Attributes:
        raters: number of raters; None: everyone rates everything.
        overlap: raters of each question; unused if everyone rates everything.
        checks: for each rater, questions that state their answer, and as many questions that come twice.
        consent: text that a rater must agree to; None: none.
        pay: what the page states on pay; None: nothing.
        demographics: facts of themselves that raters are asked for, such as "age"; they may leave them empty.
    """

    raters: int | None = None
    overlap: int = OVERLAP
    checks: int = 0
    consent: str | None = None
    pay: str | None = None
    demographics: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise UsageError if the raters are too few for the overlap."""
        if self.raters is not None and self.raters < self.overlap:
            raise UsageError(
                f"--overlap {self.overlap} with --raters {self.raters}: a question cannot have more raters "
                "than there are; lower one of them"
            )

    def facts(self) -> dict[str, Any]:
        """Return what the page shows and the key keeps."""
        found = {"consent": self.consent, "pay": self.pay, "demographics": list(self.demographics)}
        return {name: value for name, value in found.items() if value}


def rater_names(raters: int) -> list[str]:
    """Return the names that a sheet gives its raters: "r1", "r2", and so on."""
    return [f"r{n + 1}" for n in range(raters)]


def assign(systems: Mapping[str, str], raters: int, overlap: int, rng: random.Random) -> dict[str, list[str]]:
    """Return rater -> questions: each question has `overlap` raters, loads differ by one question at most.

    Args:
        systems: question -> the system whose reply is rated; raters get as many of each.
        raters: number of raters.
        overlap: raters of each question.
        rng: breaks ties, so that any two raters may meet.
    """
    names = rater_names(raters)
    of_system: Counter[tuple[str, str]] = Counter()
    in_all: Counter[str] = Counter()
    found: dict[str, list[str]] = {name: [] for name in names}
    for question in rng.sample(list(systems), len(systems)):
        system = systems[question]
        ranked = sorted(names, key=lambda name: (in_all[name], of_system[name, system], rng.random()))
        for name in ranked[:overlap]:
            found[name].append(question)
            in_all[name] += 1
            of_system[name, system] += 1
    return found


def stated_answer(kind: str, dimensions: Sequence[Dimension], rng: random.Random) -> tuple[str, int | str]:
    """Return dimension and answer of a question that states its answer.

    Args:
        kind: "match" or "preference"; "" for grades.
        dimensions: of the grades.
        rng: draws the answer.
    """
    if kind:
        return kind, rng.choice(["a", "equal", "b"])
    return dimensions[0].name, rng.randint(dimensions[0].low, dimensions[0].high)
