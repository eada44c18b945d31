"""`leaderboard`: the table of one or several runs."""

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
  echat-eval leaderboard runs/mine --published echat-automatic --out tables"""
)
@click.argument("runs", nargs=-1, required=True, metavar="RUNS...")
@click.option(
    "--published",
    "tables",
    multiple=True,
    metavar="NAME",
    help="Add a published table, set apart and never ranked; repeatable.",
)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Also write leaderboard.md, .csv, .png."
)
def leaderboard(runs: tuple[str, ...], tables: tuple[str, ...], out: Path | None) -> int:
    """The leaderboard of one or more runs.

    `runs/a` is every system of a run, `runs/a:mine` one of them, `new=runs/a:mine` the same as 'new'.
    """
    from echat_eval.cli.table import present
    from echat_eval.leaderboard.build import build_leaderboard
    from echat_eval.leaderboard.published import published
    from echat_eval.store.select import open_run

    wanted = [published(name) for name in tables]
    folders = [open_run(name) for name in runs]
    present(build_leaderboard(folders), folders, out, wanted)
    return Exit.DONE
