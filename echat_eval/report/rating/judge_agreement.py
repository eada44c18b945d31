"""Agreement of a judge with people: a run's verdicts against raters' ratings of the same replies."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.errors import BadData, UsageError
from echat_eval.io.ratings import read_ratings_csv
from echat_eval.judge import DEFAULT_RUBRIC
from echat_eval.records import JudgeEvidence
from echat_eval.report.rating.agreement import (
    Agreement,
    Ratings,
    interval_alpha,
    jackknifed,
    kendall,
    krippendorff_alpha,
    quadratic_kappa,
    spearman,
)
from echat_eval.report.rating.facts import require_same_replies
from echat_eval.scorers.judged import Judged
from echat_eval.scorers.judged_voice import JudgedVoice
from echat_eval.stats.factors import units_of
from echat_eval.store.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path

    from numpy.typing import NDArray

    from echat_eval.io.ratings import Rating
    from echat_eval.records import Score

__all__ = [
    "STATISTICS",
    "JudgeAgreement",
    "RatedReplies",
    "agreements_of",
    "compare",
    "compare_run",
    "judge_column",
]

Reply = tuple[str, str, str]  # system, task, sample id


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeAgreement:
    """Agreement of a judge with people on one dimension, over all systems or within one.

    A judge is one rater more, so it is held against one rater: each rater in turn is left out, and both the
    rater and the judge are compared with the mean of the others, on the replies of that rater. The values are
    means over raters. Against the mean of all raters a judge would look better than any one of them, because
    the mean has less noise.

    Attributes:
        judge: statistic -> agreement of the judge with the other raters; if there is one rater, with that
            one.
        one_rater: statistic -> agreement of the rater who was left out with the same others; no value if
            there is one rater.
        difference: statistic -> judge minus one rater; above 0: the judge agrees better.
        alpha: Krippendorff's ordinal alpha among the people.
        raters: number of raters of these replies.
        unjudged: rated replies without a verdict, which are in no number.
    """

    dimension: str
    system: str
    judge: Mapping[str, Agreement]
    one_rater: Mapping[str, Agreement]
    difference: Mapping[str, Agreement]
    alpha: Agreement
    raters: int
    unjudged: int


#: Statistic -> its function of two raters' values; kappa is of whole grades only.
STATISTICS: Mapping[str, Callable[[Ratings, Ratings], float | None]] = MappingProxyType(
    {
        "Spearman": spearman,
        "Kendall's tau-b": kendall,
        "quadratic kappa": lambda a, b: quadratic_kappa(np.rint(a), np.rint(b)),
        "Krippendorff's alpha": interval_alpha,
    }
)


def compare(
    ratings: Sequence[Rating], scores: Sequence[Score], clusters: Mapping[tuple[str, str], Hashable]
) -> list[JudgeAgreement]:
    """Return the agreement of a judge with people per dimension, over all systems and within each.

    Args:
        scores: a judge's text scores of one run; grades are in their evidence.
        clusters: (task, sample id) -> cluster.

    Raises:
        BadData: no reply is both rated and judged.
    """
    graded: dict[tuple[Reply, str], float] = {}
    for score in scores:
        if score.value is not None and isinstance(score.evidence, JudgeEvidence) and score.state == "value":
            reply = (score.system, score.task, score.sample_id)
            graded |= {(reply, name): grade for name, grade in score.evidence.grades.items()}
            graded[reply, "score"] = score.value
    by_people: dict[tuple[Reply, str], dict[str, float]] = {}
    for rating in ratings:
        reply = (rating.system, rating.task, rating.sample_id)
        by_people.setdefault((reply, rating.dimension), {})[rating.rater] = rating.value
    if not any(key in graded for key in by_people):
        raise BadData(
            "no reply is both rated and judged; are system, task, sample_id and dimension spelled alike?"
        )
    agreements = []
    for dimension in dict.fromkeys(name for (_, name) in by_people if any(name == n for _, n in graded)):
        rated = [reply for reply, name in by_people if name == dimension]
        for system in ("all", *dict.fromkeys(reply[0] for reply in rated)):
            of_system = [reply for reply in rated if system in ("all", reply[0])]
            replies = [reply for reply in of_system if (reply, dimension) in graded]
            if replies:
                pairs = RatedReplies.of(dimension, replies, by_people, graded)
                cluster = [clusters.get(reply[1:], reply[1:]) for reply in replies]
                unjudged = len(of_system) - len(replies)
                agreements.append(_agreement(dimension, system, pairs, cluster, unjudged))
    return agreements


def compare_run(path: Path, folder: Path, rubric: str | None) -> list[JudgeAgreement]:
    """Return the agreement of the judge of a run with people.

    Args:
        path: CSV file of `rate import`.
        folder: the run folder whose replies were rated.
        rubric: name of the judge in the run, or its rubric if no other judge of the run has it; None: the
            only judge of the run, or the one with the default rubric.

    Raises:
        UsageError: several judges have the rubric, or may be meant.
        BadData: not a file of ratings, not a run folder, or no reply is both rated and judged.
    """
    run = RunFolder.existing(folder)
    require_same_replies(path, run.responses())
    samples = run.samples()
    clusters = units_of(samples)
    metric = judge_column(run, rubric)
    scores = [score for score in run.scores().values() if score.metric == metric]
    return compare(read_ratings_csv(path), scores, clusters)


def judge_column(run: RunFolder, rubric: str | None) -> str:
    """Return the metric of a judge that grades replies, by its name or rubric; raises as `compare_run`."""
    columns = {
        name.partition(":")[2]: (facts.settings.get("rubric"), facts.metrics[0])
        for name, facts in run.manifest().scorers.items()
        if name.partition(":")[0] in (Judged.kind, JudgedVoice.kind) and facts.metrics
    }
    if rubric is None and len(columns) == 1:
        return next(iter(columns.values()))[1]
    wanted = rubric or DEFAULT_RUBRIC
    if wanted in columns:
        return columns[wanted][1]
    found = {name: metric for name, (of, metric) in columns.items() if of == wanted}
    if len(found) > 1 or (not found and rubric is None and columns):
        names = ", ".join(name or "unnamed" for name in found or columns)
        meant = f"judges have the rubric '{wanted}'" if found else "judges"
        raise UsageError(
            f"{run.path}: {len(found or columns)} {meant} ({names}); give the name of one as --rubric"
        )
    return next(iter(found.values()), f"judge_{wanted}".replace("-", "_"))


@dataclass(frozen=True, slots=True)
class RatedReplies:
    """Ratings of the same replies by people and by a judge.

    Attributes:
        people: (replies, raters); NaN where a rater did not rate a reply.
        judge: (replies,).
    """

    people: Ratings
    judge: Ratings

    @classmethod
    def of(
        cls,
        dimension: str,
        replies: Sequence[Reply],
        by_people: Mapping[tuple[Reply, str], Mapping[str, float]],
        graded: Mapping[tuple[Reply, str], float],
    ) -> RatedReplies:
        """Return the ratings of replies that are both rated and judged."""
        return cls.of_units(
            [by_people[reply, dimension] for reply in replies],
            [graded[reply, dimension] for reply in replies],
        )

    @classmethod
    def of_units(cls, units: Sequence[Mapping[str, float]], judge: Sequence[float]) -> RatedReplies:
        """Return the ratings of replies, each with its raters' values and the judge's."""
        raters = sorted({rater for unit in units for rater in unit})
        people = np.array([[unit.get(rater, math.nan) for rater in raters] for unit in units])
        return cls(people, np.array(judge, dtype=np.float64))

    def left_out(
        self, statistic: Callable[[Ratings, Ratings], float | None], rows: NDArray[np.int64]
    ) -> tuple[float, float] | None:
        """Return the agreement of the judge, and of the rater left out, with the others, over raters.

        None if no rater shares replies with others, or if a statistic is undefined for each of them.
        """
        found = []
        raters = self.people.shape[1]
        for rater in range(raters):
            own, others = self.people[rows, rater], np.delete(self.people[rows], rater, axis=1)
            shared = ~np.isnan(own) & ~np.isnan(others).all(axis=1)
            if raters == 1:
                value = statistic(self.judge[rows], own)
                return None if value is None else (value, math.nan)
            if shared.any():
                mean = np.nanmean(others[shared], axis=1)
                both = statistic(self.judge[rows][shared], mean), statistic(own[shared], mean)
                if both[0] is not None and both[1] is not None:
                    found.append((both[0], both[1]))
        return (fmean(a for a, _ in found), fmean(b for _, b in found)) if found else None


def agreements_of(
    dimension: str,
    system: str,
    units: Sequence[Mapping[str, float]],
    judge: Sequence[float],
    clusters: Sequence[Hashable],
    *,
    unjudged: int,
) -> JudgeAgreement:
    """Return the agreement of a judge with people on replies that both graded.

    Args:
        dimension, system: names of the result.
        units: per reply rater -> value.
        judge: (replies,) the judge's grades.
        clusters: (replies,) clusters.
        unjudged: number of further rated replies without a grade of the judge.
    """
    return _agreement(dimension, system, RatedReplies.of_units(units, judge), clusters, unjudged)


def _agreement(
    dimension: str, system: str, pairs: RatedReplies, cluster: Sequence[Hashable], unjudged: int
) -> JudgeAgreement:
    whole = dimension != "score" and bool((pairs.judge == np.rint(pairs.judge)).all())
    names = [name for name in STATISTICS if whole or name != "quadratic kappa"]

    known: dict[tuple[str, bytes], tuple[float, float] | None] = {}

    def left_out(name: str, rows: NDArray[np.int64]) -> tuple[float, float] | None:
        """Return the agreement of the judge and of one rater, computed once for both and their difference."""
        key = name, rows.tobytes()
        if key not in known:
            known[key] = pairs.left_out(STATISTICS[name], rows)
        return known[key]

    def agreements(of: Callable[[float, float], float], largest: float = 1.0) -> dict[str, Agreement]:
        """Return statistic -> a function of the judge's and of one rater's agreement."""

        def one(name: str) -> Agreement:
            def value(rows: NDArray[np.int64]) -> float | None:
                both = left_out(name, rows)
                found = math.nan if both is None else of(*both)
                return None if math.isnan(found) else found

            return jackknifed(value, cluster, bounds=(-largest, largest))

        return {name: one(name) for name in names}

    def among_people(rows: NDArray[np.int64]) -> float | None:
        return krippendorff_alpha([unit[~np.isnan(unit)].tolist() for unit in pairs.people[rows]], "ordinal")

    return JudgeAgreement(
        dimension=dimension,
        system=system,
        judge=agreements(lambda judge, _: judge),
        one_rater=agreements(lambda _, rater: rater),
        difference=agreements(lambda judge, rater: judge - rater, largest=2.0),
        alpha=jackknifed(among_people, cluster),
        raters=pairs.people.shape[1],
        unjudged=unjudged,
    )
