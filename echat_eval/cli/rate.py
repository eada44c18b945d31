"""`rate`: let people rate replies, blind and offline, and read what they send back."""

from __future__ import annotations

from pathlib import Path

import click

from echat_eval.errors import Exit, UsageError

__all__ = ["rate"]


@click.group()
def rate() -> None:
    """Let people rate replies, blind and offline; read their files."""


@rate.command(
    "export",
    epilog="""\b
Examples:
  echat-eval rate export runs/mine runs/other --out sheet
  echat-eval rate export runs/both --ab mine,other --samples 30 --out sheet
Send the folder to raters: they open index.html and send a file back. Keep sheet.key.json: it says
which answer is whose.""",
)
@click.argument("runs", nargs=-1, required=True, metavar="RUNS...")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to make.")
@click.option(
    "--rubric", metavar="JUDGE", help="Whose dimensions are asked.  [default: the newest of `judges/`]"
)
@click.option("--ab", "pair", metavar="A,B", help="Ask which of two systems' replies is better instead.")
@click.option(
    "--samples", default=20, show_default=True, type=click.IntRange(1), help="At most so many a task."
)
@click.option("--seed", default=0, show_default=True, type=int, help="Of the draw and of the order.")
def rate_export(
    runs: tuple[str, ...], out: Path, rubric: str | None, pair: str | None, samples: int, seed: int
) -> int:
    """Make a blind, randomised rating page: one folder, offline, and a key beside it."""
    from echat_eval.cli.progress import Bar
    from echat_eval.judge import judge_names
    from echat_eval.report.rating.sheet import dimensions_of, key_path, write_sheet
    from echat_eval.report.runs import merge_runs
    from echat_eval.store.select import open_run

    both = tuple(name.strip() for name in pair.split(",")) if pair else None
    if both is not None and (len(both) != 2 or both[0] == both[1]):
        raise UsageError(f"--ab {pair}: expected two different systems with a comma between")
    dimensions = dimensions_of(rubric or judge_names()[-1])
    with Bar() as bar:
        asked = write_sheet(
            merge_runs([open_run(name) for name in runs]),
            out,
            dimensions=dimensions,
            pair=(both[0], both[1]) if both else None,
            samples=samples,
            seed=seed,
            progress=bar,
        )
    click.echo(f"{asked} questions in {out / 'index.html'}; the key is {key_path(out)}, keep it to yourself")
    return Exit.DONE


@rate.command(
    "import",
    epilog="\b\nExample:\n  echat-eval rate import --key sheet.key.json ann.json ben.json --out ratings.csv",
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--key", type=click.Path(path_type=Path), required=True, help="What `rate export` wrote beside the sheet."
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="CSV to write, for `check judge --ratings`."
)
def rate_import(files: tuple[Path, ...], key: Path, out: Path) -> int:
    """Join raters' files into one table, and say how far they agree."""
    from echat_eval.checks.agreement import krippendorff_alpha
    from echat_eval.io.files import write_atomically
    from echat_eval.report.rating.collect import read_ratings, units_of
    from echat_eval.report.rating.table import ratings_csv

    if out.exists():
        raise UsageError(f"{out}: is there already; choose another --out")
    found = read_ratings(key, files)
    write_atomically(out, ratings_csv(found))
    raters = {r.rater for r in found}
    click.echo(f"{len(found)} ratings of {len(raters)} raters in {out}")
    for dimension in dict.fromkeys(r.dimension for r in found):
        agreed = krippendorff_alpha(units_of(found, dimension))
        shown = (
            "not defined: no reply rated twice, or all values equal" if agreed is None else f"{agreed:.3f}"
        )
        click.echo(f"{dimension}: Krippendorff's alpha (ordinal) {shown}")
    return Exit.DONE
