"""`compare` and `gate`: is the difference real, and may the candidate replace the baseline?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from echat_eval.cli.options import headline_option
from echat_eval.cli.terminal import show
from echat_eval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from echat_eval.stats import Sentences

__all__ = ["compare_command", "gate_command"]

COMPARE_EPILOG = """\b
RUN is runs/a, runs/a:system, new=runs/a:system, a baseline of `gate accept`,
or a long table (.csv, .tsv, .jsonl: task, sample_id, system, metric, value,
and optionally weight, direction, average, low, high ...).
Examples:
  echat-eval compare runs/old:ours runs/new:ours
  echat-eval compare runs/stage1 runs/stage2 runs/stage3
  echat-eval compare runs/nightly --trend trend
  echat-eval compare old.csv new.csv --metric empathy=higher --metric wer=lower,average=ratio,low=0
"""
GATE_EPILOG = """\b
Exit codes: 0 pass, 1 regress, 3 cannot tell, 2 misuse.
Examples:
  echat-eval gate accept runs/main:ours --to accepted/main
  echat-eval gate runs/new:ours --against accepted/main --policy gate.yaml \\
      --junit gate.xml --summary gate.md
  echat-eval gate --plan --policy gate.yaml --against runs/main:ours
  echat-eval gate runs/first:ours --against accepted/main --policy gate.yaml --bootstrap
