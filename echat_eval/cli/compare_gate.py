"""`compare` and `gate`: is the difference real, and may the candidate replace the baseline?"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from echat_eval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echat_eval.analysis import Run
    from echat_eval.gate import MetricRule

__all__ = ["compare_command", "gate_command"]

COMPARE_EPILOG = """\b
RUN is runs/a, runs/a:system, a baseline of `gate accept`, or a long table
(.csv, .tsv, .jsonl: task, sample_id, system, metric, value).
Examples:
  echat-eval compare runs/old:ours runs/new:ours
  echat-eval compare runs/stage1 runs/stage2 runs/stage3
  echat-eval compare old.csv new.csv --metric empathy=higher --metric wer=lower
"""
GATE_EPILOG = """\b
Exit codes: 0 pass, 1 regress, 3 cannot tell, 2 misuse.
Examples:
  echat-eval gate accept runs/main:ours --to accepted/main
  echat-eval gate runs/new:ours --against accepted/main --policy gate.yaml \\
      --junit gate.xml --summary gate.md
"""


@click.command("compare", epilog=COMPARE_EPILOG)
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN [RUN ...]")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME[=higher|lower]",
    help="Metric to compare; repeatable. A table file needs the direction.  [default: all of the runs]",
)
@click.option(
    "--anyway", is_flag=True, help="Compare runs despite different tasks or instruments; marks every number."
)
@click.option(
    "--flips",
    default=10,
    show_default=True,
    type=click.IntRange(0),
    help="Number of worsened samples to list.",
)
def compare_command(runs: tuple[str, ...], metrics: tuple[str, ...], anyway: bool, flips: int) -> int:
    """Compare two systems by paired differences, or checkpoints, in the given order, by their trend."""
    from echat_eval.analysis import compare, load_run, to_text, trend
    from echat_eval.analysis.compare import require_comparable
    from echat_eval.analysis.compare_text import trend_text

    if len(runs) < 2:
        raise UsageError(f"got {len(runs)} run; expected two or more to compare")
    loaded = [load_run(spec) for spec in runs]
    rules = _rules(loaded, metrics)
    mismatches = require_comparable(loaded, anyway=anyway)
    for baseline, candidate in pairwise(loaded):
        for line in to_text(compare(baseline, candidate, metrics=rules, anyway=anyway), flips=flips):
            click.echo(line)
        click.echo("")
    if len(loaded) > 2:
        click.echo("trend over all runs, on the samples with a value in every run")
        for line in trend_text(trend(loaded, metrics=rules), marked=bool(mismatches)):
            click.echo(line)
    return 0


def _rules(runs: Sequence[Run], specs: Sequence[str]) -> dict[str, MetricRule]:
    """Return the metrics to compare, with direction and range, from the runs or `--metric NAME=lower`."""
    from echat_eval.analysis.metric_rule import MetricRule

    known = {name: facts for run in runs for name, facts in run.metrics.items()}
    shared = set.intersection(*(set(run.frame["metric"]) for run in runs))
    names = [name for name, facts in sorted(known.items(), key=lambda m: not m[1].get("headline"))]
    rules = {}
    for spec in specs or [name for name in names if name in shared]:
        name, has_direction, direction = spec.partition("=")
        if has_direction and direction not in {"higher", "lower"}:
            raise UsageError(f"--metric {spec}: got '{direction}'; expected {name}=higher or {name}=lower")
        if name not in known and not has_direction:
            raise UsageError(
                f"metric '{name}' has no direction; write --metric {name}=higher or {name}=lower"
            )
        facts: dict[str, Any] = {
            key: known.get(name, {}).get(key) for key in ("low", "high", "worst", "average", "unit")
        }
        facts = {key: value for key, value in facts.items() if value is not None}
        higher_is_better = direction == "higher" if has_direction else bool(known[name]["higher_is_better"])
        rules[name] = MetricRule(higher_is_better=higher_is_better, **facts)
    if not rules:
        raise UsageError(
            f"no metric to compare; name one with --metric NAME=higher or NAME=lower. "
            f"Shared: {', '.join(sorted(shared)) or 'none'}"
        )
    return rules


@click.command("gate", epilog=GATE_EPILOG)
@click.argument("words", nargs=-1, required=True, metavar="CANDIDATE | accept RUN")
@click.option("--against", metavar="RUN", help="Baseline to compare the candidate with.")
@click.option(
    "--policy",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Policy file with margin and metrics, such as gate.yaml.",
)
@click.option(
    "--junit", type=click.Path(path_type=Path, dir_okay=False), help="File for the decision as JUnit XML."
)
@click.option(
    "--summary", type=click.Path(path_type=Path, dir_okay=False), help="File for the decision as Markdown."
)
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the accepted baseline (`gate accept` only).",
)
def gate_command(
    words: tuple[str, ...],
    against: str | None,
    policy: Path | None,
    junit: Path | None,
    summary: Path | None,
    to: Path | None,
) -> int:
    """Decide whether a candidate may replace the baseline: pass, regress or cannot tell.

    `gate accept RUN --to FOLDER` keeps a run as the baseline of later candidates.
    """
    from datetime import UTC, datetime

    now = datetime.now(UTC)
    if words[0] == "accept":
        return _accept(words[1:], to, now)
    if len(words) != 1 or against is None or policy is None or to is not None:
        raise UsageError(
            "expected `gate CANDIDATE --against RUN --policy gate.yaml`, or `gate accept RUN --to FOLDER`"
        )
    from echat_eval.analysis import load_run
    from echat_eval.gate import decide, read_policy
    from echat_eval.gate.accept import provenance
    from echat_eval.gate.report import to_junit, to_lines, to_markdown
    from echat_eval.io.files import write_atomically

    for path in (junit, summary):  # remove old reports, so that none is taken for the report of this run
        if path is not None:
            path.unlink(missing_ok=True)
    candidate, baseline = load_run(words[0]), load_run(against)
    rules = read_policy(policy, known={**baseline.metrics, **candidate.metrics})
    decision = decide(
        candidate.frame, baseline.frame, rules, provenance=provenance(candidate, baseline, rules, now=now)
    )
    for path, text in ((junit, to_junit(decision)), (summary, to_markdown(decision))):
        if path is not None:
            write_atomically(path, text)
    for line in to_lines(decision):
        click.echo(line)
    return int(decision.exit_code)


def _accept(words: tuple[str, ...], to: Path | None, now: object) -> int:
    from datetime import datetime

    from echat_eval.analysis import load_run
    from echat_eval.gate.accept import accept

    if len(words) != 1 or to is None or not isinstance(now, datetime):
        raise UsageError("expected `gate accept RUN --to FOLDER`")
    if to.exists() and any(to.iterdir()) and not (to / "accepted.json").is_file():
        raise UsageError(f"{to}: not empty and not a baseline of `gate accept`; choose another --to")
    run = load_run(words[0])
    accept(run, to, now=now)
    click.echo(f"accepted {run.name} ({run.system}, {len(run.frame)} rows) in {to}; use it as --against {to}")
    return 0
