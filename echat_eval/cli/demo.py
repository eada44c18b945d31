"""`demo`: the whole main job on what ships with the package."""

from __future__ import annotations

from pathlib import Path

import click

from echat_eval.cli.options import load_tasks, make_annotators, make_scorers
from echat_eval.cli.run import finish
from echat_eval.cli.spending import cached
from echat_eval.errors import NotInstalled

__all__ = ["demo"]

#: Two floors, a system that hears only words, and a ceiling. Two replies at once keep two cores busy;
#: the seconds of a reply then hold its waiting.
SYSTEMS: dict[str, dict[str, int]] = {
    "echo": {},
    "canned": {},
    "cascade": {"calls_at_once": 2},
    "reference": {},
}


@click.command(
    epilog="\b\nExample:\n  echat-eval demo --out runs/demo\nKilled and started again, it goes on."
)
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("runs/demo"), show_default=True, help="Run folder."
)
@click.option("--no-cache", is_flag=True, help="Take nothing from other runs and leave nothing to them.")
def demo(out: Path, no_cache: bool) -> int:
    """Evaluate four small systems on the demo split, start to end: no key, no GPU, no download."""
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

    pack = out.with_name(f"{out.name}-report")
    with Bar() as bar:
        made = build_report([str(out)], pack, progress=bar, only=("tables", "page"))
    click.echo(f"listen to it: {made.paths[-1]}; figures too: echat-eval report {out} --out {pack}")
    click.echo(
        "This is a demo split of synthetic speech made by a recipe, scored by a proxy: "
        "it shows how the harness works and ranks nobody."
    )
    return code
