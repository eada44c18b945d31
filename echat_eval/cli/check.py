"""`check`: find faults before a run."""

from __future__ import annotations

from pathlib import Path

import click

from echat_eval.cli.check_annotators import check_annotators
from echat_eval.cli.check_instruments import check_instruments
from echat_eval.cli.check_judge import check_judge
from echat_eval.cli.terminal import show
from echat_eval.errors import Exit, UsageError

__all__ = ["check"]


@click.group()
def check() -> None:
    """Check a task folder, a system, a judge, annotators or the instruments before a run."""


@check.command("task", epilog="\b\nExample:\n  echat-eval check task my-data/emotion")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--all", "every", is_flag=True, help="List every fault, not three of each kind.")
def check_task(folder: Path, every: bool) -> int:
    """List the faults of a task folder by kind: schema, labels, groups, hashes, audio files."""
    from echat_eval.stats import as_design, units_of
    from echat_eval.task import find_faults
    from echat_eval.task.faults import EXAMPLES, FaultList, by_kind
    from echat_eval.task.folder import read_contents

    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; give a task's folder, with task.yaml and samples.jsonl")
    faults = find_faults(folder)
    for kind, found in by_kind(faults).items():
        show(*(found if every else found[:EXAMPLES]))
        if len(found) > EXAMPLES and not every:
            show(f"  ... and {len(found) - EXAMPLES} more of this kind: {kind}")
    if faults:
        more = "; --all lists each" if len(faults) > EXAMPLES and not every else ""
        show(f"{len(faults)} fault{'s' if len(faults) > 1 else ''} in {folder}{more}", err=True)
        return Exit.REGRESS
    contents = read_contents(folder, FaultList(keep_going=True), decode=False)
    assert contents is not None  # it has no fault
    design = as_design(list(units_of(contents.samples).values()))
    show(f"{folder}: no fault found; design: {design}; to narrow intervals, {design.remedy}")
    return Exit.DONE


@check.command(
    "system",
    epilog="""\b
Examples:
  echat-eval check system command:./infer.sh
  echat-eval check system http://127.0.0.1:9000/ --set send=json --seconds 30""",
)
@click.argument("spec")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Setting of the system; repeatable."
)
@click.option("--language", default="en", show_default=True, help="Language of the test requests.")
@click.option(
    "--seconds",
    default=120.0,
    show_default=True,
    help="Time limit of one call; a slower call fails its check.",
)
def check_system_command(spec: str, settings: tuple[str, ...], language: str, seconds: float) -> int:
    """Test a system as the runner uses it: ids, order, unusual audio, crashes, fingerprint."""
    from echat_eval.plugins import parse_setting
    from echat_eval.systems import build_system
    from echat_eval.testing import check_system

    system = build_system(spec, dict(parse_setting(text) for text in settings))
    marks = {"pass": "ok  ", "fail": "FAIL", "note": "note"}
    failed = 0
    for finding in check_system(system, language=language, seconds=seconds):
        failed += finding.outcome == "fail"
        show(f"{marks[finding.outcome]}  {finding.check}: {finding.message}")
    if failed:
        show(f"{failed} check{'s' if failed > 1 else ''} failed for '{system.name}'", err=True)
        return Exit.REGRESS
    show(f"'{system.name}' can be run")
    return Exit.DONE


check.add_command(check_judge)
check.add_command(check_annotators)
check.add_command(check_instruments)