"""


@click.command("compare", epilog=COMPARE_EPILOG)
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN [RUN ...]")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME[=WORDS]",
    help="Metric to compare; repeatable. WORDS state its direction and, with commas, its average and range, "
    "as in wer=lower,average=ratio,low=0; a table needs them here or in columns.  [default: all of the runs]",
)
@headline_option
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
@click.option(
    "--sentences",
    default="random",
    show_default=True,
    type=click.Choice(["random", "fixed"]),
    help="fixed: the result need hold for exactly these sentences; only speakers are clusters.",
)
@click.option(
    "--trend",
    "trend_out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Write one figure and one table over all runs, with change points; RUN may be a folder of runs.",
)
def compare_command(
    runs: tuple[str, ...],
    metrics: tuple[str, ...],
    headline: str | None,
    anyway: bool,
    flips: int,
    sentences: Sentences,
    trend_out: Path | None,
) -> int:
    """Compare two systems by paired differences, or checkpoints, in the given order, by their trend."""
    from echat_eval.api import compare, trend

    if trend_out is not None:
        lines = trend(
            *runs,
            out=trend_out,
            metrics=metrics or None,
            headline=headline,
            anyway=anyway,
            sentences=sentences,
        )
        for line in lines:
            show(line)
        return 0
    comparison = compare(
        *runs, metrics=metrics or None, headline=headline, anyway=anyway, sentences=sentences
    )
    for line in comparison.lines(flips=flips):
        show(line)
    return 0


@click.command("gate", epilog=GATE_EPILOG)
@click.argument("words", nargs=-1, metavar="CANDIDATE | accept RUN")
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
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File for the decision, with all its evidence, as JSON.",
)
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the accepted baseline (`gate accept` only).",
)
@click.option(
    "--plan",
    "planning",
    is_flag=True,
    help="Print what a run can show and the samples that it needs, before it is made; with a candidate, from "
    "its paired differences.",
)
@click.option(
    "--assume",
    metavar="WORDS",
    help="Numbers that a plan assumes, such as sd=25,by_speaker=0.1,speakers=20,samples=400, or "
    "correlation=0.5.",
)
@click.option(
    "--bootstrap",
    is_flag=True,
    help="If the baseline does not exist yet, judge the candidate alone; `first_run` of the policy states "
    "whether it may pass.",
)
@click.option(
    "--no-replies",
    is_flag=True,
    help="Keep the scores alone (`gate accept` only): small enough to commit, and never scored again.",
)
@click.option(
    "--diff",
    is_flag=True,
    help="Print what would change, and write nothing (`gate accept` only).",
)
@click.option(
    "--lineage",
    metavar="NAME",
    help="Line of candidates whose tries share one error budget, such as a branch.  "
    "[default: the name of the candidate's system]",
)
@click.option(
    "--ledger",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File that counts the tries.  [default: tries.jsonl of the accepted baseline]",
)
@click.option(
    "--message",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File for the decision as one line of plain text, such as for a chat tool.",
)
@click.option(
    "--page",
    default="",
    metavar="URL",
    help="Address of the page of `echat-eval report`; the summary links the worst samples there.",
)
@click.option(
    "--commit",
    default="",
    metavar="ID",
    envvar=["GITHUB_SHA", "CI_COMMIT_SHA", "GIT_COMMIT"],
    help="Commit of the candidate, for the reports.  [default: GITHUB_SHA, CI_COMMIT_SHA or GIT_COMMIT]",
)
def gate_command(
    words: tuple[str, ...],
    against: str | None,
    policy: Path | None,
    planning: bool,
    assume: str | None,
    bootstrap: bool,
    no_replies: bool,
    diff: bool,
    lineage: str | None,
    ledger: Path | None,
    junit: Path | None,
    summary: Path | None,
    json_file: Path | None,
    message: Path | None,
    page: str,
    commit: str,
    to: Path | None,
) -> int:
    """Decide whether a candidate may replace the baseline: pass, regress or cannot tell.

    `gate accept RUN --to FOLDER` keeps a run as the baseline of later candidates.
    """
    reports = {"--junit": junit, "--summary": summary, "--json": json_file, "--message": message}
    accepting = words[:1] == ("accept",)
    _refuse_unused(
        "`gate accept`" if accepting else "`gate CANDIDATE`",
        {**reports, "--policy": policy, "--against": against, "--ledger": ledger, "--lineage": lineage}
        if accepting
        else {"--diff": diff, "--no-replies": no_replies},
    )
    if accepting:
        return _accept(words[1:], to, replies=not no_replies, diff=diff, commit=commit)
    if planning:
        return _plan(words, against, policy, assume, json_file)
    if assume is not None:
        raise UsageError("--assume is for `gate --plan`")
    if len(words) != 1 or against is None or policy is None or to is not None:
        raise UsageError(
            "expected `gate CANDIDATE --against RUN --policy gate.yaml`, or `gate accept RUN --to FOLDER`"
        )
    from echat_eval.api import gate
    from echat_eval.gate.report import to_json, to_junit, to_lines, to_markdown, to_message
    from echat_eval.io.files import check_target, write_atomically

    wanted = {option: path for option, path in reports.items() if path is not None}
    if len({path.resolve() for path in wanted.values()}) < len(wanted):
        raise UsageError(f"{', '.join(wanted)}: two of them name one file; give each its own")
    # Old reports are removed, so that none is taken for the report of this run.
    for option, path in wanted.items():
        check_target(path, option)
        path.unlink(missing_ok=True)
    decision = gate(
        words[0], against, policy, bootstrap=bootstrap, lineage=lineage, ledger=ledger, commit=commit
    )
    texts: dict[str, Callable[..., str]] = {
        "--junit": to_junit,
        "--summary": lambda made: to_markdown(made, page),
        "--json": to_json,
        "--message": lambda made: to_message(made, page),
    }
    for option, path in wanted.items():
        write_atomically(path, texts[option](decision))
    for line in to_lines(decision):
        show(line)
    return int(decision.exit_code)


def _refuse_unused(command: str, given: Mapping[str, object]) -> None:
    """Refuse options that a form of the command would leave out without a word."""
    if unused := [option for option, value in given.items() if value]:
        raise UsageError(f"{command} does not use {', '.join(unused)}; leave it out")


def _plan(
    words: tuple[str, ...], against: str | None, policy: Path | None, assume: str | None, file: Path | None
) -> int:
    from echat_eval.api import plan
    from echat_eval.io.files import write_atomically

    if len(words) > 1 or policy is None:
        raise UsageError("expected `gate --plan --policy gate.yaml --against RUN`")
    found = plan(policy, against, candidate=words[0] if words else None, assume=assume)
    if file is not None:
        write_atomically(file, found.to_json())
    for line in found.lines():
        show(line)
    return 0


def _accept(words: tuple[str, ...], to: Path | None, *, replies: bool, diff: bool, commit: str) -> int:
    from echat_eval.api import accept, baseline_changes
    from echat_eval.gate.baseline_report import kept_lines, row_lines, tries_in

    if len(words) != 1 or to is None:
        raise UsageError("expected `gate accept RUN --to FOLDER`")
    if diff:
        for line in baseline_changes(words[0], to):
            show(line)
        return 0
    before = tries_in(to)
    run = accept(words[0], to, replies=replies, commit=commit)
    show(f"accepted {run.name} ({run.system}, {len(run.frame)} rows) in {to}; use it as --against {to}")
    for line in (*row_lines(run.frame), *kept_lines(to)):
        show(line)
    if before and not tries_in(to):
        show(f"its ledger starts anew: {before} tries at the earlier baseline are counted no more")
    return 0
