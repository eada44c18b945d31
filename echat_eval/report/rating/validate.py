"""Judges of a run beside people: which ratings speak to which metric, reply by reply."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.errors import BadData
from echat_eval.io.hashing import file_sha256
from echat_eval.io.ratings import read_ratings_csv
from echat_eval.records import JudgeEvidence
from echat_eval.report.rating.agreement import jackknifed, spearman
from echat_eval.report.rating.facts import require_same_replies
from echat_eval.report.rating.match import MATCH, OVER_REACTION
from echat_eval.report.rating.sheet import PREFERENCE
from echat_eval.stats.factors import units_of
from echat_eval.store.validation import JudgeValidation, judged_metrics, write_validation

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence
    from pathlib import Path

    from echat_eval.io.ratings import Rating
    from echat_eval.records import Score
    from echat_eval.store.run_folder import RunFolder

__all__ = ["RatedScore", "rated_scores", "validate_run"]

ReplyId = tuple[str, str, str]
#: Endings of the metrics of the match question.
MATCH_METRICS = ("_match_rate", "_listening_match")
#: Dimensions of answers about two replies or two voices.
COMPARISONS = {MATCH, OVER_REACTION, PREFERENCE}


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedScore:
    """A reply that people and a judge graded.

    Attributes:
        people: mean of the ratings, 0 to 100 of their range.
        judge: the judge's score.
        raters: who rated it.
        dimensions: what they were asked.
    """

    system: str
    task: str
    sample_id: str
    people: float
    judge: float
    raters: frozenset[str]
    dimensions: frozenset[str]


def rated_scores(ratings: Sequence[Rating], scores: Sequence[Score]) -> list[RatedScore]:
    """Return the replies that people rated in what the scores of one metric grade.

    Answers to the match question go with match rates, and other ratings with scores whose judge graded the
    same dimension.
    """
    judged: dict[ReplyId, tuple[float, frozenset[str]]] = {}
    for score in scores:
        if score.value is None or score.state != "value":
            continue
        names = {"score"} | (
            set(score.evidence.grades) if isinstance(score.evidence, JudgeEvidence) else set()
        )
        if score.metric.endswith(MATCH_METRICS):
            names = {MATCH}
        judged[score.system, score.task, score.sample_id] = (score.value, frozenset(names))
    of_reply: dict[ReplyId, list[Rating]] = {}
    for rating in ratings:
        ident = (rating.system, rating.task, rating.sample_id)
        if ident in judged and rating.dimension in judged[ident][1]:
            of_reply.setdefault(ident, []).append(rating)
    return [
        RatedScore(
            system=ident[0],
            task=ident[1],
            sample_id=ident[2],
            people=fmean(100 * (r.value - r.low) / (r.high - r.low) for r in found),
            judge=judged[ident][0],
            raters=frozenset(r.rater for r in found),
            dimensions=frozenset(r.dimension for r in found),
        )
        for ident, found in of_reply.items()
    ]


def validate_run(path: Path, run: RunFolder) -> list[JudgeValidation]:
    """Hold every judge of a run against people, keep the result in the run folder, and return it.

    Comparisons by people with a run whose judges compare nothing give an empty list: they stand alone.

    Args:
        path: CSV file of `rate import`.
        run: the run whose replies were rated.

    Raises:
        BadData: ratings of another run, or no judge graded what people rated.
    """
    facts = require_same_replies(path, run.responses())
    assigned = None if facts is None else facts.assigned
    ratings, clusters, scores = read_ratings_csv(path), units_of(run.samples()), list(run.scores().values())
    found = []
    for metric, fingerprint in judged_metrics(run).items():
        rated = rated_scores(ratings, [score for score in scores if score.metric == metric])
        if rated:
            found.append(_validation(metric, fingerprint, file_sha256(path), rated, clusters, assigned))
    rated_in = sorted({rating.dimension for rating in ratings})
    if not found and not (set(rated_in) <= COMPARISONS and not _compares(run)):
        raise BadData(
            f"{path}: no judge of {run.path} graded what people rated ({', '.join(rated_in)}); "
            f"{_how(run, scores)}"
        )
    for validation in found:
        write_validation(run.path, validation)
    return found


def _compares(run: RunFolder) -> bool:
    return any(metric.endswith(MATCH_METRICS) for metric in judged_metrics(run))


def _how(run: RunFolder, scores: Sequence[Score]) -> str:
    """Return the sheets that ask what the judges of a run graded, or that there is no judge."""
    graded: dict[str, list[str]] = {}
    for score in scores:
        if isinstance(score.evidence, JudgeEvidence) and not score.metric.endswith(MATCH_METRICS):
            graded.setdefault(score.metric, sorted(score.evidence.grades))
    rubrics = {
        metric: facts.settings.get("rubric")
        for facts in run.manifest().scorers.values()
        for metric in facts.metrics or ()
    }
    ways = []
    for metric, names in graded.items():
        rubric = rubrics.get(metric)
        command = f"echat-eval rate export {run.path} --rubric {rubric} --out SHEET"
        ways.append(
            f"{metric} has {', '.join(names)}" + (f" (`{command}` makes the sheet)" if rubric else "")
        )
    return "; ".join(ways) or f"score the run with a judge first (`echat-eval run {run.path} --judge MODEL`)"


def _validation(
    metric: str,
    fingerprint: str,
    ratings: str,
    rated: Sequence[RatedScore],
    clusters: Mapping[tuple[str, str], Hashable],
    assigned: int | None,
) -> JudgeValidation:
    people, judge = np.array([r.people for r in rated]), np.array([r.judge for r in rated])
    agreement = jackknifed(
        lambda rows: spearman(judge[rows], people[rows]),
        [clusters[r.task, r.sample_id] for r in rated],
        bounds=(-1.0, 1.0),
    )
    return JudgeValidation(
        metric=metric,
        fingerprint=fingerprint,
        ratings=ratings,
        dimension=" and ".join(sorted(frozenset().union(*(r.dimensions for r in rated)))),
        replies=len(rated),
        clusters=agreement.clusters,
        raters=len(frozenset().union(*(r.raters for r in rated))),
        value=agreement.value,
        low=agreement.low,
        high=agreement.high,
        assigned=assigned,
    )
