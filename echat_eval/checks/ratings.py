"""Agreement of a judge with people: a run's verdicts against raters' ratings of the same replies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from echat_eval.records import JudgeEvidence
from echat_eval.report.rating.table import read_ratings_csv
from echat_eval.stats.factors import units_of
from echat_eval.store.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path

    from echat_eval.records import Score
    from echat_eval.report.rating.table import Rating

__all__ = ["JudgeAgreement", "compare", "compare_run"]

Reply = tuple[str, str, str]  # system, task, sample id


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeAgreement:
    """Agreement of a judge with people on one dimension, over all systems or within one.

    Attributes:
        raters: Krippendorff's ordinal alpha among the people, an upper bound for any judge.
        kappa: with the people's mean rounded to whole grades; None if grades are not whole numbers.
    """

    dimension: str
    system: str
    spearman: Agreement
    kendall: Agreement
    kappa: Agreement
    alpha: Agreement
    raters: Agreement


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
    by_people: dict[tuple[Reply, str], list[float]] = {}
    for rating in ratings:
        reply = (rating.system, rating.task, rating.sample_id)
        by_people.setdefault((reply, rating.dimension), []).append(rating.value)
    shared = [key for key in by_people if key in graded]
    if not shared:
        raise BadData(
            "no reply is both rated and judged; are system, task, sample_id and dimension spelled alike?"
        )
    agreements = []
    for dimension in dict.fromkeys(dimension for _, dimension in shared):
        replies = [reply for reply, name in shared if name == dimension]
        for system in ("all", *dict.fromkeys(reply[0] for reply in replies)):
            of_system = [reply for reply in replies if system in ("all", reply[0])]
            agreements.append(_agreement(dimension, system, of_system, by_people, graded, clusters))
    return agreements


def compare_run(path: Path, folder: Path, rubric: str) -> list[JudgeAgreement]:
    """Return the agreement of the judge of a run with people.

    Args:
        path: CSV file of `rate import`.
        folder: the run folder whose replies were rated.
        rubric: rubric of the judge.

    Raises:
        BadData: not a file of ratings, not a run folder, or no reply is both rated and judged.
    """
    run = RunFolder.existing(folder)
    samples = run.samples()
    clusters = units_of(samples)
    metric = f"judge_{rubric}".replace("-", "_")
    scores = [score for score in run.scores().values() if score.metric == metric]
    return compare(read_ratings_csv(path), scores, clusters)


def _agreement(
    dimension: str,
    system: str,
    replies: Sequence[Reply],
    by_people: Mapping[tuple[Reply, str], list[float]],
    graded: Mapping[tuple[Reply, str], float],
    clusters: Mapping[tuple[str, str], Hashable],
) -> JudgeAgreement:
    people = [by_people[reply, dimension] for reply in replies]
    mean = np.array([fmean(unit) for unit in people])
    judge = np.array([graded[reply, dimension] for reply in replies])
    cluster = [clusters.get(reply[1:], reply[1:]) for reply in replies]
    whole = dimension != "score" and bool((judge == np.rint(judge)).all())
    return JudgeAgreement(
        dimension=dimension,
        system=system,
        spearman=jackknifed(lambda i: spearman(mean[i], judge[i]), cluster),
        kendall=jackknifed(lambda i: kendall(mean[i], judge[i]), cluster),
        kappa=jackknifed(lambda i: quadratic_kappa(np.rint(mean[i]), judge[i]) if whole else None, cluster),
        alpha=jackknifed(lambda i: krippendorff_alpha([[mean[k], judge[k]] for k in i], "interval"), cluster),
        raters=jackknifed(lambda i: krippendorff_alpha([people[k] for k in i], "ordinal"), cluster),
    )
