"""Print the leaderboard and intervals on the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from echat_eval.leaderboard.build import OVERALL
from echat_eval.leaderboard.render import MARK, PROXY_NOTE, cell_text, metric_title, rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.table import Table

    from echat_eval.checks.agreement import Agreement
    from echat_eval.leaderboard.build import Leaderboard
    from echat_eval.leaderboard.published import Published
    from echat_eval.records import Metric
    from echat_eval.stats import Estimate
    from echat_eval.store.run_folder import RunFolder

__all__ = ["format_interval", "present", "print_leaderboard"]


def present(
    board: Leaderboard, folders: Sequence[RunFolder], out: Path | None, published: Sequence[Published] = ()
) -> None:
    """Print a leaderboard with its notes; write the same to the folder `out`, if given."""
    import click

    from echat_eval.io.files import make_folder, write_atomically
    from echat_eval.leaderboard.notes import secondary_lines
    from echat_eval.leaderboard.render import published_lines, write_files

    if out is not None:
        make_folder(out)
    notes = secondary_lines(folders)
    print_leaderboard(board)
    for line in notes:
        click.echo(line)
    for table in published:
        click.echo("\n" + "\n".join(published_lines(table)))
    if out is None:
        return
    files = write_files(board, out, list(published))
    if notes:
        write_atomically(files[0], files[0].read_text(encoding="utf-8") + "\n" + "\n".join(notes) + "\n")
    click.echo("written: " + ", ".join(str(path) for path in files))


def print_leaderboard(board: Leaderboard) -> None:
    """Print the headline metric by task, the other measures, and what the numbers mean."""
    from rich.console import Console

    # Wrap lines on a terminal, but not in a file or a pipe.
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(_by_task(board))
    console.print(_others(board))
    if board.headline.proxy:
        console.print(f"Meaning and limits of these numbers: {PROXY_NOTE}", highlight=False, markup=False)


def _table(title: str) -> Table:
    from rich import box
    from rich.table import Table

    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)


def _by_task(board: Leaderboard) -> Table:
    from rich.text import Text

    metric = board.headline
    table = _table(f"{metric_title(metric)}, mean and 95 % interval")
    table.add_column("", justify="right")
    table.add_column("system")
    for task in (OVERALL, *board.tasks):
        table.add_column(task, justify="right")
    last = None
    for name, role, summaries in rows_of(board, metric):
        if last is not None and role != last:
            table.add_section()
        last = role
        rank = str(board.ranks.get(name, "?")) if role == "system" else ""
        table.add_row(rank, Text(name + MARK[role]), *(Text(cell_text(s, metric)) for s in summaries))
    return table


def _others(board: Leaderboard) -> Table:
    from rich.text import Text

    metrics: list[Metric] = [m for m in board.metrics if m.name != board.headline.name]
    table = _table("Other measures, over all tasks")
    table.add_column("system")
    for title in ("scored", "failed", "missing", "n/a", *map(metric_title, metrics)):
        table.add_column(title, justify="right")
    for name, role, summaries in rows_of(board, board.headline):
        counts = summaries[0].counts if summaries[0] is not None else {}
        numbers = [counts.get(state, 0) for state in ("value", "failed", "missing", "not applicable")]
        cells = [cell_text(board.summaries.get((name, OVERALL, m.name)), m, interval=False) for m in metrics]
        table.add_row(Text(name + MARK[role]), *map(str, numbers), *cells)
    return table


def format_interval(estimate: Agreement | Estimate) -> str:
    """Return a value with its interval, three decimals each; "-" if there is no value."""
    if estimate.value is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f} (no interval)"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
