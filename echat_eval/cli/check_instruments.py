"""`check instruments`: plant faults into a scripted run and find each."""

from __future__ import annotations

import click

from echat_eval.errors import Exit

__all__ = ["check_instruments"]


@click.command(
    "instruments",
    epilog="""\b
Example:
  echat-eval check instruments
Exit code 1: a planted fault was not found, or an alarm rang in a healthy run.""",
)
@click.option(
    "--healthy",
    default=200,
    show_default=True,
    type=click.IntRange(0, 100_000),
    help="Healthy runs in which no alarm may ring.",
)
@click.option("--seed", default=0, show_default=True, help="Of the scripted runs.")
def check_instruments(healthy: int, seed: int) -> int:
    """Plant ten faults into a healthy scripted run on disk, and find each."""
    from echat_eval.checks.planted import FAULTS, find_planted, healthy_alarms
    from echat_eval.cli.progress import Bar

    with Bar() as bar:
        bar.stage("planted faults", len(FAULTS), 0)
        findings = find_planted(seed, told=bar.advance)
        bar.stage("healthy runs", healthy, 0)
        false = healthy_alarms(healthy, seed, told=bar.advance)
    for finding in findings:
        click.echo(
            f"{'found' if finding.said else 'NOT FOUND':<10} {finding.fault}: {finding.said or 'no alarm'}"
        )
        if finding.others:
            click.echo(f"{'':<10} also rang: {', '.join(finding.others)}")
    for number, alarm, said in false:
        click.echo(f"false alarm in healthy run {number}: {alarm}: {said}")
    found = sum(finding.said is not None for finding in findings)
    click.echo(
        f"found {found} of {len(findings)} planted faults; {len(false)} alarms in {healthy} healthy "
        f"run{'' if healthy == 1 else 's'}"
    )
    return Exit.DONE if found == len(findings) and not false else Exit.REGRESS
