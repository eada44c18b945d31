"""`run` and `score`: evaluate systems, or score their replies again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from echat_eval.cli.executor import ExecutorOptions, executor_options
from echat_eval.cli.options import RunOptions, TaskOptions, run_options, task_options
from echat_eval.cli.terminal import show
from echat_eval.errors import Exit, UsageError

if TYPE_CHECKING:
    from echat_eval.cli.shown import Shown
    from echat_eval.leaderboard.run import Run
    from echat_eval.runner.cost_estimate import ExpectedCost

__all__ = ["exit_code_of", "present_run", "run", "score"]


#: Values of the options in `run --help`; the others are older spellings of `--set` or rarely needed.
_SHOWN = frozenset(
    ["systems", "settings", "tasks", "data", "limit", "ask", "annotators", "judges", "out", "estimate"]
) | {"max_cost", "source", "folder"}


@click.command(
    epilog="""\b
Examples:
  echat-eval run experiment.yaml
  echat-eval run runs/nightly --judge strict=gpt-6-luna-2026-09-22
  echat-eval run runs/nightly --judge NEW --link OLD
  echat-eval run experiment.yaml --limit 20 --set mine.temperature=0 --out runs/trial
  echat-eval run --system echo --system canned --metric my_metrics.py:speech_rate
  echat-eval run --system mine=replay:replies.jsonl --task emotion --out runs/mine
  echat-eval run --system cascade --judge gpt-6-luna-2026-09-22 --out runs/judged
  echat-eval run --system cascade --judge m --set judge.url=http://127.0.0.1:8000/v1
  echat-eval run experiment.yaml --until-decided --policy gate.yaml --against accepted/main
  echat-eval run --system mine=http://127.0.0.1:9000/ --task emotion --ask emotion
