"""`check task`: faults of a task folder, and what other than the voice reveals its labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from echat_eval.cli.terminal import show
from echat_eval.errors import Exit

if TYPE_CHECKING:
    from echat_eval.checks.task_check import TaskCheck

__all__ = ["check_task"]


@click.command(
    "task",
    epilog="""\b
Examples:
  echat-eval check task my-data/emotion
  echat-eval check task my-data/emotion --embedding --annotator whisper --annotator dnsmos
  echat-eval check task my-data/emotion --report check --margin 3
Exit code 1: a fault; 0: none. --allow NAME turns the faults of one check into notes.""",
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--all", "every", is_flag=True, help="List every fault, not three of each kind.")
@click.option("--form", is_flag=True, help="Check the form of the folder only, not its content.")
@click.option(
    "--report", type=click.Path(path_type=Path), help="Folder to write: a page with plots, and JSON."
)
@click.option("--embedding", is_flag=True, help="Also predict labels from the sentence embedding.")
@click.option(
    "--annotator",
    "annotators",
    multiple=True,
    metavar="NAME[:KEY=VALUE,...]",
    help="Annotator to compare with words and labels, or of quality; repeatable.",
)
@click.option(
    "--margin",
    type=click.FloatRange(0, min_open=True),
    help="Points that a comparison should show.  [default: 5]",
)
@click.option(
    "--sd",
    type=click.FloatRange(0, min_open=True),
    help="Assumed standard deviation of one sample's difference, in points.  [default: 25]",
)
@click.option("--allow", multiple=True, metavar="CHECK", help="Check whose faults are accepted; repeatable.")
def check_task(
    folder: Path,
    every: bool,
    form: bool,
    report: Path | None,
    embedding: bool,
    annotators: tuple[str, ...],
    margin: float | None,
    sd: float | None,
    allow: tuple[str, ...],
) -> int:
    """Check a task folder: its form, leaks of the label, confounds, recordings, wording, design."""
    from echat_eval.annotators.select import select_annotators
    from echat_eval.checks.task_check import check_folder
    from echat_eval.checks.task_design import MARGIN, SD
    from echat_eval.checks.task_report import require_report
    from echat_eval.checks.task_text import check_lines
    from echat_eval.cli.progress import Bar
    from echat_eval.task import find_faults, folder_of

    folder = folder_of(folder)
    if report is not None:
        require_report(report)
    selected = select_annotators(list(annotators), lambda text: show(f"note: {text}", err=True))
    if faults := find_faults(folder):
        return _print_faults(folder, faults, every=every)
    if form:
        show(f"{folder}: no fault of form found")
        return Exit.DONE
    with Bar() as bar:
        checked = check_folder(
            folder,
            annotators=selected,
            embedding=embedding,
            margin=MARGIN if margin is None else margin,
            sd=SD if sd is None else sd,
            allow=allow,
            progress=bar,
        )
    if report is not None:
        _write_report(checked, report)
    show(*check_lines(checked, every=every))
    if report is not None:
        show(f"written: {report / 'index.html'}, {report / 'check.json'}")
    return Exit.REGRESS if checked.refused else Exit.DONE


def _print_faults(folder: Path, faults: list[str], *, every: bool) -> int:
    from echat_eval.task.faults import EXAMPLES, by_kind

    for kind, found in by_kind(faults).items():
        show(*(found if every else found[:EXAMPLES]))
        if len(found) > EXAMPLES and not every:
            show(f"  ... and {len(found) - EXAMPLES} more of this kind: {kind}")
    more = "; --all lists each" if len(faults) > EXAMPLES and not every else ""
    show(f"{len(faults)} fault{'s' if len(faults) > 1 else ''} in {folder}{more}", err=True)
    return Exit.REGRESS


def _write_report(checked: TaskCheck, report: Path) -> None:
    from echat_eval.checks.task_report import write_report

    write_report(checked, report)
