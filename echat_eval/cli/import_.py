"""`import`: foreign data become a task folder; every row a sample or a named reason."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import click

from echat_eval.errors import UsageError

__all__ = ["import_data"]


@click.command(
    "import",
    epilog="""\b
Examples:
  echat-eval import echat EChat-200K/gender --language zh --real KeSpeech --cue gender --out my-tasks/gender
  echat-eval import sd-eval SD-Eval/data --audio SD-Eval/audio --language en --source real --out my-tasks/sd
  echat-eval import echat --from-hub ASLP-lab/EChat-200K --language zh --source synthetic --out my-tasks/echat
Nothing is guessed: what rows do not say and you do not say is a reason in refused.jsonl.""",
)
@click.argument("form")
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Task folder to make.")
@click.option("--name", help="Of the task.  [default: the name of --out]")
@click.option(
    "--cue", "cues", multiple=True, help="What the task is about; repeatable.  [default: what all rows name]"
)
@click.option("--language", help="Of rows that name none: en or zh.")
@click.option("--source", type=click.Choice(["real", "synthetic"]), help="Of rows that do not say.")
@click.option("--real", multiple=True, metavar="CORPUS", help="Rows from it are recordings; repeatable.")
@click.option("--synthetic", multiple=True, metavar="CORPUS", help="Rows from it are synthetic; repeatable.")
@click.option(
    "--audio", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Where the audio lies."
)
@click.option(
    "--licence", default="unknown: ask whoever made the data", show_default=True, help="Of the samples."
)
@click.option("--from-hub", "hub_repo", metavar="OWNER/NAME", help="Fetch this data set first.")
@click.option("--revision", default="main", show_default=True, help="Of the data set at the hub.")
@click.option("--include", multiple=True, metavar="PATTERN", help="Fetch only such files; repeatable.")
@click.option(
    "--hub-url", envvar="HF_ENDPOINT", default="https://huggingface.co", show_default=True, help="The hub."
)
def import_data(
    form: str,
    folder: Path | None,
    out: Path,
    name: str | None,
    cues: tuple[str, ...],
    language: str | None,
    source: Literal["real", "synthetic"] | None,
    real: tuple[str, ...],
    synthetic: tuple[str, ...],
    audio: Path | None,
    licence: str,
    hub_repo: str | None,
    revision: str,
    include: tuple[str, ...],
    hub_url: str,
) -> None:
    """Read FOLDER into a task folder.

    FORM is echat, echomind, vocalbench, televal, sd-eval or humdial.
    """
    from echat_eval.importers import importer
    from echat_eval.importers.draft import ImportOptions
    from echat_eval.importers.writing import write_task
    from echat_eval.task import find_faults

    read = importer(form)
    origin = {"form": form}
    if hub_repo is not None:
        folder, origin = _fetched(
            hub_repo, revision, include, hub_url, folder or out.with_name(f"{out.name}-source")
        )
    elif folder is None:
        raise UsageError("which folder? Name it, or fetch one with --from-hub OWNER/NAME")
    if not folder.exists():
        raise UsageError(f"{folder}: no such file or folder")
    told = ImportOptions(language=language, source=source, real=real, synthetic=synthetic, audio=audio)
    done = write_task(
        read(folder, told),
        out,
        name=name or out.name,
        title=f"{form}: {name or out.name}",
        licence=licence,
        description=f"Imported from data of the form '{form}'; see import.json and refused.jsonl.",
        cues=cues,
        origin=origin,
    )
    click.echo(
        f"{done.rows} rows: {done.samples} samples about {', '.join(done.cues)}, "
        f"{done.groups} contrast groups, {done.refused} refused"
    )
    for reason, count in list(done.reasons.items())[:8]:
        click.echo(f"  {count:6}  {reason}")
    faults = find_faults(out)
    for fault in faults[:10]:
        click.echo(fault)
    if faults:
        raise UsageError(f"{out}: {len(faults)} faults in what was imported; see above")
    click.echo(f"{out}: no fault found; run it with --data {out} --task {name or out.name}")


def _fetched(
    repo: str, revision: str, include: tuple[str, ...], hub: str, into: Path
) -> tuple[Path, dict[str, str]]:
    from echat_eval.importers.hub import fetch_data_set, write_record

    def say(name: str, done: int, total: int) -> None:
        click.echo(f"\r{done / 2**20:9.1f} of {total / 2**20:.1f} MB  {name[-50:]:50}", nl=False, err=True)

    token = os.environ.get("HF_TOKEN") or None
    found = fetch_data_set(
        repo, into, hub=hub, revision=revision, include=include or ("*",), token=token, progress=say
    )
    click.echo(err=True)
    write_record(into, repo, hub, found)
    click.echo(
        f"{len(found.files)} files of {repo} at {found.commit[:12]} in {into}, {found.bytes:,} bytes fetched"
    )
    return into, {"data_set": repo, "commit": found.commit, "hub": hub}
