"""`export`: requests, to be answered by any program; runs, for other programs; and splits of a task."""

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
    """Export requests, to be answered by any program, a run for other programs, or a split of a task."""


@export.command(
    "requests",
    short_help="Write requests and their audio.",
    epilog="""\b
Example:
  echat-eval export requests --task emotion --out questions
  ... your script reads questions/requests.jsonl and writes one row per request to replies.jsonl ...
  echat-eval run --task emotion --system mine=replay:replies.jsonl --out runs/mine
Give `run` the same --task, --data, --language, --part, --limit and --ask; otherwise the requests differ.""",
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
        tasks.tasks,
        data=tasks.data,
        languages=tasks.languages,
        part=tasks.part,
        limit=tasks.limit,
        ask=tasks.ask,
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


@export.command(
    "split",
    epilog="""\b
Examples:
  echat-eval export split my-data/mood --part dev=0.3 --part test=0.7
  echat-eval run --task mood --data my-data/mood --part test --system ...
The split is my-data/mood/splits/1.json; another one is 2.json, and neither is ever changed.""",
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--part",
    "parts",
    multiple=True,
    required=True,
    metavar="NAME=SHARE",
    help="Part and its share of the samples; repeatable. The shares add up to 1.",
)
@click.option(
    "--by",
    default="speaker,sentence",
    show_default=True,
    help="Factors of which no level is in two parts: speaker, sentence or both.",
)
@click.option(
    "--leave-out",
    is_flag=True,
    help="Leave out samples whose speaker and sentence are in different parts, for crossed data.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Random seed of the draw.")
def export_split(folder: Path, parts: tuple[str, ...], by: str, leave_out: bool, seed: int) -> None:
    """Draw a frozen split of a task: no speaker and no sentence in two parts."""
    from echat_eval.errors import UsageError
    from echat_eval.task.split import split_versions
    from echat_eval.task.split_draw import new_split, split_lines

    shares: dict[str, float] = {}
    for text in parts:
        name, _, share = text.partition("=")
        try:
            shares[name.strip()] = float(share)
        except ValueError:
            raise UsageError(f"--part {text}: expected NAME=SHARE, such as test=0.7") from None
    if len(shares) < len(parts):
        raise UsageError(f"--part {' --part '.join(parts)}: a part is named twice; name each once")
    factors = tuple(name.strip() for name in by.split(",") if name.strip())
    before = split_versions(folder)
    path, split, samples = new_split(folder, shares, by=factors, seed=seed, leave_out=leave_out)
    same = ", which is the same" if split.version in before else ""
    show(
        *split_lines(split, samples),
        f"{path}: version {split.version}{same}; use it with --part {next(iter(shares))}",
    )
