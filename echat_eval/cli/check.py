"""`check`: find faults before a run."""

from __future__ import annotations

import click

from echat_eval.cli.check_annotators import check_annotators
from echat_eval.cli.check_instruments import check_instruments
from echat_eval.cli.check_judge import check_judge
from echat_eval.cli.check_task import check_task
from echat_eval.cli.terminal import show
from echat_eval.errors import Exit

__all__ = ["check"]


@click.group()
def check() -> None:
    """Check a task folder, a system, a judge, annotators or the instruments before a run."""


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


check.add_command(check_task)
check.add_command(check_judge)
check.add_command(check_annotators)
check.add_command(check_instruments)
