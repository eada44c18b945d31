"""Print the leaderboard and intervals on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.cli.blocks import Lines, print_blocks, print_files
from echat_eval.cli.fitted_table import Cells
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

__all__ = [
    "blocks_of",
    "format_interval",
    "present",
    "print_leaderboard",
]


def present(view: LeaderboardView, files: Sequence[Path] = ()) -> None:
    """Print a leaderboard with its notes, and the paths of the files that hold it."""
    print_blocks(blocks_of(view))
    print_files(files)


def print_leaderboard(board: Leaderboard) -> None:
    """Print the headline metric by task, the other measures, and what the numbers mean."""
    print_blocks(_blocks_of_board(board))


def blocks_of(view: LeaderboardView) -> Iterator[Cells | Lines]:
    """Yield the tables and lines of a leaderboard with its notes, whatever the width of the terminal."""
    yield from _blocks_of_board(view.board)
    for table in view.side_tables:
        yield from _blocks_of_texts(table)
    yield Lines(view.notes, "plain")
    for published in view.published:
        yield Lines([""], "plain")
        yield from _blocks_of_texts(published_table(published))


def _blocks_of_board(board: Leaderboard) -> Iterator[Cells | Lines]:
    yield from (*_by_task(board), _counts(board), *_others(board))
    yield Lines(board_lines(board), "text")
    yield Lines([f"{PROXY_TITLE}: {PROXY_NOTE}"] * board.headline.proxy)
    yield Lines(headline_notes(board))


def _blocks_of_texts(table: TextTable) -> Iterator[Cells | Lines]:
    """Yield a small table and its notes."""
    rows = [list(row) for row in table.rows]
    yield Cells(table.caption, table.titles, [rows], labels=table.texts)
    yield Lines(table.notes)


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
