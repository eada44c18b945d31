"""`run` and `score`: evaluate systems, or score their replies again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from echat_eval.cli.executor import ExecutorOptions, executor_options
from echat_eval.cli.options import RunOptions, identify_judge, load_tasks, make_systems, run_options
from echat_eval.cli.spending import Plan, cached, print_estimate, print_spent, read_budget, spending
from echat_eval.errors import Exit, UsageError

if TYPE_CHECKING:
    from echat_eval.cost.meter import Meter
    from echat_eval.store.run_folder import RunFolder

__all__ = ["finish", "run", "score"]


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
@click.option(
    "--task", "tasks", multiple=True, metavar="NAME", help="Task to run; repeatable.  [default: all]"
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of your tasks, to use instead of the demo split.",
)
@click.option(
    "--language",
    "languages",
    multiple=True,
    metavar="TAG",
    help="Language of the samples to use; repeatable.",
)
@click.option("--limit", type=click.IntRange(2), help="Maximum samples per task; contrast groups stay whole.")
@click.option(
    "--ask",
    metavar="WHAT",
    help="Ask for a label instead of a reply: transcript, emotion, age, gender or event.",
)
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
@executor_options
@run_options
def run(
    systems: tuple[str, ...],
    settings: tuple[str, ...],
    tasks: tuple[str, ...],
    data: Path | None,
    languages: tuple[str, ...],
    limit: int | None,
    ask: str | None,
    out: Path,
    overlap: bool,
    options: RunOptions,
    executor: ExecutorOptions,
) -> int:
    """Evaluate systems on tasks and print the leaderboard."""
    from echat_eval.cli.progress import Bar
    from echat_eval.concurrency.retry import RetryPolicy
    from echat_eval.runner.evaluate import evaluate
    from echat_eval.scorers.run_controls import run_and_store_controls
    from echat_eval.store.keys import request_for
    from echat_eval.store.run_folder import RunFolder

    loaded_tasks = load_tasks(tasks, data, languages, limit)
    if ask is not None:
        from echat_eval.task.probe import probing

        loaded_tasks = [probing(task, ask) for task in loaded_tasks]
    loaded_systems = make_systems(systems, settings)
    samples = [sample for task in loaded_tasks for sample in task.samples]
    table, max_cost = read_budget(options)
    annotators, scorers = options.build(samples, out / "verdicts.jsonl")
    plan = Plan(
        systems=loaded_systems,
        samples=samples,
        scorers=scorers,
        controls=options.controls,
        table=table,
        limit=max_cost,
        tries=options.tries,
    )
    if options.estimate:
        with cached(options.no_cache) as cache:
            print_estimate(RunFolder(out), plan, cache, whole=True)
        return Exit.DONE
    with (
        RunFolder(out).writing() as folder,
        cached(options.no_cache, scorers) as cache,
        spending(folder, plan, cache) as meter,
    ):
        identify_judge(scorers)
        with executor.place(loaded_systems, annotators) as placement, Bar(last_line=meter.line) as bar:
            states = evaluate(
                folder,
                systems=placement.systems,
                tasks=loaded_tasks,
                annotators=placement.annotators,
                scorers=scorers,
                retry_policy=RetryPolicy(tries=options.tries),
                progress=bar,
                cache=cache,
                overlap=overlap,
                executor=placement.facts,
            )
        run_and_store_controls(folder, scorers, options.controls)
    requests = [request_for(sample) for sample in samples]
    for system in loaded_systems:
        unclaimed = system.unclaimed(requests) if hasattr(system, "unclaimed") else []
        if unclaimed:
            click.echo(
                f"note: {len(unclaimed)} replies of '{system.name}' match no request of this run: "
                + ", ".join(unclaimed[:5])
                + (", …" if len(unclaimed) > 5 else ""),
                err=True,
            )
    return finish(folder, states, meter=meter)


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
    from echat_eval.cli.progress import Bar
    from echat_eval.concurrency.retry import RetryPolicy
    from echat_eval.runner.evaluate import rescore
    from echat_eval.scorers.run_controls import run_and_store_controls
    from echat_eval.store.run_folder import RunFolder

    run_folder = RunFolder.existing(folder)
    if not run_folder.responses():
        raise UsageError(f"{folder}: no responses yet; make them with `echat-eval run --out {folder}`")
    table, max_cost = read_budget(options)
    annotators, scorers = options.build(run_folder.samples(), folder / "verdicts.jsonl")
    plan = Plan(
        systems=[],
        samples=[],
        scorers=scorers,
        controls=options.controls,
        table=table,
        limit=max_cost,
        tries=options.tries,
    )
    if options.estimate:
        with cached(options.no_cache) as cache:
            print_estimate(run_folder, plan, cache, whole=True)
        return Exit.DONE
    with (
        run_folder.writing(),
        cached(options.no_cache, scorers) as cache,
        spending(run_folder, plan, cache) as meter,
    ):
        identify_judge(scorers)
        with executor.place([], annotators) as placement, Bar(last_line=meter.line) as bar:
            states = rescore(
                run_folder,
                annotators=placement.annotators,
                scorers=scorers,
                retry_policy=RetryPolicy(tries=options.tries),
                progress=bar,
                cache=cache,
            )
        run_and_store_controls(run_folder, scorers, options.controls)
    return finish(run_folder, states, meter=meter)


def finish(folder: RunFolder, states: Counter[str], *, meter: Meter | None = None) -> int:
    """Write and print the leaderboard; return the exit code."""
    from echat_eval.cli.table import present
    from echat_eval.leaderboard.build import build_leaderboard

    present(build_leaderboard([folder]), [folder], folder.path)
    _print_summary(folder)
    if meter is not None:
        print_spent(meter)
    if not states["missing"]:
        return Exit.DONE
    click.echo("echat-eval: scores are missing; run the same command to try again", err=True)
    return Exit.CANNOT_TELL


def _print_summary(folder: RunFolder) -> None:
    """Print, per system, how many replies failed or are missing, and the most frequent reason."""
    cached = Counter(r.system for r in folder.responses().values() if r.cached)
    for system, count in cached.items():
        click.echo(
            f"note: {system}: {count} replies came from the cache, so their times were not measured; "
            "use --no-cache and a new folder to measure them",
            err=True,
        )
    reasons_of: dict[tuple[str, str], Counter[str]] = {}
    for response in folder.responses().values():
        if response.state in ("failed", "missing"):
            reasons_of.setdefault((response.system, response.state), Counter())[response.reason or "?"] += 1
    without_replies = {system for system, kind in reasons_of if kind == "missing"}
    for score in folder.scores().values():
        if score.state == "missing" and score.system not in without_replies:
            reasons_of.setdefault((score.system, f"missing {score.metric}"), Counter())[
                score.reason or "?"
            ] += 1
    for (system, kind), reasons in reasons_of.items():
        count, (reason, _) = sum(reasons.values()), reasons.most_common(1)[0]
        rows = "scores" if " " in kind else "replies"
        more = f" ({len(reasons)} reasons; see {folder.path})" if len(reasons) > 1 else ""
        click.echo(f"note: {system}: {count} {rows} {kind}: {reason}{more}", err=True)
