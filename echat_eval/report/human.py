"""Human ratings as cells of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.errors import BadData
from echat_eval.io.hashing import file_sha256
from echat_eval.leaderboard.build import OVERALL
from echat_eval.leaderboard.published import words_judge
from echat_eval.leaderboard.render import estimate_text
from echat_eval.report.cells import TableCell
from echat_eval.report.rating.facts import require_same_replies
from echat_eval.report.rating.match import MATCH, OVER_REACTION
from echat_eval.report.tables import summary_cell
from echat_eval.stats import rated_mean
from echat_eval.stats.factors import units_of

__all__ = ["grades", "human_cells", "human_means", "percent"]
if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import TypeAlias

    from echat_eval.io.ratings import Rating
    from echat_eval.report.runs import MergedRuns
    from echat_eval.stats import RatedMean

    HumanCells: TypeAlias = dict[tuple[str, str], tuple[TableCell, TableCell]]


def human_means(path: Path, runs: MergedRuns) -> tuple[dict[tuple[str, str], RatedMean], str]:
    """Return (system, task) -> mean human rating on 0 to 100, "all" for every task; and the sheet's facts.

    Ratings are scaled to 0 to 100 by their own range and have equal weights. Raters and replies are two
    factors of the interval.

    Raises:
        BadData: ratings of other replies, or of samples that the runs do not have.
    """
    cluster = units_of(list(runs.samples.values()))
    facts = require_same_replies(path, runs.rated_responses())
    ratings: dict[tuple[str, str], list[Rating]] = {}
    for r in grades(runs.ratings(path)):
        if (r.task, r.sample_id) not in cluster:
            raise BadData(f"{path}: sample '{r.sample_id}' of task '{r.task}' is not in these runs")
        for task in (r.task, OVERALL):
            ratings.setdefault((r.system, task), []).append(r)
    means = {
        key: rated_mean(
            [percent(r) for r in found],
            [cluster[r.task, r.sample_id] for r in found],
            [r.rater for r in found],
            low=0,
            high=100,
        )
        for key, found in ratings.items()
    }
    return means, facts.line() if facts else ""


def grades(ratings: Iterable[Rating]) -> list[Rating]:
    """Return the ratings that grade a reply: which voice it answers is no grade of it."""
    return [r for r in ratings if r.dimension not in (MATCH, OVER_REACTION)]


def percent(rating: Rating) -> float:
    """Return a rating in percent of its own range."""
    return 100 * (rating.value - rating.low) / (rating.high - rating.low)


def human_cells(path: Path, runs: MergedRuns) -> tuple[HumanCells, str]:
    """Return (system, task) -> mean human rating and the automatic metric, and a note on both."""
    board = runs.board
    assert board is not None
    metric = words_judge(board.metrics) or board.headline
    means, facts = human_means(path, runs)
    sha256 = file_sha256(path)
    cells, raters = {}, set()
    for (system, task), mean in means.items():
        if task == OVERALL:
            continue
        raters.add(mean.raters)
        e = mean.estimate
        sources = {"ratings": {"sha256": sha256, "system": system, "task": task}}
        human = TableCell(
            text=estimate_text(e, metric.digits), value=e.value, low=e.low, high=e.high, sources=sources
        )
        summary = board.summaries.get((system, task, metric.name))
        cells[system, task] = (human, summary_cell(summary, metric, system, task))
    return cells, " ".join(filter(None, [_note(sorted(raters)), facts]))


def _note(raters: list[int]) -> str:
    """Return what the intervals of human ratings hold for, given the numbers of raters of the cells."""
    if not raters:
        return ""
    count = f"{raters[0]}" if len(raters) == 1 else f"{raters[0]} to {raters[-1]}"
    text = f"Human ratings: {count} raters a cell; the interval is over replies and raters."
    if raters[0] == 1:
        text += " With one rater it is over replies and holds for this rater only."
    return text
