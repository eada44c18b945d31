"""`export`: hand the questions out, to be answered by any program anywhere."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from echat_eval.cli.options import load_tasks
from echat_eval.errors import UsageError

__all__ = ["export"]


@click.group()
def export() -> None:
    """Hand the questions out, to be answered by any program."""


@export.command(
    "requests",
    epilog="""\b
Example:
  echat-eval export requests --task emotion --out questions
  ... your script reads questions/requests.jsonl and writes one row a request to replies.jsonl ...
  echat-eval run --task emotion --system mine=replay:replies.jsonl --out runs/mine""",
)
@click.option("--task", "tasks", multiple=True, metavar="NAME", help="Task; repeatable.  [default: all]")
@click.option("--data", type=click.Path(path_type=Path, exists=True, file_okay=False), help="As for `run`.")
@click.option("--language", "languages", multiple=True, metavar="TAG", help="Only samples in it; repeatable.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to make.")
def export_requests(tasks: tuple[str, ...], data: Path | None, languages: tuple[str, ...], out: Path) -> None:
    """Write hash-named wavs and one requests.jsonl, with nothing that gives the answer away."""
    from echat_eval.jsonl import write_rows
    from echat_eval.keys import request_for

    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out}: not empty; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for task in load_tasks(tasks, data, languages, None):
        for sample in task.samples:
            request = request_for(sample)
            name = f"{request.audio.sha256}{request.audio.path.suffix.lower()}"
            shutil.copyfile(request.audio.path, out / name)
            rows.append({"id": request.id, "audio": name, "language": request.language})
    # In the order of opaque ids, the order of the file says nothing either.
    write_rows(out / "requests.jsonl", sorted(rows, key=lambda row: row["id"]))
    click.echo(f"{len(rows)} requests in {out / 'requests.jsonl'}; answer each with a row "
               '{"id": ..., "text": ..., "audio": "reply.wav"}')  # fmt: skip
