"""Agreement of a judge with people about pairs of replies: which of the two is better?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.errors import BadData
from echat_eval.io.ratings import read_ratings_csv
from echat_eval.report.rating.agreement import Agreement, jackknifed
from echat_eval.report.rating.facts import require_same_replies
from echat_eval.report.rating.judge_agreement import judge_column
from echat_eval.report.rating.match import MATCH, OVER_REACTION
from echat_eval.stats.factors import as_design, units_of
from echat_eval.stats.shares import clustered_share
from echat_eval.store.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from echat_eval.io.ratings import Rating

__all__ = [
    "PairAgreement",
    "compare_run_pairs",
    "is_of_pair",
    "kinds_of",
    "require_decided",
    "share",
    "winner_points",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairAgreement:
    """Agreement of a judge with people's labels of pairs, in one dimension.

    Attributes:
        same: share of all pairs with the same one of four answers, in percent; None if the judge grades each
            reply alone and gives no such answer.
        winner: share of the pairs that people decided in which the judge names the same winner; a tie of the
            judge counts half. No value if people decided none.
        pairs: number of pairs that both answered.
        unjudged: labelled pairs without an answer of the judge, which are in no number.
        ties: pairs that people decided, and to whose replies the judge gives one score.
    """

    dimension: str
    same: Agreement | None
    winner: Agreement
    pairs: int
    unjudged: int
    ties: int = 0


def is_of_pair(rating: Rating) -> bool:
    """Return whether a rating is half of a comparison of two replies: 1 or 0, or 0.5 for both."""
    if rating.dimension in (MATCH, OVER_REACTION):
        return False
    return (rating.low, rating.high) == (0.0, 1.0) and rating.value in (0.0, 0.5, 1.0)


def kinds_of(path: Path) -> tuple[bool, bool]:
    """Return whether a table of ratings has comparisons of two replies, and whether it has others."""
    kinds = {is_of_pair(rating) for rating in read_ratings_csv(path)}
    return True in kinds, False in kinds


def compare_run_pairs(path: Path, folder: Path, rubric: str | None) -> list[PairAgreement]:
    """Return how often the scores of a run's judge name people's winner, per dimension.

    Args:
        path: CSV file of ratings; only comparisons of two replies are read.
        folder: the run folder with both replies.
        rubric: as in `compare_run`.

    Raises:
        UsageError: several judges have the rubric.
        BadData: not such a file or folder, or no pair that both answered, or nothing but ties.
    """
    run = RunFolder.existing(folder)
    require_same_replies(path, run.responses())
    clusters = units_of(run.samples())
    metric = judge_column(run, rubric)
    points = {
        (score.system, score.task, score.sample_id): score.value
        for score in run.scores().values()
        if score.metric == metric and score.state == "value" and score.value is not None
    }
    found = []
    compared = _pairs(path, read_ratings_csv(path))
    for dimension, pairs in compared.items():
        judged = [pair for pair in pairs if pair.first in points and pair.second in points]
        decided = [pair for pair in judged if pair.people != 0]
        if judged:
            found.append(
                PairAgreement(
                    dimension=dimension,
                    same=None,
                    winner=share(
                        [
                            winner_points(np.sign(points[pair.first] - points[pair.second]), pair.people)
                            for pair in decided
                        ],
                        [clusters.get(pair.first[1:], pair.first[1:]) for pair in decided],
                    ),
                    pairs=len(judged),
                    unjudged=len(pairs) - len(judged),
                    ties=sum(points[pair.first] == points[pair.second] for pair in decided),
                )
            )
    if not found:
        raise BadData(
            f"{path}: no pair of replies that {metric} of {run.path} scored; are system, task and sample_id "
            "spelled alike?"
        )
    require_decided(path, found)
    return found


def require_decided(path: Path, found: Iterable[PairAgreement]) -> None:
    """Raise BadData if people named no winner at all."""
    if all(agreement.winner.value is None for agreement in found):
        raise BadData(f"{path}: every label is a tie, so no winner can be compared")


def winner_points(judge: float, people: float) -> float:
    """Return 100 if a judge names people's winner, 0 for the other one, 50 for a tie (0) of the judge."""
    return 50.0 if judge == 0 else 100.0 * (judge == people)


def share(values: Sequence[float], clusters: Sequence[Hashable]) -> Agreement:
    """Return the mean of values in percent, with its interval over clusters; no value without any.

    Where all values are 0, or all are 100, the interval is Clopper and Pearson's for one value per cluster;
    where all are ties, there is none.
    """
    if not values:
        return Agreement(value=None, low=None, high=None, n=0, clusters=0)
    x = np.asarray(values)
    if np.ptp(x) == 0:
        groups = as_design(clusters).clusters
        alike = Agreement(value=float(x[0]), low=None, high=None, n=len(x), clusters=groups)
        found = clustered_share(np.full(groups, x[0] == 100), range(groups))
        if x[0] not in (0.0, 100.0) or found.low is None or found.high is None:
            return alike
        return replace(alike, low=100 * found.low, high=100 * found.high)

    def mean(rows: NDArray[np.int64]) -> float | None:
        return float(x[rows].mean()) if len(rows) else None

    return jackknifed(mean, clusters, bounds=(0.0, 100.0))


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two replies (system, task, sample id), and people's winner: 1 the first, -1 the second, 0 neither."""

    first: tuple[str, str, str]
    second: tuple[str, str, str]
    people: float


def _pairs(path: Path, ratings: Iterable[Rating]) -> Mapping[str, list[_Pair]]:
    """Return dimension -> the comparisons of each rater."""
    halves: dict[tuple[str, str, str, str], list[Rating]] = {}
    for rating in ratings:
        if is_of_pair(rating):
            ident = (rating.dimension, rating.rater, rating.task, rating.sample_id)
            halves.setdefault(ident, []).append(rating)
    found: dict[str, list[_Pair]] = {}
    for (dimension, rater, task, sample), both in halves.items():
        if len(both) != 2 or both[0].value + both[1].value != 1:
            raise BadData(
                f"{path}: {len(both)} values of rater '{rater}' for '{dimension}' of sample '{sample}' of "
                f"task '{task}', each from 0 to 1; expected two that add up to 1, one per reply of a pair"
            )
        first, second = ((half.system, half.task, half.sample_id) for half in both)
        found.setdefault(dimension, []).append(
            _Pair(first, second, float(np.sign(both[0].value - both[1].value)))
        )
    return found
