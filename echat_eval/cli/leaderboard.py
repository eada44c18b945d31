"""`leaderboard`: the leaderboard of one or more runs."""

from __future__ import annotations

from pathlib import Path

import click

from echat_eval.errors import Exit

__all__ = ["leaderboard"]


@click.command(
    epilog="""\b
Examples:
  echat-eval leaderboard runs/mine runs/floors
  echat-eval leaderboard old=runs/old:mine new=runs/new:mine
  echat-eval leaderboard runs/mine --within 2
  echat-eval leaderboard runs/mine --published echat-automatic --out tables"""
)
@click.argument("runs", nargs=-1, required=True, metavar="RUNS...")
@click.option(
    "--published",
    "tables",
    multiple=True,
    metavar="NAME",
    help="Published table to print below, never ranked; repeatable.",
)
@click.option(
    "--within",
    type=float,
    metavar="MARGIN",
    help="List the pairs of systems shown to differ by less than this, in the headline metric's units.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for leaderboard.md, .csv and .png.",
)
def leaderboard(
    runs: tuple[str, ...], tables: tuple[str, ...], within: float | None, out: Path | None
) -> int:
    """Print the leaderboard of one or more runs.

    `runs/a` selects every system of a run, `runs/a:mine` one of them, and `new=runs/a:mine` renames it.
    """
    from echat_eval import api
    from echat_eval.cli.table import present

    view = api.leaderboard(*runs, published=tables, within=within)
    present(view, [] if out is None else view.write(out))
    return Exit.DONE
