"""`demo`: a whole evaluation with the data and models that ship with the package."""

from __future__ import annotations

from pathlib import Path

import click

from echat_eval.cli.options import load_tasks, make_annotators, make_scorers
from echat_eval.cli.run import finish
from echat_eval.cli.spending import cached
from echat_eval.errors import NotInstalled

__all__ = ["demo"]

#: Two floors, a system that reads only the words, and a ceiling. Two concurrent replies keep two cores
#: busy; the seconds of a reply then include its waiting time.
SYSTEMS: dict[str, dict[str, int]] = {
    "echo": {},
    "canned": {},
    "cascade": {"calls_at_once": 2},
    "reference": {},
}


@click.command(
    epilog="\b\nExample:\n  echat-eval demo --out runs/demo\nAfter an interruption, run it again to continue."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs/demo"),
    show_default=True,
    help="Run folder to write or to continue.",
)
@click.option("--no-cache", is_flag=True, help="Do not read or write the cache that runs share.")
def demo(out: Path, no_cache: bool) -> int:
    """Evaluate four small systems on the demo split: no key, no GPU, no download."""
    from echat_eval.cli.progress import Bar
    from echat_eval.concurrency.retry import RetryPolicy
    from echat_eval.runner.evaluate import evaluate
    from echat_eval.store.run_folder import RunFolder
    from echat_eval.systems import build_system

    tasks = load_tasks((), None, (), None)
    try:
        systems = [build_system(name, settings) for name, settings in SYSTEMS.items()]
        for system in systems:
            system.fingerprint()
    except NotInstalled as error:
        raise NotInstalled(f"the demo needs its embedded models: {error}") from error
    samples = [sample for task in tasks for sample in task.samples]
    with RunFolder(out).writing() as folder, cached(no_cache) as cache, Bar() as bar:
        states = evaluate(
            folder,
            systems=systems,
            tasks=tasks,
            annotators=make_annotators(("whisper", "acoustics")),
            scorers=make_scorers(samples),
            retry_policy=RetryPolicy(),
            progress=bar,
            cache=cache,
            overlap=False,
        )
    code = finish(folder, states)
    from echat_eval.report import build_report

    report_folder = out.with_name(f"{out.name}-report")
    with Bar() as bar:
        report = build_report([str(out)], report_folder, progress=bar, only=("tables", "page"))
    click.echo(f"page with audio: {report.paths[-1]}; figures: echat-eval report {out} --out {report_folder}")
    click.echo(
        "The demo split is synthetic speech made by a recipe and scored by a proxy metric. "
        "It shows how the harness works; its numbers rank no system."
    )
    return code
