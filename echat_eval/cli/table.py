"""Print the leaderboard and intervals on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.cli.fitted_table import Cells, fitted
from echat_eval.cli.terminal import show, show_table, table_width
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
    published_table,
    rows_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

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
    for table in view.side_tables:
        _print_texts(table)
    show(*view.notes)
    for published in view.published:
        show("")
        _print_texts(published_table(published))
    if files:
        show("written: " + ", ".join(str(path) for path in files))


def print_leaderboard(board: Leaderboard) -> None:
    """Print the headline metric by task, the other measures, and what the numbers mean."""
    from rich.text import Text

    for table in (*_by_task(board), _counts(board), *_others(board)):
        show_table(*fitted(table, table_width()))
    show_table(*map(Text, board_lines(board)))
    if board.headline.proxy:
        show_table(f"{PROXY_TITLE}: {PROXY_NOTE}")
    if notes := headline_notes(board):
        show_table(*notes)


def _print_texts(table: TextTable) -> None:
    """Print a small table and its notes."""
    rows = [list(row) for row in table.rows]
    show_table(*fitted(Cells(table.caption, table.titles, [rows], labels=table.texts), table_width()))
    show_table(*table.notes)


def _by_task(board: Leaderboard) -> Iterator[Cells]:
    """Yield a table of systems x tasks for every metric that has one; the headline's has ranks."""
    for metric in by_task_metrics(board):
        ranked = metric is board.headline
        sections: dict[str, list[list[str]]] = {}
        for name, role, summaries in rows_of(board, metric):
            rank = [rank_text(board, name)] if ranked else []
            cells = [name + MARK[role], *rank, *(cell_text(summary, metric) for summary in summaries)]
            sections.setdefault(role, []).append(cells)
        titles = ("system", *(("rank",) if ranked else ()), *board.columns(metric))
        yield Cells(
            f"{metric_title(metric)}, mean and 95 % interval", titles, list(sections.values()), labels=1
        )


def _counts(board: Leaderboard) -> Cells:
    """Return the numbers of rows by state."""
    end = count_columns(board)
    rows = [[name + MARK[role], *cells[:end]] for name, role, cells in other_rows(board)]
    return Cells(
        "Rows of the headline metric, over all tasks", other_titles(board)[: end + 1], [rows], labels=1
    )


def _others(board: Leaderboard) -> Iterator[Cells]:
    """Yield the other measures, one row per measure and system; those without any value are only named."""
    titles, rows = other_titles(board), list(other_rows(board))
    sections, without = [], []
    for column in range(count_columns(board), len(titles) - 1):
        if all(cells[column] == "-" for _, _, cells in rows):
            without.append(titles[column + 1])
            continue
        sections.append(
            [
                ["" if number else titles[column + 1], name + MARK[role], cells[column]]
                for number, (name, role, cells) in enumerate(rows)
            ]
        )
    note = f"no reply has a value of {', '.join(without)}" if without else ""
    if sections or note:
        yield Cells(
            "Other measures, over all tasks, mean and 95 % interval",
            ("measure", "system", "mean and interval"),
            sections,
            labels=2,
            name=1,
            note=note,
        )


def format_interval(estimate: Agreement | Calibration | Estimate, digits: int = 3) -> str:
    """Return a value with its interval, with as many decimals each; "-" if there is no value."""
    if estimate.value is None:
        return "-"
    value = number_text(estimate.value, digits)
    if estimate.low is None or estimate.high is None:
        return f"{value} (no interval)"
    return f"{value} [{number_text(estimate.low, digits)}, {number_text(estimate.high, digits)}]"
