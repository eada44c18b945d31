"""`import`: convert other data sets to a task folder; each row becomes a sample or a named refusal."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from echat_eval.cli.terminal import overwrite, show
from echat_eval.errors import Exit, UsageError

if TYPE_CHECKING:
    from echat_eval.importers.draft import Draft, ImportOptions, Refusal
    from echat_eval.importers.result import Imported

__all__ = ["import_data"]


@click.command(
    "import",
    epilog="""\b
Examples:
  echat-eval import echat EChat-200K/gender --language zh --real KeSpeech --cue gender --out my-tasks/gender
  echat-eval import sd-eval SD-Eval/data --audio SD-Eval/audio --language en --source real --out my-tasks/sd
  echat-eval import table recordings.csv --guess
  echat-eval import table recordings.csv --map recordings.mapping.yaml --out my-tasks/calls
  echat-eval import trace TRACE/data/s2sarena.json --audio S2S-Arena --source synthetic --out my-tasks/trace
  echat-eval import echat --from-hub ASLP-lab/EChat-200K --language zh --source synthetic --out my-tasks/echat
Nothing is guessed: a row without language or source is refused, with its reason in refused.jsonl,
unless an option gives it.""",
)
@click.argument("form")
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option("--out", type=click.Path(path_type=Path), help="Task folder to write.")
@click.option("--name", help="Name of the task.  [default: the name of --out]")
@click.option(
    "--cue",
    "cues",
    multiple=True,
    help="Cue that the task tests; repeatable.  [default: the cues that every row has]",
)
@click.option(
    "--map",
    "mapping",
    metavar="FILE",
    help="Mapping of a table's columns and labels, or the name of a shipped one.",
)
@click.option("--files", metavar="GLOB", help="Table files of a folder that holds several.")
@click.option("--guess", is_flag=True, help="Write a mapping for a table, to be reviewed, and stop.")
@click.option("--check", is_flag=True, help="Check the rows without reading audio or writing anything.")
@click.option(
    "--live", is_flag=True, help="Make dialogues live: systems answer the user's earlier turns themselves."
)
@click.option(
    "--by-reference", is_flag=True, help="Leave audio files where they are; the task keeps path and hash."
)
@click.option("--language", help="Language of rows that name none: a BCP 47 tag, such as en.")
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
    "--labels",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="People's grades of replies (vstyle): a folder of one .jsonl per annotator.",
)
@click.option(
    "--licence", help="Licence of the samples.  [default: the mapping's, or unknown: ask the authors]"
)
@click.option("--from-hub", "hub_repo", metavar="OWNER/NAME", help="Data set on the hub to download first.")
@click.option(
    "--revision",
    help="Branch, tag or commit on the hub.  [default: the one that the format was read at, or main]",
)
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
    out: Path | None,
    name: str | None,
    cues: tuple[str, ...],
    mapping: str | None,
    files: str | None,
    guess: bool,
    check: bool,
    live: bool,
    by_reference: bool,
    language: str | None,
    source: Literal["real", "synthetic"] | None,
    real: tuple[str, ...],
    synthetic: tuple[str, ...],
    audio: Path | None,
    labels: Path | None,
    licence: str | None,
    hub_repo: str | None,
    revision: str | None,
    include: tuple[str, ...],
    hub_url: str,
) -> int:
    """Convert the data set in FOLDER, or the table FILE, to a task folder.

    FORM is table (CSV, TSV, JSON Lines, Parquet, a saved data set, an AudioFolder), echat, echomind,
    vocalbench, televal, sd-eval, humdial, wavbench or audiomc; or trace or vstyle, whose replies and people's
    labels are imported too, to hold a judge against people.
    """
    from echat_eval.importers import importer
    from echat_eval.importers.draft import ImportOptions
    from echat_eval.importers.live import as_live
    from echat_eval.importers.mapping import mapping_of
    from echat_eval.importers.origin import origin_of
    from echat_eval.importers.result import check_rows

    read = importer(form)
    if labels is not None and form != "vstyle":
        raise UsageError(f"--labels is for vstyle; '{form}' takes no labels beside its rows")
    if form != "table" and (mapping or guess):
        raise UsageError(f"--map and --guess are for tables; '{form}' has columns of its own")
    used = None if guess else mapping_of(form, mapping)
    if out is None and not guess and not check:
        raise UsageError("no --out given; name the task folder to write (or use --check)")
    revision = revision or (used.revision if used else None) or "main"
    if hub_repo is not None:
        default = out.with_name(f"{out.name}-source") if out else Path(hub_repo.rpartition("/")[2])
        folder = _fetched(hub_repo, revision, include, hub_url, folder or default)
    elif folder is None:
        raise UsageError("no folder given; name one, or download a data set with --from-hub OWNER/NAME")
    if not folder.exists():
        raise UsageError(f"{folder}: no such file or folder")
    if guess:
        return _guess(folder, mapping, files)
    options = ImportOptions(
        language=language,
        source=source,
        real=real,
        synthetic=synthetic,
        audio=audio,
        mapping=used,
        files=files,
        needs_audio=not check,
        labels=labels,
    )
    entries = as_live(read(folder, options)) if live else read(folder, options)
    if check:
        checked = check_rows(entries, options.cues(cues))
        _print_counts(checked, f"{checked.samples} can be samples")
        return Exit.REGRESS if checked.refused else Exit.DONE
    assert out is not None
    _import(
        entries,
        form,
        out,
        name,
        options.cues(cues),
        by_reference,
        licence,
        options,
        origin_of(form, folder),
    )
    return Exit.DONE


def _import(
    entries: Iterator[Draft | Refusal],
    form: str,
    out: Path,
    name: str | None,
    cues: tuple[str, ...],
    by_reference: bool,
    licence: str | None,
    options: ImportOptions,
    origin: Mapping[str, Any],
) -> None:
    from echat_eval.importers.facts import TaskFacts
    from echat_eval.importers.writing import write_task

    facts = options.mapping.facts if options.mapping else TaskFacts()
    written = write_task(
        entries,
        out,
        name=name or out.name,
        facts=replace(
            facts,
            title=facts.title or f"{form}: {name or out.name}",
            licence=licence or facts.licence,
        ),
        cues=cues,
        defined=options.mapping.defined if options.mapping else {},
        by_reference=by_reference,
        origin=origin,
    )
    _print_counts(
        written,
        f"{written.samples} samples with cue {', '.join(written.cues)}, {written.groups} contrast groups",
    )
    if written.graded_systems:
        show(*_next_commands(out, name or out.name, written.graded_systems))
        return
    if not written.groups:
        show(
            "no contrast groups: no two samples have the same words and different labels, so the cue "
            "contrast is empty; a judge needs no groups (--judge)"
        )
    if written.alone:
        show(
            f"{written.alone} rows with `expect` are in no contrast group: no other row has their words and "
            "references and another label; they are samples without this mark"
        )
    if not written.speakers:
        show("no speakers: every sample counts as another person; name the speaker's column, if there is one")
    show(f"{out}: no fault found; run it with --data {out} --task {name or out.name}")


def _next_commands(out: Path, task: str, systems: Sequence[str]) -> list[str]:
    """Return how to have a judge grade imported replies, and to compare it with people."""
    from echat_eval.importers.graded_replies import RATINGS, REPLIES

    replies = " ".join(f"--system {shlex.quote(f'{n}=replay:{out}/{REPLIES}/{n}.jsonl')}" for n in systems)
    return [
        f"{out}: replies of {', '.join(systems)} in {REPLIES}/, people's grades in {RATINGS}. Next:",
        f"  echat-eval run --data {out} --task {task} {replies} --judge MODEL --out runs/{task}",
        f"  echat-eval check judge --ratings {out}/{RATINGS} --run runs/{task}",
    ]


def _print_counts(counts: Imported, kept: str) -> None:
    """Print what became of the rows: aliases that were accepted, and refusals by kind with examples."""
    show(f"{counts.rows} rows: {kept}, {counts.refused} refused")
    for cue, aliases in counts.aliases.items():
        listed = [f"{alias} ({rows} rows)" for alias, rows in sorted(aliases.items(), key=lambda a: -a[1])]
        more = f", and {len(listed) - 5} more" if len(listed) > 5 else ""
        show(f"  {cue} in other spellings: {', '.join(listed[:5])}{more}")
    for reason, rows in list(counts.reasons.items())[:8]:
        show(f"  {rows:6} rows refused: {reason}", *(f"         {e}" for e in counts.examples[reason]))
    if len(counts.reasons) > 8:
        show(f"  and {len(counts.reasons) - 8} other kinds of refusals")


def _guess(table: Path, target: str | None, files: str | None) -> int:
    from echat_eval.importers.guess import write_guess

    path = Path(target or f"{table.stem}.mapping.yaml")
    show(*write_guess(table, path, files))
    show(
        f"{path}: check it, fill in what is empty, then run",
        f"  echat-eval import table {table} --map {path} --out TASK",
    )
    return Exit.DONE


def _fetched(repo: str, revision: str, include: tuple[str, ...], hub: str, into: Path) -> Path:
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
    return into
