"""`check`: find faults before they cost a run."""

from __future__ import annotations

from pathlib import Path

import click

from echat_eval.cli.check_instruments import check_annotators, check_instruments, check_judge
from echat_eval.errors import Exit

__all__ = ["check"]


@click.group()
def check() -> None:
    """Find faults before they cost a run."""


@check.command("task", epilog="\b\nExample:\n  echat-eval check task my-data/emotion")
@click.argument("folder", type=click.Path(path_type=Path))
def check_task(folder: Path) -> int:
    """Tell all faults of a task folder at once: schema, labels, groups, hashes, every audio file."""
    from echat_eval.task import find_faults

    faults = find_faults(folder)
    for fault in faults:
        click.echo(fault)
    if faults:
        click.echo(f"{len(faults)} fault{'s' if len(faults) > 1 else ''} in {folder}", err=True)
        return Exit.REGRESS
    click.echo(f"{folder}: no fault found")
    return Exit.DONE


check.add_command(check_judge)
check.add_command(check_annotators)
check.add_command(check_instruments)
