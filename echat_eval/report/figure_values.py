"""Values that drawings of scores share: a mean with its interval, its error bar, and titles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.leaderboard.build import OVERALL
from echat_eval.leaderboard.render import by_role
from echat_eval.report.figure_style import look_of, shown_name

if TYPE_CHECKING:
    from echat_eval.leaderboard.build import Leaderboard
    from echat_eval.records import Metric
    from echat_eval.report.figure_style import Look
    from echat_eval.report.runs import MergedRuns
    from echat_eval.stats import Estimate

__all__ = [
    "CHANCE",
    "board_of",
    "error_of",
    "estimate_of",
    "has_chance",
    "looks_of",
    "metrics_of",
    "tasks_with",
    "title_of",
    "without_values",
]

#: Match rate of a system that ignores the voice.
CHANCE = 50.0


def board_of(runs: MergedRuns) -> Leaderboard:
    """Return the leaderboard of runs with scores."""
    assert runs.board is not None
    return runs.board


def metrics_of(runs: MergedRuns) -> list[Metric]:
    """Return the metrics to draw: those that were chosen, or else the headline; the headline first."""
    board = board_of(runs)
    selected = board.metrics if runs.choice.metrics else (board.headline,)
    return sorted(selected, key=lambda metric: metric.name != board.headline.name)


def looks_of(runs: MergedRuns) -> dict[str, Look]:
    """Return name -> look of every system: the same in all figures, whatever the order of each."""
    board = board_of(runs)
    names = [name for systems in by_role(board, board.headline).values() for name in systems]
    return {name: look_of(number) for number, name in enumerate(names)}


def has_chance(metric: Metric) -> bool:
    """Return whether a system that ignores the voice gets `CHANCE`."""
    return metric.by_voice and metric.low == 0


def estimate_of(runs: MergedRuns, system: str, task: str, metric: Metric) -> Estimate | None:
    """Return the mean of a cell; None without one."""
    summary = board_of(runs).summaries.get((system, task, metric.name))
    return summary.estimate if summary is not None else None


def without_values(runs: MergedRuns, metric: Metric) -> str:
    """Return why a metric cannot be drawn; "" if some system has a value."""
    board = board_of(runs)
    found = (estimate_of(runs, s, task, metric) for s in board.roles for task in board.columns(metric))
    return "" if any(found) else "no system has a value"


def error_of(e: Estimate) -> list[list[float]] | None:
    """Return an interval as an error bar; None without one."""
    return None if e.low is None or e.high is None else [[e.value - e.low], [e.high - e.value]]


def title_of(runs: MergedRuns, task: str, font: str | None) -> str:
    """Return the title of a column."""
    return "all tasks" if task == OVERALL else shown_name(board_of(runs).titles.get(task, task), font)


def tasks_with(board: Leaderboard, metric: Metric) -> list[str]:
    """Return the tasks that have a metric; a task that asks about recordings has none of replies."""
    return [task for task in board.columns(metric) if task != OVERALL]
