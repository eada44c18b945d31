"""Human ratings as cells of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.errors import BadData
from echat_eval.io.hashing import file_sha256
from echat_eval.leaderboard.render import estimate_text
from echat_eval.report.cells import TableCell
from echat_eval.report.rating.table import read_ratings_csv
from echat_eval.report.tables import summary_cell, text_judge
from echat_eval.stats import level_mean
from echat_eval.stats.factors import Unit, units_of

__all__ = ["human_cells"]
if TYPE_CHECKING:
    from pathlib import Path

    from echat_eval.report.runs import MergedRuns


def human_cells(path: Path, runs: MergedRuns) -> dict[tuple[str, str], tuple[TableCell, TableCell]]:
    """Return (system, task) -> mean human rating on 0 to 100, and the automatic metric.

    Ratings are scaled to 0 to 100 by their own range and have equal weights; the interval is over clusters of
    samples.
    """
    board = runs.board
    assert board is not None
    metric = text_judge(board) or board.headline
    cluster = units_of(list(runs.samples.values()))
    points: dict[tuple[str, str], list[float]] = {}
    groups: dict[tuple[str, str], list[Unit]] = {}
    for r in read_ratings_csv(path):
        if (r.task, r.sample_id) not in cluster:
            raise BadData(f"{path}: sample '{r.sample_id}' of task '{r.task}' is not in these runs")
        points.setdefault((r.system, r.task), []).append(100 * (r.value - r.low) / (r.high - r.low))
        groups.setdefault((r.system, r.task), []).append(cluster[r.task, r.sample_id])
    sha256 = file_sha256(path)
    cells = {}
    for (system, task), found in points.items():
        e = level_mean(found, groups[system, task], low=0, high=100)
        sources = {"ratings": {"sha256": sha256, "system": system, "task": task}}
        human = TableCell(
            text=estimate_text(e, metric.digits), value=e.value, low=e.low, high=e.high, sources=sources
        )
        summary = board.summaries.get((system, task, metric.name))
        cells[system, task] = (human, summary_cell(summary, metric, system, task))
    return cells
