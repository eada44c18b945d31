"""`export`: hand the questions out, to be answered by any program anywhere."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from echat_eval.cli.options import load_tasks
from echat_eval.errors import UsageError

if TYPE_CHECKING:
    from echat_eval.records import AudioRef, Request

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
  echat-eval run --task emotion --system mine=replay:replies.jsonl --out runs/mine
Give `run` the same --task, --data, --language, --limit and --ask, or it asks other questions.""",
)
@click.option("--task", "tasks", multiple=True, metavar="NAME", help="Task; repeatable.  [default: all]")
@click.option("--data", type=click.Path(path_type=Path, exists=True, file_okay=False), help="As for `run`.")
@click.option("--language", "languages", multiple=True, metavar="TAG", help="Only samples in it; repeatable.")
@click.option("--limit", type=click.IntRange(2), help="As for `run`.")
@click.option("--ask", metavar="WHAT", help="As for `run`: a question instead of a conversation.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to make.")
def export_requests(
    tasks: tuple[str, ...],
    data: Path | None,
    languages: tuple[str, ...],
    limit: int | None,
    ask: str | None,
    out: Path,
) -> None:
    """Write hash-named wavs and one requests.jsonl, with nothing that gives the answer away."""
    from echat_eval.io.jsonl import write_rows
    from echat_eval.store.keys import request_for

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: not empty; choose another --out")
    chosen = load_tasks(tasks, data, languages, limit)
    if ask is not None:
        from echat_eval.task.probe import probing

        chosen = [probing(task, ask) for task in chosen]
    out.mkdir(parents=True, exist_ok=True)
    rows = [_handed_out(request_for(sample), out) for task in chosen for sample in task.samples]
    # In the order of opaque ids, the order of the file says nothing either.
    write_rows(out / "requests.jsonl", sorted(rows, key=lambda row: row["id"]))
    click.echo(
        f"{len(rows)} requests in {out / 'requests.jsonl'}; answer each with a row "
        '{"id": ..., "text": ..., "audio": "reply.wav"}'
    )


def _handed_out(request: Request, out: Path) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": request.id,
        "audio": _copied(request.audio, out),
        "language": request.language,
    }
    if request.instruction is not None:
        row["instruction"] = request.instruction
    if request.history:
        row["history"] = [
            {"role": turn.role}
            | ({"text": turn.text} if turn.text is not None else {})
            | ({"audio": _copied(turn.audio, out)} if turn.audio is not None else {})
            for turn in request.history
        ]
    return row


def _copied(audio: AudioRef, out: Path) -> str:
    """Copy a file under a name that says its hash; times and modes would tell which came together."""
    name = f"{audio.sha256}{audio.path.suffix.lower()}"
    if not (out / name).exists():
        shutil.copyfile(audio.path, out / name)
    return name
