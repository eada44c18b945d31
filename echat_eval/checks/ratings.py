"""Does a judge agree with people? A run's verdicts beside raters' ratings of the same replies."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.checks.agreement import (
    Agreement,
    jackknifed,
    kendall,
    krippendorff_alpha,
    quadratic_kappa,
    spearman,
)
from echat_eval.errors import BadData

if TYPE_CHECKING:
    from collections.abc import Hashable

    from echat_eval.records import Score

__all__ = ["COLUMNS", "Against", "Rating", "compare", "read_ratings"]

#: The columns of a ratings file; one row a rating.
COLUMNS = ("rater", "system", "task", "sample_id", "dimension", "rating")
Reply = tuple[str, str, str]  # system, task, sample id


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """What one rater gave one reply on one dimension ("score" is the whole, 0 to 100)."""

    rater: str
    reply: Reply
    dimension: str
    rating: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """A judge against people, on one dimension, over all systems or within one.

    Attributes:
        raters: Krippendorff's ordinal alpha among the people: nobody agrees better than they do.
        kappa: against the people's mean rounded to whole grades; None where grades are not whole numbers.
    """

    dimension: str
    system: str
    spearman: Agreement
    kendall: Agreement
    kappa: Agreement
    alpha: Agreement
    raters: Agreement


def read_ratings(path: Path) -> list[Rating]:
    """Return the ratings of a CSV file.

    Raises:
        BadData: with file and line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            if tuple(table.fieldnames or ()) != COLUMNS:
                raise BadData(f"{path}:1: columns are {table.fieldnames}, expected {','.join(COLUMNS)}")
            return [_rating(path, line, row) for line, row in enumerate(table, 2)]
    except OSError as error:
        raise BadData(f"{path}: cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadData(f"{path}: not a CSV file in UTF-8: {error}") from error


def _rating(path: Path, line: int, row: Mapping[str | None, str | None]) -> Rating:
    try:
        value = float(row["rating"] or "")
    except ValueError as error:
        raise BadData(f"{path}:{line}: rating is {row['rating']!r}, expected a number") from error
    if not np.isfinite(value) or None in row:
        raise BadData(f"{path}:{line}: expected {len(COLUMNS)} columns and a finite rating")
    return Rating(
        rater=str(row["rater"]), dimension=str(row["dimension"]), rating=value,
        reply=(str(row["system"]), str(row["task"]), str(row["sample_id"])),
    )  # fmt: skip


def compare(
    ratings: Sequence[Rating], scores: Sequence[Score], clusters: Mapping[tuple[str, str], Hashable]
) -> list[Against]:
    """Return how a judge agrees with people, per dimension, over all systems and within each.

    Args:
        scores: a judge's text scores of one run; grades are in their evidence.
        clusters: (task, sample id) -> cluster.

    Raises:
        BadData: no reply was both rated and judged.
    """
    graded: dict[tuple[Reply, str], float] = {}
    for score in scores:
        if score.state == "value" and score.value is not None and "grades" in score.evidence:
            reply = (score.system, score.task, score.sample_id)
            graded |= {(reply, name): grade for name, grade in score.evidence["grades"].items()}
            graded[reply, "score"] = score.value
    by_people: dict[tuple[Reply, str], list[float]] = {}
    for rating in ratings:
        by_people.setdefault((rating.reply, rating.dimension), []).append(rating.rating)
    shared = [key for key in by_people if key in graded]
    if not shared:
        raise BadData(
            "no reply was both rated and judged; are system, task, sample_id and dimension spelled alike?"
        )
    found = []
    for dimension in dict.fromkeys(dimension for _, dimension in shared):
        replies = [reply for reply, name in shared if name == dimension]
        for system in ("all", *dict.fromkeys(reply[0] for reply in replies)):
            chosen = [reply for reply in replies if system in ("all", reply[0])]
            found.append(_against(dimension, system, chosen, by_people, graded, clusters))
    return found


def _against(
    dimension: str,
    system: str,
    replies: Sequence[Reply],
    by_people: Mapping[tuple[Reply, str], list[float]],
    graded: Mapping[tuple[Reply, str], float],
    clusters: Mapping[tuple[str, str], Hashable],
) -> Against:
    people = [by_people[reply, dimension] for reply in replies]
    mean = np.array([fmean(unit) for unit in people])
    judge = np.array([graded[reply, dimension] for reply in replies])
    where = [clusters.get(reply[1:], reply[1:]) for reply in replies]
    whole = dimension != "score" and bool((judge == np.rint(judge)).all())
    return Against(
        dimension=dimension,
        system=system,
        spearman=jackknifed(lambda i: spearman(mean[i], judge[i]), where),
        kendall=jackknifed(lambda i: kendall(mean[i], judge[i]), where),
        kappa=jackknifed(lambda i: quadratic_kappa(np.rint(mean[i]), judge[i]) if whole else None, where),
        alpha=jackknifed(lambda i: krippendorff_alpha([[mean[k], judge[k]] for k in i], "interval"), where),
        raters=jackknifed(lambda i: krippendorff_alpha([people[k] for k in i], "ordinal"), where),
    )
