"""`check instruments`: plant faults into a scripted run and test the alarms."""

from __future__ import annotations

import click

from echat_eval.cli.terminal import show
from echat_eval.errors import Exit

__all__ = ["check_instruments"]


@click.command(
    "instruments",
    epilog="""\b
Example:
  echat-eval check instruments
Exit code 1: a planted fault was not found, or a healthy run raised an alarm.""",
)
@click.option(
    "--healthy",
    default=200,
    show_default=True,
    type=click.IntRange(0, 100_000),
    help="Number of runs without a fault; none may raise an alarm.",
)
@click.option("--seed", default=0, show_default=True, help="Random seed of the scripted runs.")
def check_instruments(healthy: int, seed: int) -> int:
    """Plant ten faults into a scripted run on disk and test that each raises its alarm."""
    from echat_eval.checks.planted import FAULTS, false_alarm_limit, find_planted, healthy_alarms
    from echat_eval.cli.progress import Bar

    with Bar() as bar:
        bar.stage("planted faults", len(FAULTS), 0)
        findings = find_planted(seed, on_result=bar.advance)
        bar.stage("healthy runs", healthy, 0)
        false = healthy_alarms(healthy, seed, on_result=bar.advance)
    for finding in findings:
        outcome = "found" if finding.message else "NOT FOUND"
        show(f"{outcome:<10} {finding.fault}: {finding.message or 'no alarm'}")
        if finding.other_alarms:
            show(f"{'':<10} other alarms: {', '.join(finding.other_alarms)}")
    for number, alarm, message in false:
        show(f"false alarm in healthy run {number}: {alarm}: {message}")
    found = sum(finding.message is not None for finding in findings)
    show(
        f"found {found} of {len(findings)} planted faults; {len(false)} alarms in {healthy} healthy "
        f"run{'' if healthy == 1 else 's'}"
    )
    if healthy:
        limit = false_alarm_limit(healthy, len({number for number, _, _ in false}))
        show(f"so at most {100 * limit:.1f} % of healthy runs raise an alarm (95 % upper limit)")
    return Exit.DONE if found == len(findings) and not false else Exit.REGRESS
