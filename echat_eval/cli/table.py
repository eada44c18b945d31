"""Print the leaderboard and intervals on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.cli.terminal import show, show_table
from echat_eval.io.display import number_text
from echat_eval.leaderboard.rank_text import rank_text
from echat_eval.leaderboard.render import (
    MARK,
    PROXY_NOTE,
    PROXY_TITLE,
    board_lines,
    by_task_metrics,
    cell_text,
    count_columns,
    headline_notes,
    metric_title,
    other_rows,
    other_titles,
    published_lines,
    rows_of,
)
from echat_eval.leaderboard.view import side_tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rich.table import Table

    from echat_eval.checks.calibration import Calibration
    from echat_eval.leaderboard.build import Leaderboard
    from echat_eval.leaderboard.text_table import TextTable
    from echat_eval.leaderboard.view import LeaderboardView
    from echat_eval.report.rating.agreement import Agreement
    from echat_eval.stats import Estimate

__all__ = ["format_interval", "present", "print_leaderboard"]


def present(view: LeaderboardView, files: Sequence[Path] = ()) -> None:
    """Print a leaderboard with its notes, and the paths of the files that hold it."""
    print_leaderboard(view.board)
    show(*view.notes)
    for table in view.published:
        show("", *published_lines(table))
    if files:
        show("written: " + ", ".join(str(path) for path in files))


def print_leaderboard(board: Leaderboard) -> None:
    """Print the headline metric by task, the other measures, and what the numbers mean."""
    from rich.text import Text

    tables = list(_by_task(board))
    others = [_others(board)] if len(board.metrics) > len(tables) else []
    show_table(*tables, _counts(board), *others, *map(Text, board_lines(board)))
    if board.headline.proxy:
        show_table(f"{PROXY_TITLE}: {PROXY_NOTE}")
    if notes := headline_notes(board):
        show_table(*notes)
    for table in side_tables(board):
        show_table(_texts(table), *table.notes)


def _table(title: str) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    return Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)


def _by_task(board: Leaderboard) -> Iterator[Table]:
    """Yield a table of systems x tasks for every metric that has one; the headline's has ranks."""
    from rich.text import Text

    for metric in by_task_metrics(board):
        table, ranked = _table(f"{metric_title(metric)}, mean and 95 % interval"), metric is board.headline
        if ranked:
            table.add_column("rank", justify="right", no_wrap=True)
        table.add_column("system", no_wrap=True)
        for task in board.columns(metric):
            table.add_column(Text(task), justify="right")
        last = None
        for name, role, summaries in rows_of(board, metric):
            if last is not None and role != last:
                table.add_section()
            last = role
            rank = [rank_text(board, name)] if ranked else []
            table.add_row(*rank, Text(name + MARK[role]), *(Text(cell_text(s, metric)) for s in summaries))
        yield table


def _counts(board: Leaderboard) -> Table:
    """Return the numbers of rows by state."""
    from rich.text import Text

    table = _table("Rows of the headline metric, over all tasks")
    for number, title in enumerate(other_titles(board)[: count_columns(board) + 1]):
        table.add_column(Text(title), justify="right" if number else "left", no_wrap=not number)
    for name, role, cells in other_rows(board):
        table.add_row(*map(Text, (name + MARK[role], *cells[: count_columns(board)])))
    return table


def _others(board: Leaderboard) -> Table:
    """Return the other measures, one row per measure and system, so that intervals fit a terminal."""
    from rich.text import Text

    table = _table("Other measures, over all tasks, mean and 95 % interval")
    table.add_column("measure")
    table.add_column("system", no_wrap=True)
    table.add_column("mean and interval", justify="right")
    titles, rows = other_titles(board), list(other_rows(board))
    for column in range(count_columns(board), len(titles) - 1):
        for number, (name, role, cells) in enumerate(rows):
            measure = "" if number else titles[column + 1]
            table.add_row(*map(Text, (measure, name + MARK[role], cells[column])))
        table.add_section()
    return table


def _texts(shown: TextTable) -> Table:
    """Return a table of texts, whose systems and numbers are not broken."""
    from rich.text import Text

    table = _table(shown.caption)
    for number, title in enumerate(shown.titles):
        is_number = number >= shown.texts
        table.add_column(title, justify="right" if is_number else "left", no_wrap=not number)
    for row in shown.rows:
        table.add_row(*map(Text, row))
    return table


def format_interval(estimate: Agreement | Calibration | Estimate, digits: int = 3) -> str:
    """Return a value with its interval, with as many decimals each; "-" if there is no value."""
    if estimate.value is None:
        return "-"
    value = number_text(estimate.value, digits)
    if estimate.low is None or estimate.high is None:
        return f"{value} (no interval)"
    return f"{value} [{number_text(estimate.low, digits)}, {number_text(estimate.high, digits)}]"
