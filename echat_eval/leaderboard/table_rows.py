"""The numbers of a leaderboard as rows, for CSV, data frames and trackers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.io.csv_cells import table_csv
from echat_eval.leaderboard.build import OVERALL
from echat_eval.leaderboard.render import rows_of

if TYPE_CHECKING:
    from echat_eval.leaderboard.build import Leaderboard
    from echat_eval.records import Metric

__all__ = ["CSV_COLUMNS", "csv_text", "table_rows"]

CSV_COLUMNS = (
    "system",
    "role",
    "task",
    "metric",
    "unit",
    "value",
    "low",
    "high",
    "n",
    "clusters",
    "failed",
    "missing",
    "not_applicable",
    "worst_case",
    "best_case",
    "rank",
    "rank_low",
    "rank_high",
    "share",
    "share_low",
    "share_high",
    "validated_against_people",
)


def table_rows(board: Leaderboard) -> list[dict[str, object]]:
    """Return one row per system, task and metric, with the columns `CSV_COLUMNS`; the headline first."""
    rows: list[dict[str, object]] = []
    for metric in sorted(board.metrics, key=lambda m: m.name != board.headline.name):
        for name, role, summaries in rows_of(board, metric):
            for task, summary in zip(board.columns(metric), summaries, strict=True):
                if summary is None:
                    continue
                e, b, counts = summary.estimate, summary.bounds, summary.counts
                ranked = task == OVERALL and metric.name == board.headline.name
                rank = board.ranking.sets.get(name) if ranked else None
                share = board.share(metric, name, task)
                rows.append(
                    {
                        "system": name,
                        "role": role,
                        "task": task,
                        "metric": metric.name,
                        "unit": metric.unit,
                        "value": None if e is None else e.value,
                        "low": None if e is None else e.low,
                        "high": None if e is None else e.high,
                        "n": None if e is None else e.n,
                        "clusters": None if e is None else e.clusters,
                        "failed": counts.get("failed", 0),
                        "missing": counts.get("missing", 0),
                        "not_applicable": counts.get("not applicable", 0),
                        "worst_case": None if b is None else b.low,
                        "best_case": None if b is None else b.high,
                        "rank": None if rank is None else rank.rank,
                        "rank_low": None if rank is None else rank.low,
                        "rank_high": None if rank is None else rank.high,
                        "share": None if share is None else share.value,
                        "share_low": None if share is None else share.low,
                        "share_high": None if share is None else share.high,
                        "validated_against_people": _validated(board, metric),
                    }
                )
    return rows


def _validated(board: Leaderboard, metric: Metric) -> str | None:
    """Return "yes", "not shown" or "no" for a metric of a judge; None for others."""
    if metric.name not in board.people:
        return None
    found = board.people[metric.name]
    return "no" if found is None else found.answer


def csv_text(board: Leaderboard) -> str:
    """Return one line per system, task and metric."""
    return table_csv(CSV_COLUMNS, table_rows(board))
