"""`report`: tables, figures, provenance and a page with audio."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from echat_eval.cli.options import headline_option
from echat_eval.cli.terminal import show
from echat_eval.errors import Exit, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from echat_eval.report.choice import Bold

__all__ = ["report"]


@click.command(
    epilog="""\b
Examples:
  echat-eval report runs/mine runs/floors --out out
  echat-eval report old=runs/a:mine new=runs/b:mine --out out --only page
  echat-eval report runs/stages --out out --ablation full,stage1 --trend stage1,stage2,full
  echat-eval report runs/mine --out out --tables paper.yaml --bold best --wide
  echat-eval report runs/judged --published --headline judge_echat_r1 --out out
  echat-eval report --published --out out
  echat-eval report runs/mine --out review --title "Listening" --anonymous
  echat-eval report runs/a runs/b --forget p07 --out out
Open out/page/index.html in a browser; it needs no server and no network."""
)
@click.argument("runs", nargs=-1, metavar="RUNS...")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder to write; an earlier report there is replaced."
)
@click.option(
    "--only",
    metavar="PARTS",
    help="Parts to make, separated by commas.  [default: tables,figures,page]",
)
@click.option(
    "--published",
    is_flag=True,
    help="Add published rows, where the runs have their measure; without RUNS, make the published tables.",
)
@click.option(
    "--ablation",
    metavar="SYSTEMS",
    help="System and its variants for an ablation table; one name: all other systems are variants.",
)
@click.option(
    "--trend",
    metavar="SYSTEMS",
    help="Checkpoints for a trend figure: systems in order, separated by commas.",
)
@click.option(
    "--within",
    type=float,
    metavar="MARGIN",
    help="List the pairs of systems shown to differ by less than this, in the headline metric's units.",
)
@headline_option
@click.option(
    "--tables",
    "choices",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File with a section `tables:`: systems, tasks, metrics, names, digits, headline, bold, wide.",
)
@click.option(
    "--bold",
    type=click.Choice(("significant", "best", "none")),
    help="Bold numbers: those with a significant test, or the best of each column.  [default: significant]",
)
@click.option("--wide", is_flag=True, help="Make LaTeX tables for the whole width of a page (table*).")
@click.option(
    "--ratings",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Ratings of `rate import`, for a table of people beside the automatic metric.",
)
@click.option(
    "--with-audio",
    is_flag=True,
    help="Include recordings that the task does not allow to pass on.",
)
@click.option("--title", default="", metavar="TEXT", help="Title of the page.")
@click.option("--authors", default="", metavar="NAMES", help="Authors, as the page prints them.")
@click.option(
    "--anonymous",
    is_flag=True,
    help="Make the page for a blind review: systems by letter; no authors, hosts or paths.",
)
@click.option(
    "--forget",
    "speaker",
    metavar="SPEAKER",
    help="First remove a speaker from the runs and the cache; the report at --out is made again.",
)
def report(
    runs: tuple[str, ...],
    out: Path | None,
    only: str | None,
    published: bool,
    ablation: str | None,
    trend: str | None,
    within: float | None,
    headline: str | None,
    choices: Path | None,
    bold: Bold | None,
    wide: bool,
    ratings: Path | None,
    with_audio: bool,
    title: str,
    authors: str,
    anonymous: bool,
    speaker: str | None,
) -> int:
    """Make tables, figures, provenance and a page with audio from one or more runs."""
    from echat_eval.cli.progress import Bar
    from echat_eval.report.choice import TableChoice, read_choice
    from echat_eval.report.pack import PARTS, build_published, build_report

    if speaker is not None:
        _forget(runs, speaker)
        if out is None:
            return Exit.DONE
    if out is None:
        raise UsageError("no --out given; name the folder of the report")
    parts = _names(only) or (["page"] if anonymous else list(PARTS))
    for part in parts:
        if part not in PARTS:
            raise UsageError(f"--only {only}: '{part}' is not a part; parts are {', '.join(PARTS)}")
    for note in _ignored(parts, only, anonymous=anonymous, page={"title": title, "authors": authors}):
        show(f"note: {note}", err=True)
    if published and not runs:
        with Bar() as bar:
            made = build_published(out, progress=bar)
    elif not runs:
        raise UsageError(
            "no run given; name one or more run folders, such as runs/latest, or give --published"
        )
    else:
        choice = TableChoice() if choices is None else read_choice(choices)
        choice = replace(choice, bold=bold or choice.bold, wide=wide or choice.wide)
        with Bar() as bar:
            made = build_report(
                runs,
                out,
                progress=bar,
                only=parts,
                ablation=_names(ablation),
                trend=_names(trend),
                within=within,
                headline=headline,
                with_published=published,
                ratings=ratings,
                with_audio=with_audio,
                choice=choice,
                title=title,
                authors=authors,
                anonymous=anonymous,
                dates=_days(runs),
            )
    for note in made.notes:
        show(f"note: {note}", err=True)
    for path in made.paths:
        show(path)
    return Exit.DONE


def _ignored(parts: list[str], only: str | None, *, anonymous: bool, page: dict[str, str]) -> Iterator[str]:
    """Yield what the options leave out without being asked to."""
    if anonymous and only is None:
        yield "--anonymous makes the page alone: tables, figures and provenance name systems and models"
    if "page" not in parts and (given := [f"--{name}" for name, text in page.items() if text]):
        yield f"{' and '.join(given)}: without effect, because --only {only} leaves out the page"


def _names(text: str | None) -> list[str]:
    """Return names separated by commas."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _days(runs: tuple[str, ...]) -> dict[str, str]:
    """Return path of each run -> the days of its commands."""
    from echat_eval.experiment.record import days_of
    from echat_eval.store.select import parse_spec

    found = {str(path): days_of(path) for path in dict.fromkeys(parse_spec(run).path for run in runs)}
    return {path: days for path, days in found.items() if days}


def _forget(runs: tuple[str, ...], speaker: str) -> None:
    import os

    from echat_eval.report.forget import forget_in_runs

    if not runs:
        raise UsageError("--forget: no run given; name every run folder with this speaker")
    for name, gone in forget_in_runs(runs, speaker, os.environ):
        show(
            f"{name}: removed {gone.samples} samples of '{speaker}', {gone.rows} rows, {gone.files} files, "
            f"and {gone.cached} rows of the cache"
        )
    show(
        f"remove the rows of '{speaker}' from samples.jsonl of the task too, with their audio; otherwise the "
        "next run asks for them again. Copies of earlier reports elsewhere are not touched"
    )
