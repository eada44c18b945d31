"""`demo`: a whole evaluation with the data and models that ship with the package."""

from __future__ import annotations

from pathlib import Path

import click

from echat_eval.cli.run import present_run
from echat_eval.cli.terminal import show
from echat_eval.errors import NotInstalled
from echat_eval.io.data_folder import data_folder

__all__ = ["EXPERIMENT", "demo"]

EXPERIMENT = data_folder("baselines") / "demo.yaml"


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
    """Evaluate seven small systems on the demo split: no key, no GPU, no download."""
    from echat_eval.api import evaluate
    from echat_eval.cli.progress import Bar
    from echat_eval.io.files import copy_atomically
    from echat_eval.report import build_report

    try:
        with Bar() as bar:
            run = evaluate(EXPERIMENT, out=out, cache=not no_cache, progress=bar)
    except NotInstalled as error:
        raise NotInstalled(f"the demo needs its embedded models: {error}") from error
    code = present_run(run)
    report_folder = out.with_name(f"{out.name}-report")
    with Bar() as bar:
        report = build_report([str(out)], report_folder, progress=bar, only=("tables", "page"))
    show(f"page with audio: {report.paths[-1]}; figures: echat-eval report {out} --out {report_folder}")
    left = out.with_name(f"{out.name}.yaml")
    if not left.exists():
        copy_atomically(EXPERIMENT, left)
    show(f"experiment file: {left}; add your system and run it: echat-eval run {left}")
    show(
        "The demo split is synthetic speech made by a recipe and scored by a proxy metric. "
        "It shows how the harness works; its numbers rank no system."
    )
    return code
