"""`import`: convert other data sets to a task folder; each row becomes a sample or a named refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from echat_eval.cli.terminal import overwrite, show
from echat_eval.errors import UsageError

__all__ = ["import_data"]


@click.command(
    "import",
    epilog="""\b
Examples:
  echat-eval import echat EChat-200K/gender --language zh --real KeSpeech --cue gender --out my-tasks/gender
  echat-eval import sd-eval SD-Eval/data --audio SD-Eval/audio --language en --source real --out my-tasks/sd
  echat-eval import echat --from-hub ASLP-lab/EChat-200K --language zh --source synthetic --out my-tasks/echat
Nothing is guessed: a row without language or source is refused, with its reason in refused.jsonl,
unless an option gives it.""",
)
@click.argument("form")
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Task folder to write.")
@click.option("--name", help="Name of the task.  [default: the name of --out]")
@click.option(
    "--cue",
    "cues",
    multiple=True,
    help="Cue that the task tests; repeatable.  [default: the cues that every row has]",
)
@click.option("--language", help="Language of rows that name none: en or zh.")
@click.option("--source", type=click.Choice(["real", "synthetic"]), help="Source of rows that name none.")
@click.option(
    "--real", multiple=True, metavar="CORPUS", help="Corpus whose rows are real recordings; repeatable."
)
@click.option(
    "--synthetic", multiple=True, metavar="CORPUS", help="Corpus whose rows are synthetic speech; repeatable."
)
@click.option(
    "--audio",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of the audio files, if not FOLDER.",
)
@click.option(
    "--licence",
    default="unknown: ask the authors of the data",
    show_default=True,
    help="Licence of the samples.",
)
@click.option("--from-hub", "hub_repo", metavar="OWNER/NAME", help="Data set on the hub to download first.")
@click.option("--revision", default="main", show_default=True, help="Branch, tag or commit on the hub.")
@click.option(
    "--include",
    multiple=True,
    metavar="PATTERN",
    help="Pattern of the files to download; repeatable.  [default: all]",
)
@click.option(
    "--hub-url",
    envvar="HF_ENDPOINT",
    default="https://huggingface.co",
    show_default=True,
    help="Base URL of the hub.",
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
    """Convert the data set in FOLDER to a task folder.

    FORM is echat, echomind, vocalbench, televal, sd-eval or humdial.
    """
    from echat_eval.importers import importer
    from echat_eval.importers.draft import ImportOptions
    from echat_eval.importers.writing import write_task

    read = importer(form)
    origin = {"form": form}
    if hub_repo is not None:
        folder, origin = _fetched(
            hub_repo, revision, include, hub_url, folder or out.with_name(f"{out.name}-source")
        )
    elif folder is None:
        raise UsageError("no folder given; name one, or download a data set with --from-hub OWNER/NAME")
    if not folder.exists():
        raise UsageError(f"{folder}: no such file or folder")
    options = ImportOptions(language=language, source=source, real=real, synthetic=synthetic, audio=audio)
    written = write_task(
        read(folder, options),
        out,
        name=name or out.name,
        title=f"{form}: {name or out.name}",
        licence=licence,
        description=f"Imported from data of the form '{form}'; see import.json and refused.jsonl.",
        cues=cues,
        origin=origin,
    )
    show(
        f"{written.rows} rows: {written.samples} samples with cue {', '.join(written.cues)}, "
        f"{written.groups} contrast groups, {written.refused} refused"
    )
    for reason, count in list(written.reasons.items())[:8]:
        show(f"  {count:6}  {reason}")
    show(*written.faults[:10])
    if written.faults:
        raise UsageError(f"{out}: {len(written.faults)} faults in the imported task; see above")
    show(f"{out}: no fault found; run it with --data {out} --task {name or out.name}")


def _fetched(
    repo: str, revision: str, include: tuple[str, ...], hub: str, into: Path
) -> tuple[Path, dict[str, str]]:
    from echat_eval.clients.keys import secret_from
    from echat_eval.importers.hub import fetch_data_set, write_record

    def print_progress(name: str, done: int, total: int) -> None:
        overwrite(f"{done / 2**20:9.1f} of {total / 2**20:.1f} MB  {name[-50:]:50}")

    token = secret_from("HF_TOKEN")
    fetched = fetch_data_set(
        repo,
        into,
        hub=hub,
        revision=revision,
        include=include or ("*",),
        token=token,
        on_progress=print_progress,
    )
    show("", err=True)
    write_record(into, repo, hub, fetched)
    show(
        f"{len(fetched.files)} files of {repo} at {fetched.commit[:12]} in {into}, "
        f"{fetched.bytes:,} bytes downloaded"
    )
    return into, {"data_set": repo, "commit": fetched.commit, "hub": hub}
