"""`leaderboard`: the leaderboard of one or more runs; an older spelling of `show RUNS`."""

from __future__ import annotations

import click

from echat_eval.cli.show_runs import LeaderboardOptions, leaderboard_options, present_leaderboard

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
@leaderboard_options
def leaderboard(runs: tuple[str, ...], options: LeaderboardOptions) -> int:
    """Print the leaderboard of one or more runs.

    `runs/a` selects every system of a run, `runs/a:mine` one of them, and `new=runs/a:mine` renames it.
    """
    return present_leaderboard(runs, options)
