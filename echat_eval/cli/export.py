"""`export`: write requests to files, to be answered by any program; and runs, for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from echat_eval.cli.options import TaskOptions, task_options
from echat_eval.cli.terminal import show

if TYPE_CHECKING:
    from echat_eval.io.unfinished import NewFolder
    from echat_eval.records import AudioRef, Request

__all__ = ["export"]


@click.group()
def export() -> None:
    """Export requests, to be answered by any program, or a run, for other programs."""


@export.command(
    "requests",
    short_help="Write requests and their audio.",
    epilog="""\b
Example:
  echat-eval export requests --task emotion --out questions
  ... your script reads questions/requests.jsonl and writes one row per request to replies.jsonl ...
  echat-eval run --task emotion --system mine=replay:replies.jsonl --out runs/mine
Give `run` the same --task, --data, --language, --limit and --ask; otherwise the requests differ.""",
)
@task_options
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder to write; must be empty or new."
)
def export_requests(out: Path, tasks: TaskOptions) -> None:
    """Write audio files named by their hash and requests.jsonl, without labels or other hints."""
    from echat_eval.errors import UsageError
    from echat_eval.io.jsonl import rows_text
    from echat_eval.io.unfinished import NewFolder
    from echat_eval.store.keys import request_for
    from echat_eval.task.select import select_tasks

    selected = select_tasks(
        tasks.tasks, data=tasks.data, languages=tasks.languages, limit=tasks.limit, ask=tasks.ask
    )
    for task in selected:
        if live := [sample for sample in task.samples if sample.turns is not None]:
            raise UsageError(
                f"task '{task.name}': {len(live)} of {len(task.samples)} samples are live dialogues, whose "
                "later requests hold the system's own replies; expected samples without 'turns'. Connect the "
                "system with `run --system` instead"
            )
    with NewFolder(out, "echat-eval export requests") as folder:
        rows = [_export(request_for(sample), folder) for task in selected for sample in task.samples]
        # Sorted by opaque id, the order of the rows gives no hint either.
        folder.write("requests.jsonl", rows_text(sorted(rows, key=lambda row: str(row["id"]))))
    show(
        f"{len(rows)} requests in {out / 'requests.jsonl'}; answer each with a row "
        '{"id": ..., "text": ..., "audio": "reply.wav"}'
    )


def _export(request: Request, folder: NewFolder) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": request.id,
        "audio": _copied(request.audio, folder),
        "language": request.language,
    }
    if request.instruction is not None:
        row["instruction"] = request.instruction
    if request.history:
        row["history"] = [
            {"role": turn.role}
            | ({"text": turn.text} if turn.text is not None else {})
            | ({"audio": _copied(turn.audio, folder)} if turn.audio is not None else {})
            for turn in request.history
        ]
    return row


def _copied(audio: AudioRef, folder: NewFolder) -> str:
    """Copy a file to a name made of its hash; return the name.

    Times and modes are not copied: they could show which samples belong together.
    """
    name = f"{audio.sha256}{audio.path.suffix.lower()}"
    folder.copy(name, audio.path, audio.sha256)
    return name