Run the same command again to do only what is missing. --set also takes
settings of judge, runner and executor, as in an experiment file:
judge.timeout=600, runner.tries=5, executor.name=ray. Not all options are
shown here: docs/experiment.md lists --headline (the metric that leads and
ranks) and others, such as --language and --controls."""
)
@click.argument("source", required=False, type=click.Path(path_type=Path), metavar="[FILE|FOLDER]")
@click.option(
    "--system",
    "systems",
    multiple=True,
    metavar="[NAME=]SPEC",
    help="System to evaluate; repeatable. `echat-eval show systems` lists them.",
)
@task_options
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Run folder to write or to continue.  [default: runs/latest]",
)
@click.option(
    "--overlap/--no-overlap",
    default=None,
    help="Annotate and score while the system replies; use --no-overlap to measure its speed.",
)
@click.option(
    "--until-decided",
    is_flag=True,
    help="Ask samples in random order and stop when the gate decides; needs --policy and --against.",
)
@click.option("--policy", type=click.Path(path_type=Path, dir_okay=False), help="Policy of --until-decided.")
@click.option("--against", metavar="RUN", help="Baseline of --until-decided.")
@click.option("--seed", type=click.IntRange(0), default=None, help="Seed of the order of --until-decided.")
@click.option(
    "--retry-failed", is_flag=True, help="Ask again for replies that failed; missing ones are asked anyway."
)
@executor_options
@run_options
def run(
    source: Path | None,
    systems: tuple[str, ...],
    out: Path | None,
    overlap: bool | None,
    until_decided: bool,
    policy: Path | None,
    against: str | None,
    seed: int | None,
    retry_failed: bool,
    tasks: TaskOptions,
    options: RunOptions,
    executor: ExecutorOptions,
) -> int:
    """Evaluate systems on tasks and print the leaderboard.

    FILE is an experiment file; options replace its values. FOLDER is a run folder: it is finished if a
    reply is missing, else its replies are scored again, also by judges that the options add. Or it is a
    baseline of `gate accept`, whose replies are scored again.
    """
    from echat_eval.api import estimate, evaluate
    from echat_eval.cli.progress import Bar

    arguments: dict[str, Any] = {
        "systems": _systems(source, systems, options),
        "out": out,
        "retry_failed": retry_failed or None,
        **tasks.arguments(),
        **options.arguments(),
    }
    rest: dict[str, Any] = {
        "overlap": overlap,
        "max_cost": options.max_cost,
        "send_to": list(options.send_to) or None,
        "executor": executor.settings(),
    }
    if until_decided:
        if policy is None or against is None or options.estimate:
            raise UsageError("expected `run ... --until-decided --policy gate.yaml --against RUN`")
        return _until_decided(policy, against, seed, {**arguments, **rest})
    if (policy, against, seed) != (None, None, None):
        raise UsageError("--policy, --against and --seed are for --until-decided")
    with Bar() as bar:
        if options.estimate:
            expected = estimate(**arguments, progress=bar)
        else:
            done = evaluate(**arguments, **rest, progress=bar)
    return print_estimate(expected) if options.estimate else _present(done, options)


def _until_decided(policy: Path, against: str, seed: int | None, arguments: dict[str, Any]) -> int:
    """Make a run until the gate has decided; print its decision."""
    from echat_eval.api import evaluate_until_decided
    from echat_eval.cli.progress import Bar

    with Bar() as bar:
        done = evaluate_until_decided(
            **arguments, policy=policy, against=against, seed=seed or 0, progress=bar
        )
    present_run(done.run)
    for line in done.lines():
        show(line)
    return int(done.decision.exit_code)


def _present(run: Run, options: RunOptions) -> int:
    """Print a run; return its exit code, "cannot tell" if the link that was asked for was not made."""
    code = present_run(run)
    if options.link is None:
        return code
    old = options.link.rpartition("=")[2]
    links = run.links()
    # A name may stand for a judge of the folder, whose model only the link states.
    own = [link for link in links if link.old == old] or links
    if own and all(link.state == "linked" for link in own):
        return code
    show(
        f"echat-eval: no estimates on the scale of {options.link}; the lines above have the reason", err=True
    )
    return Exit.CANNOT_TELL


def _systems(source: Path | None, systems: tuple[str, ...], options: RunOptions) -> Path | list[str]:
    """Return the experiment file or the systems of a command, which has one of them."""
    if source is not None:
        if systems:
            raise UsageError(f"{source} names the systems, and so does --system; add the system to the file")
        folder = (source / "manifest.json").is_file() or (source / "accepted.json").is_file()
        if source.suffix not in {".yaml", ".yml"} and not folder:
            raise UsageError(
                f"{source}: expected an experiment file (.yaml), a run folder or a baseline; name a system "
                "with --system"
            )
        return source
    if not systems:
        raise UsageError("nothing to run; give an experiment file, or a system with --system NAME")
    options.require_judge()
    return list(systems)


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

    options.require_judge()
    with Bar() as bar:
        if options.estimate:
            expected = estimate(out=folder, **options.arguments(), progress=bar)
        else:
            done = score_run(
                folder,
                **options.arguments(),
                max_cost=options.max_cost,
                send_to=list(options.send_to) or None,
                executor=executor.settings(),
                progress=bar,
            )
    return print_estimate(expected) if options.estimate else _present(done, options)


for _command in (run, score):
    for _parameter in _command.params:
        if isinstance(_parameter, click.Option):
            _parameter.hidden = _parameter.name not in _SHOWN


def present_run(run: Run) -> int:
    """Print the leaderboard of a run and its notes; return the exit code."""
    from echat_eval.cli.blocks import print_blocks, print_files

    shown = shown_of(run)
    names = [*(f"leaderboard.{ending}" for ending in ("md", "csv", "png")), *shown.beside]
    files = [path for name in names if (path := run.path / name).is_file()]
    print_blocks(shown.blocks)
    print_files(files)
    if not any(path.suffix == ".png" for path in files):
        show("note: no leaderboard.png, which needs matplotlib; pip install matplotlib", err=True)
    return exit_code_of(run, shown)


def shown_of(run: Run) -> Shown:
    """Return what is shown of a run, as an earlier command did if nothing has changed since."""
    from echat_eval.cli.shown import Shown, keep, kept

    if run.written is None and (earlier := kept(run.path)) is not None:
        return earlier
    from echat_eval.api.shown import view_mark
    from echat_eval.cli.table import blocks_of
    from echat_eval.leaderboard.view import side_files

    before = view_mark(run.path) if run.written is None else run.written_from
    view = run.written or run.leaderboard()
    shown = Shown(
        blocks=list(blocks_of(view)),
        beside=[name for name, text in side_files(view.board).items() if text is not None],
        notes=run.notes(),
        all_failed=run.every_reply_failed,
        missing=bool(run.states["missing"]),
    )
    keep(run.path, shown, before)
    return shown


def exit_code_of(run: Run, shown: Shown | None = None) -> int:
    """Print the notes of a run and what is missing; return the exit code."""
    shown = shown or shown_of(run)
    for line in shown.notes:
        show(f"note: {line}", err=True)
    if run.spent:
        show(f"spent: {run.spent}")
    if shown.all_failed:
        show("echat-eval: every reply failed; the leaderboard is no evidence about the system", err=True)
        return Exit.CANNOT_TELL
    if not shown.missing:
        return Exit.DONE
    show("echat-eval: scores are missing; run the same command to try again", err=True)
    return Exit.CANNOT_TELL


def print_estimate(expected: ExpectedCost) -> int:
    """Print the calls that a command has left to make, and what they may cost."""
    for line in expected.lines():
        show(f"estimate: {line}")
    return Exit.DONE
