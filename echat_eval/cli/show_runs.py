"""`show`: the runs of a folder, the leaderboard of runs, or names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from echat_eval.cli.list_names import NAME_KINDS, print_names, print_part, print_stale
from echat_eval.cli.options import headline_option, with_options
from echat_eval.cli.terminal import show, show_table
from echat_eval.errors import Exit, UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from echat_eval.experiment.listing import RunLine

__all__ = ["LeaderboardOptions", "leaderboard_options", "present_leaderboard", "show_command"]

#: Folder that commands write their runs to by default.
_DEFAULT = Path("runs")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderboardOptions:
    """Values of the options that `leaderboard_options` adds."""

    tables: tuple[str, ...]
    within: float | None
    headline: str | None
    out: Path | None


def leaderboard_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a leaderboard; pass them on as `options`."""
    decorators = [
        click.option(
            "--published",
            "tables",
            multiple=True,
            metavar="NAME",
            help="Published table to print below if the runs have its measure, never ranked; repeatable.",
        ),
        click.option(
            "--within",
            type=float,
            metavar="MARGIN",
            help="List the pairs of systems shown to differ by less than this, in units of the headline.",
        ),
        headline_option,
        click.option(
            "--out",
            type=click.Path(path_type=Path, file_okay=False),
            help="Folder for leaderboard.md, .csv and .png.",
        ),
    ]
    return with_options(command, LeaderboardOptions, "options", decorators)


@click.command(
    "show",
    epilog="""\b
Examples:
  echat-eval show
  echat-eval show /data/runs
  echat-eval show runs/mine runs/floors --within 2
  echat-eval show runs/mine --headline judge_echat_r1
  echat-eval show old=runs/old:mine new=runs/new:mine --published echat-automatic
  echat-eval show systems
  echat-eval show systems command
  echat-eval show systems --stale""",
)
@click.argument("what", nargs=-1, metavar="[FOLDER | RUNS... | NAMES]")
@click.option("--stale", is_flag=True, help="Of `systems`, list those whose model has an announced shutdown.")
@leaderboard_options
def show_command(what: tuple[str, ...], stale: bool, options: LeaderboardOptions) -> int:
    """List runs, or print a leaderboard, or names.

    FOLDER lists the runs below it, by default those in runs/. RUNS print one leaderboard: `runs/a` stands for
    every system of a run, `runs/a:mine` for one of them, and `new=runs/a:mine` renames it. NAMES is tasks,
    systems, annotators, scorers, judges, published, or names for all of these; `systems NAME` shows the
    settings of one system, and so does `annotators NAME` and `scorers NAME`.
    """
    names = [*NAME_KINDS, "names"]
    if stale:
        if what != ("systems",):
            raise UsageError("--stale belongs to `echat-eval show systems`")
        print_stale()
    elif len(what) == 1 and what[0] in names:
        print_names(None if what[0] == "names" else what[0])
    elif len(what) == 2 and what[0] in NAME_KINDS:
        print_part(*what)
    elif not what or (len(what) == 1 and _holds_runs(Path(what[0]))):
        if options != LeaderboardOptions(tables=(), within=None, headline=None, out=None):
            raise UsageError(
                "--published, --within, --headline and --out belong to a leaderboard; name one or more runs"
            )
        _print_runs(Path(what[0]) if what else _DEFAULT)
    else:
        return present_leaderboard(what, options)
    return Exit.DONE


def present_leaderboard(runs: tuple[str, ...], options: LeaderboardOptions) -> int:
    """Print the leaderboard of runs; write it to a folder; return the exit code."""
    from echat_eval.cli.blocks import print_blocks
    from echat_eval.cli.shown import kept

    plain = options == LeaderboardOptions(tables=(), within=None, headline=None, out=None)
    if plain and len(runs) == 1 and (shown := kept(Path(runs[0]))) is not None:
        print_blocks(shown.blocks)
        return Exit.DONE
    from echat_eval import api
    from echat_eval.cli.table import present

    view = api.leaderboard(*runs, published=options.tables, within=options.within, headline=options.headline)
    present(view, [] if options.out is None else view.write(options.out))
    for what in view.board.unfinished:
        show(f"echat-eval: unfinished run: {what}; run the same command to finish it", err=True)
    return Exit.CANNOT_TELL if view.board.unfinished else Exit.DONE


def _holds_runs(path: Path) -> bool:
    return path.is_dir() and not (path / "manifest.json").is_file() and not (path / "accepted.json").is_file()


def _print_runs(root: Path) -> None:
    from echat_eval.experiment.listing import list_runs

    lines = list_runs(root) if root != _DEFAULT or root.is_dir() else []
    if not lines:
        show(f"{root}: holds no run; `echat-eval demo` makes one")
        return
    show_table(_table(root, lines))
    show(*(f"note: {line.fault}" for line in lines if line.fault))


def _table(root: Path, lines: list[RunLine]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("run", "date (UTC)", "systems", "headline", "state"):
        table.add_column(column, overflow="fold", no_wrap=column == "date (UTC)")
    table.add_column("size", justify="right", no_wrap=True)
    for line in lines:
        relative = line.path.relative_to(root) if line.path != root else line.path
        table.add_row(
            str(relative),
            line.date[:16].replace("T", " "),
            _first(line.systems),
            _headline(line),
            line.state,
            _size(line.size),
        )
    return table


def _first(names: tuple[str, ...], most: int = 4) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _headline(line: RunLine) -> str:
    metric, values = line.headline
    shown = ", ".join(f"{system} {value:.2f}" for system, value in values[:4])
    return f"{metric}: {shown}" if shown else "-"


def _size(size: float) -> str:
    """Return a size in words.

    >>> _size(900), _size(1_500_000)
    ('900 B', '1.5 MB')
    """
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
