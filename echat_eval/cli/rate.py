"""`rate`: make a blind, offline rating page, and read the raters' files."""

from __future__ import annotations

from pathlib import Path

import click

from echat_eval.cli.terminal import show
from echat_eval.errors import Exit, UsageError

__all__ = ["rate"]


@click.group()
def rate() -> None:
    """Let people rate replies, blind and offline; read their ratings."""


@rate.command(
    "export",
    epilog="""\b
Examples:
  echat-eval rate export runs/mine runs/other --out sheet
  echat-eval rate export runs/both --ab mine,other --samples 30 --out sheet
  echat-eval rate export runs/both --match --out sheet
Send the folder to raters: they open index.html and send a file back. Keep sheet.key.json private:
it maps each answer to its system.""",
)
@click.argument("runs", nargs=-1, required=True, metavar="RUNS...")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.option(
    "--rubric", metavar="JUDGE", help="Rubric whose dimensions are rated.  [default: the newest of judges/]"
)
@click.option("--ab", "pair", metavar="A,B", help="Two systems for a preference test, instead of ratings.")
@click.option(
    "--match",
    is_flag=True,
    help="Ask which of two voices with the same words each reply answers, instead of ratings.",
)
@click.option(
    "--samples", default=20, show_default=True, type=click.IntRange(1), help="Maximum samples per task."
)
@click.option("--seed", default=0, show_default=True, type=int, help="Random seed of sampling and order.")
@click.option(
    "--with-audio",
    is_flag=True,
    help="Include recordings that the task does not allow to pass on; the raters may hear them.",
)
def rate_export(
    runs: tuple[str, ...],
    out: Path,
    rubric: str | None,
    pair: str | None,
    match: bool,
    samples: int,
    seed: int,
    with_audio: bool,
) -> int:
    """Make a blind, randomised rating page: one offline folder, and a key file beside it."""
    from echat_eval.cli.progress import Bar
    from echat_eval.judge import DEFAULT_RUBRIC
    from echat_eval.report.rating.sheet import dimensions_of, key_path, write_sheet
    from echat_eval.report.runs import merge_runs
    from echat_eval.store.select import open_run

    systems = tuple(name.strip() for name in pair.split(",")) if pair else None
    if systems is not None and (len(systems) != 2 or systems[0] == systems[1]):
        raise UsageError(f"--ab {pair}: expected two different systems, separated by a comma")
    if match and systems is not None:
        raise UsageError("--match with --ab: a sheet asks one kind of question; make two sheets")
    dimensions = dimensions_of(rubric or DEFAULT_RUBRIC)
    with Bar() as bar:
        questions = write_sheet(
            merge_runs([open_run(name) for name in runs]),
            out,
            dimensions=dimensions,
            pair=(systems[0], systems[1]) if systems else None,
            samples=samples,
            seed=seed,
            progress=bar,
            with_audio=with_audio,
            match=match,
        )
    show(f"{questions} questions in {out / 'index.html'}; keep the key {key_path(out)} private")
    return Exit.DONE


@rate.command(
    "import",
    epilog="\b\nExample:\n  echat-eval rate import --key sheet.key.json ann.json ben.json --out ratings.csv",
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    required=True,
    help="Key file that `rate export` wrote beside the folder.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="CSV file to write, for `check judge --ratings`.",
)
def rate_import(files: tuple[Path, ...], key: Path, out: Path) -> int:
    """Join raters' files into one table and print their agreement."""
    from echat_eval.checks.agreement import krippendorff_alpha
    from echat_eval.io.files import write_atomically
    from echat_eval.report.rating.collect import match_groups, read_ratings, units_of
    from echat_eval.report.rating.match import match_lines
    from echat_eval.report.rating.table import ratings_csv

    if out.exists():
        raise UsageError(f"{out}: already exists; choose another --out")
    ratings = read_ratings(key, files)
    write_atomically(out, ratings_csv(ratings))
    raters = {r.rater for r in ratings}
    show(f"{len(ratings)} ratings of {len(raters)} raters in {out}")
    for dimension in dict.fromkeys(r.dimension for r in ratings):
        alpha = krippendorff_alpha(units_of(ratings, dimension))
        text = "not defined: no reply rated twice, or all values equal" if alpha is None else f"{alpha:.3f}"
        show(f"{dimension}: Krippendorff's alpha (ordinal) {text}")
    for line in match_lines(ratings, match_groups(key)):
        show(line)
    return Exit.DONE
