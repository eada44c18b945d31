"""`run` and `score`: the main job."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from echat_eval.cli.executor import Executor, executor
from echat_eval.cli.options import Instruments, greet_judge, instruments, load_tasks, make_systems
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
Running the same command again does only what is missing."""
)
@click.option(
    "--system",
    "systems",
    multiple=True,
    required=True,
    metavar="[NAME=]SPEC",
    help="System to evaluate; repeatable. `echat-eval list` names them.",
)
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Setting of the system; repeatable."
)
@click.option("--task", "tasks", multiple=True, metavar="NAME", help="Task; repeatable.  [default: all]")
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with tasks of the same form, instead of the demo split.",
)
@click.option("--language", "languages", multiple=True, metavar="TAG", help="Only samples in it; repeatable.")
@click.option(
    "--limit", type=click.IntRange(2), help="At most so many samples a task, contrast groups whole."
)
@click.option(
    "--ask",
    metavar="WHAT",
    help="Ask what is heard instead of letting reply: transcript, emotion, age, gender or event.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs/latest"),
    show_default=True,
    help="Run folder.",
)
@click.option(
    "--overlap/--no-overlap",
    default=True,
    show_default=True,
    help="Hear and score replies while others are asked for; without, nothing runs beside a system.",
)
@executor
@instruments
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
    chosen: Instruments,
    where: Executor,
) -> int:
    """Ask systems, hear and score their replies, print the leaderboard."""
    from echat_eval.cli.progress import Bar
    from echat_eval.concurrency.retry import RetryPolicy
    from echat_eval.runner.evaluate import evaluate
    from echat_eval.scorers.run_controls import controlled
    from echat_eval.store.keys import request_for
    from echat_eval.store.run_folder import RunFolder

    questions = load_tasks(tasks, data, languages, limit)
    if ask is not None:
        from echat_eval.task.probe import probing

        questions = [probing(task, ask) for task in questions]
    asked = make_systems(systems, settings)
    samples = [sample for task in questions for sample in task.samples]
    table, max_cost = read_budget(chosen)
    heard, scorers = chosen.made(samples, out / "verdicts.jsonl")
    plan = Plan(
        systems=asked,
        samples=samples,
        scorers=scorers,
        controls=chosen.controls,
        table=table,
        limit=max_cost,
        tries=chosen.tries,
    )
    if chosen.estimate:
        with cached(chosen.no_cache) as cache:
            print_estimate(RunFolder(out), plan, cache, whole=True)
        return Exit.DONE
    with (
        RunFolder(out).writing() as folder,
        cached(chosen.no_cache, scorers) as cache,
        spending(folder, plan, cache) as meter,
    ):
        greet_judge(scorers)
        with where.ray_workers(asked, heard) as there, Bar(told=meter.line) as bar:
            states = evaluate(
                folder,
                systems=there.systems,
                tasks=questions,
                annotators=there.annotators,
                scorers=scorers,
                retry_policy=RetryPolicy(tries=chosen.tries),
                progress=bar,
                cache=cache,
                overlap=overlap,
                executor=there.facts,
            )
        controlled(folder, scorers, chosen.controls)
    requests = [request_for(sample) for sample in samples]
    for system in asked:
        unclaimed = system.unclaimed(requests) if hasattr(system, "unclaimed") else []
        if unclaimed:
            click.echo(
                f"note: {len(unclaimed)} replies of '{system.name}' answer none of these requests: "
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
@executor
@instruments
def score(folder: Path, chosen: Instruments, where: Executor) -> int:
    """Annotate and score the replies of a run again, asking no system."""
    from echat_eval.cli.progress import Bar
    from echat_eval.concurrency.retry import RetryPolicy
    from echat_eval.runner.evaluate import rescore
    from echat_eval.scorers.run_controls import controlled
    from echat_eval.store.run_folder import RunFolder

    found = RunFolder.existing(folder)
    if not found.responses():
        raise UsageError(f"{folder}: no responses yet; make them with `echat-eval run --out {folder}`")
    table, max_cost = read_budget(chosen)
    heard, scorers = chosen.made(found.samples(), folder / "verdicts.jsonl")
    plan = Plan(
        systems=[],
        samples=[],
        scorers=scorers,
        controls=chosen.controls,
        table=table,
        limit=max_cost,
        tries=chosen.tries,
    )
    if chosen.estimate:
        with cached(chosen.no_cache) as cache:
            print_estimate(found, plan, cache, whole=True)
        return Exit.DONE
    with (
        found.writing(),
        cached(chosen.no_cache, scorers) as cache,
        spending(found, plan, cache) as meter,
    ):
        greet_judge(scorers)
        with where.ray_workers([], heard) as there, Bar(told=meter.line) as bar:
            states = rescore(
                found,
                annotators=there.annotators,
                scorers=scorers,
                retry_policy=RetryPolicy(tries=chosen.tries),
                progress=bar,
                cache=cache,
            )
        controlled(found, scorers, chosen.controls)
    return finish(found, states, meter=meter)


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
    click.echo("echat-eval: scores are missing; the same command tries them again", err=True)
    return Exit.CANNOT_TELL


def _print_summary(folder: RunFolder) -> None:
    """Print, per system, how many replies failed or are missing, and the commonest reason of each."""
    cached = Counter(r.system for r in folder.responses().values() if r.cached)
    for system, count in cached.items():
        click.echo(
            f"note: {system}: {count} replies came from the cache, so their seconds were not measured; "
            "--no-cache in a new folder asks again",
            err=True,
        )
    told: dict[tuple[str, str], Counter[str]] = {}
    for response in folder.responses().values():
        if response.state in ("failed", "missing"):
            told.setdefault((response.system, response.state), Counter())[response.reason or "?"] += 1
    silent = {system for system, what in told if what == "missing"}
    for score in folder.scores().values():
        if score.state == "missing" and score.system not in silent:
            told.setdefault((score.system, f"missing {score.metric}"), Counter())[score.reason or "?"] += 1
    for (system, what), reasons in told.items():
        count, (reason, _) = sum(reasons.values()), reasons.most_common(1)[0]
        rows = "scores" if " " in what else "replies"
        more = f" ({len(reasons)} reasons; all are in {folder.path})" if len(reasons) > 1 else ""
        click.echo(f"note: {system}: {count} {rows} {what}: {reason}{more}", err=True)
