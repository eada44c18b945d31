"""`export parquet`, `export scores`, `export hub`: a run for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from echat_eval.cli.export import export
from echat_eval.cli.options import headline_option
from echat_eval.cli.terminal import show

if TYPE_CHECKING:
    from echat_eval.report.export_parquet import AudioMode

__all__ = ["export_hub", "export_parquet", "export_scores"]

_FOLDER = click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder to write; must be empty or new."
)


@export.command(
    "parquet",
    short_help="Write a run as Parquet files.",
    epilog="""\b
Examples:
  echat-eval export parquet runs/mine --out mine-parquet
  echat-eval export parquet runs/mine:cascade --out with-sound --audio bytes
In Python: datasets.load_dataset("mine-parquet", "scores")""",
)
@click.argument("run")
@_FOLDER
@click.option(
    "--audio",
    type=click.Choice(("none", "path", "bytes")),
    default="none",
    show_default=True,
    help="Leave recordings out, write them beside the tables, or into them.",
)
@click.option("--with-audio", is_flag=True, help="Include queries that the task does not allow to pass on.")
@click.option("--with-private", is_flag=True, help="Include the rows of private tasks.")
def export_parquet(run: str, out: Path, audio: AudioMode, with_audio: bool, with_private: bool) -> None:
    """Write samples, replies, annotations, scores and verdicts as Parquet files."""
    from echat_eval.io.unfinished import NewFolder
    from echat_eval.report.export_parquet import export_parquet as write
    from echat_eval.store.select import open_run

    with NewFolder(out, "echat-eval export parquet") as folder:
        made = write(open_run(run), folder, audio=audio, with_audio=with_audio, with_private=with_private)
    for note in made.notes:
        show(f"note: {note}", err=True)
    show(f"{out}: " + ", ".join(f"{count} {name}" for name, count in made.rows.items()))


@export.command(
    "scores",
    short_help="Write the scores of a run as a long table.",
    epilog="""\b
Example:
  echat-eval export scores runs/mine:cascade --out cascade.jsonl
  echat-eval compare cascade.jsonl runs/new:cascade""",
)
@click.argument("run")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="File to write, .csv or .jsonl; must be new.",
)
def export_scores(run: str, out: Path) -> None:
    """Write the scores of a run as the long table that `compare` and `gate` read."""
    from echat_eval.errors import UsageError
    from echat_eval.io.files import write_atomically
    from echat_eval.report.export_scores import scores_text
    from echat_eval.store.select import open_run

    if out.suffix not in (".csv", ".jsonl"):
        raise UsageError(f"--out {out}: expected a name that ends in .csv or .jsonl")
    if out.exists():
        raise UsageError(f"{out}: exists already; choose another --out")
    write_atomically(out, scores_text(open_run(run), csv=out.suffix == ".csv"))
    show(out)


@export.command(
    "hub",
    short_help="Write results and model cards for the hub.",
    epilog="""\b
Example:
  echat-eval export hub runs/mine --dataset me/echat-demo --out hub
Copy hub/SYSTEM/.eval_results into the model's repository, hub/SYSTEM/model-card.md into its README.md, and
hub/eval.yaml to the root of the data set's repository. Nothing is sent.""",
)
@click.argument("runs", nargs=-1, required=True, metavar="RUNS...")
@_FOLDER
@click.option("--dataset", required=True, metavar="OWNER/NAME", help="Repository of the data set on the hub.")
@click.option("--revision", metavar="COMMIT", help="Commit or tag of the data set.")
@click.option("--split", default="test", show_default=True, help="Split of the samples.")
@click.option("--url", help="Address of a page that shows the results.")
@headline_option
def export_hub(
    runs: tuple[str, ...],
    out: Path,
    dataset: str,
    revision: str | None,
    split: str,
    url: str | None,
    headline: str | None,
) -> int:
    """Write evaluation results, the data set's tasks and model cards in the forms of the Hugging Face Hub."""
    from echat_eval.errors import Exit
    from echat_eval.experiment.record import days_of
    from echat_eval.io.unfinished import NewFolder
    from echat_eval.report.export_hub import HubTarget, hub_files
    from echat_eval.report.runs import merge_runs
    from echat_eval.store.select import open_run, parse_spec

    days = [found[-10:] for run in runs if (found := days_of(parse_spec(run).path))]
    target = HubTarget(dataset=dataset, revision=revision, split=split, date=max(days, default=None), url=url)
    merged = merge_runs([open_run(run) for run in runs], headline=headline)
    files, notes = hub_files(merged, target)
    for note in notes:
        show(f"note: {note}", err=True)
    if not files:
        show("echat-eval: no result is left to publish; nothing is written", err=True)
        return Exit.CANNOT_TELL
    with NewFolder(out, "echat-eval export hub") as folder:
        for name, text in files.items():
            folder.write(name, text)
    for name in files:
        show(out / name)
    return Exit.DONE
