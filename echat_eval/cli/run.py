"""`run` and `score`: evaluate systems, or score their replies again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from echat_eval.cli.executor import ExecutorOptions, executor_options
from echat_eval.cli.options import RunOptions, TaskOptions, run_options, system_parts, task_options
from echat_eval.cli.terminal import show
from echat_eval.errors import Exit

if TYPE_CHECKING:
    from echat_eval.leaderboard.run import Run
    from echat_eval.runner.cost_estimate import ExpectedCost

__all__ = ["present_run", "run", "score"]


@click.command(
    epilog="""\b
Examples:
  echat-eval run --system echo --system canned
  echat-eval run --system cascade --task emotion --task age --out runs/cascade
  echat-eval run --system mine=replay:replies.jsonl --out runs/mine
  echat-eval run --system cascade --judge gpt-4o-2024-11-20 --out runs/judged
  echat-eval run --system mine=http://127.0.0.1:9000/ --task emotion --ask emotion --out runs/mine
  echat-eval run --system cascade --data /data/echat-eval --task emotion
  echat-eval run --system osum-echat --set checkpoint=osum.pt --executor ray --ray-address auto
Run the same command again to do only what is missing."""
)
@click.option(
    "--system",
    "systems",
    multiple=True,
    required=True,
    metavar="[NAME=]SPEC",
    help="System to evaluate; repeatable. `echat-eval list systems` lists them.",
)
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Setting of every system; repeatable."
)
@task_options
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs/latest"),
    show_default=True,
    help="Run folder to write or to continue.",
)
@click.option(
    "--overlap/--no-overlap",
    default=True,
    show_default=True,
    help="Annotate and score while the system replies; use --no-overlap to measure its speed.",
)
@click.option(
    "--retry-failed", is_flag=True, help="Ask again for replies that failed; missing ones are asked anyway."
)
@executor_options
@run_options
def run(
    systems: tuple[str, ...],
    settings: tuple[str, ...],
    out: Path,
    overlap: bool,
    retry_failed: bool,
    tasks: TaskOptions,
    options: RunOptions,
    executor: ExecutorOptions,
) -> int:
    """Evaluate systems on tasks and print the leaderboard."""
    from echat_eval.api import estimate, evaluate
    from echat_eval.cli.progress import Bar

    arguments: dict[str, Any] = {
        "systems": system_parts(systems, settings),
        "out": out,
        "retry_failed": retry_failed,
        **tasks.arguments(),
        **options.arguments(),
    }
    with Bar() as bar:
        if options.estimate:
            expected = estimate(**arguments, progress=bar)
        else:
            done = evaluate(
                **arguments,
                overlap=overlap,
                max_cost=options.max_cost,
                executor=executor.settings(),
                progress=bar,
            )
    return print_estimate(expected) if options.estimate else present_run(done)


@click.command(
    epilog="""\b
Examples:
  echat-eval score runs/mine
  echat-eval score runs/mine --judge qwen2.5-72b-instruct --judge-url http://127.0.0.1:8000/v1"""
)
@click.argument("folder", type=click.Path(path_type=Path))
@executor_options
@run_options
def score(folder: Path, options: RunOptions, executor: ExecutorOptions) -> int:
    """Annotate and score the replies of a run again, without calling a system."""
    from echat_eval.api import estimate
    from echat_eval.api import score as score_run
    from echat_eval.cli.progress import Bar

    with Bar() as bar:
        if options.estimate:
            expected = estimate(out=folder, **options.arguments(), progress=bar)
        else:
            done = score_run(
                folder,
                **options.arguments(),
                max_cost=options.max_cost,
                executor=executor.settings(),
                progress=bar,
            )
    return print_estimate(expected) if options.estimate else present_run(done)


def present_run(run: Run) -> int:
    """Print the leaderboard of a run and its notes; return the exit code."""
    from echat_eval.cli.table import present

    present(run.leaderboard(), [run.path / f"leaderboard.{ending}" for ending in ("md", "csv", "png")])
    for line in run.notes():
        show(f"note: {line}", err=True)
    if run.spent:
        show(f"spent: {run.spent}")
    replies = run.responses()["state"]
    if len(replies) and (replies == "failed").all():
        show("echat-eval: every reply failed; the leaderboard is no evidence about the system", err=True)
        return Exit.CANNOT_TELL
    if not run.states["missing"]:
        return Exit.DONE
    show("echat-eval: scores are missing; run the same command to try again", err=True)
    return Exit.CANNOT_TELL


def print_estimate(expected: ExpectedCost) -> int:
    """Print the calls that a command has left to make, and what they may cost."""
    for line in expected.lines():
        show(f"estimate: {line}")
    return Exit.DONE
