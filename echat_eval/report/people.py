"""People's ratings as one more metric of the page, beside those of judges and instruments."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

from echat_eval.io.hashing import file_sha256
from echat_eval.leaderboard.build import Summary
from echat_eval.records import Score
from echat_eval.report.human import grades, human_means, percent
from echat_eval.report.page_data import PEOPLE

if TYPE_CHECKING:
    from pathlib import Path

    from echat_eval.io.ratings import Rating
    from echat_eval.report.runs import MergedRuns

__all__ = ["with_people"]


def with_people(ratings: Path, runs: MergedRuns) -> MergedRuns:
    """Return merged runs with a score by people for each rated reply, and their means on the leaderboard.

    The means are those of the table `human-automatic`. The evidence of a score is dimension -> mean rating,
    range and number of raters; who rated is not in it.

    Raises:
        BadData: ratings of other replies, or of samples that the runs do not have.
    """
    if runs.board is None:
        return runs
    means, _ = human_means(ratings, runs)
    summaries = {
        (system, task, PEOPLE.name): Summary(
            system=system, task=task, metric=PEOPLE.name, estimate=mean.estimate, bounds=None, counts={}
        )
        for (system, task), mean in means.items()
    }
    of_reply: dict[tuple[str, str, str], list[Rating]] = {}
    for rating in grades(runs.ratings(ratings)):
        of_reply.setdefault((rating.system, rating.task, rating.sample_id), []).append(rating)
    sha256 = file_sha256(ratings)
    scores = {key: dict(found) for key, found in runs.scores.items()}
    for key, found in of_reply.items():
        if key in runs.responses:
            scores.setdefault(key, {})[PEOPLE.name] = _score(key, found, sha256)
    board = replace(
        runs.board,
        metrics=(*runs.board.metrics, PEOPLE),
        summaries={**runs.board.summaries, **summaries},
    )
    return replace(runs, scores=scores, board=board)


def _score(key: tuple[str, str, str], ratings: list[Rating], sha256: str) -> Score:
    """Return the mean rating of one reply."""
    system, task, sample_id = key
    dimensions = Counter(r.dimension for r in ratings)
    evidence = {
        name: {
            "mean": fmean(r.value for r in ratings if r.dimension == name),
            "low": min(r.low for r in ratings if r.dimension == name),
            "high": max(r.high for r in ratings if r.dimension == name),
            "raters": count,
        }
        for name, count in dimensions.items()
    }
    return Score(
        key=sha256,
        system=system,
        task=task,
        sample_id=sample_id,
        metric=PEOPLE.name,
        state="value",
        value=fmean(map(percent, ratings)),
        evidence=evidence,
    )
