"""`demo`: a whole evaluation with the data and models that ship with the package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from echat_eval.cli.demo_story import SYSTEMS, print_story
from echat_eval.cli.run import exit_code_of
from echat_eval.cli.terminal import show
from echat_eval.errors import NotInstalled, UsageError
from echat_eval.io.data_folder import data_folder

if TYPE_CHECKING:
    from echat_eval.gate.decision import Decision
    from echat_eval.leaderboard.run import Run

__all__ = ["BROKEN", "EXPERIMENT", "POLICY", "demo"]

EXPERIMENT = data_folder("baselines") / "demo.yaml"
POLICY = data_folder("baselines") / "demo-gate.yaml"
#: A system of which every request fails.
BROKEN = "command:false"


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
    """Evaluate two small systems, floors and a ceiling on the demo split: no key, no GPU, no download.

    It prints what they detect and act on, and what the gate decides. Beside the run folder it leaves the
    experiment file, the policy of the gate, a page with audio, and the run of a system that always fails.
    """
    from echat_eval.api import evaluate
    from echat_eval.cli.progress import Bar
    from echat_eval.experiment.tasks import SELECTING
    from echat_eval.io.files import copy_atomically
    from echat_eval.io.strict_yaml import read_yaml
    from echat_eval.report import build_report

    beside = {
        name: out.with_name(f"{out.name}{name}") for name in (".yaml", "-gate.yaml", "-broken", "-report")
    }
    content = read_yaml(EXPERIMENT).content
    _require_own(out, set(content["systems"]))
    _require_own(beside["-broken"], {"broken"})
    try:
        with Bar() as bar:
            run = evaluate(EXPERIMENT, out=out, cache=not no_cache, progress=bar)
            broken = evaluate(
                {"broken": BROKEN},
                **{key: content[key] for key in ("tasks", "annotators", *SELECTING) if key in content},
                out=beside["-broken"],
                tries=1,
                cache=False,
                progress=bar,
            )
            report = build_report([str(out)], beside["-report"], progress=bar, only=("tables", "page"))
    except NotInstalled as error:
        raise NotInstalled(f"the demo needs its embedded models: {error}") from error
    for source, left in ((EXPERIMENT, beside[".yaml"]), (POLICY, beside["-gate.yaml"])):
        if not left.exists():
            copy_atomically(source, left)
    print_story(run, _decisions(run, broken))
    show(f"Page with audio: {report.paths[-1]}", "Next:")
    for command, purpose in _next_commands(out, beside).items():
        show(f"# {purpose}", command)
    show("Synthetic speech, scored by proxy metrics: it shows how the harness works, and ranks no system.")
    return exit_code_of(run)


def _require_own(folder: Path, systems: set[str]) -> None:
    """Refuse the folder of a run whose experiment has other systems than the demo's."""
    from echat_eval.io.strict_yaml import read_yaml

    record = folder / "experiment.yaml"
    if (folder / "manifest.json").exists() and not (
        record.is_file() and set(read_yaml(record).content.get("systems") or ()) == systems
    ):
        raise UsageError(f"{folder}: a run that the demo did not make; choose another folder with --out")


def _decisions(run: Run, broken: Run) -> dict[str, Decision]:
    """Return what the gate decides on the better system itself, on the other one, and on one that fails."""
    from echat_eval.api import gate

    listens, reads = (f"{run.path}:{system}" for system in SYSTEMS)
    candidates: dict[str, str | Run] = {
        "the same replies": listens,
        SYSTEMS[1]: reads,
        "a system that fails": broken,
    }
    return {name: gate(candidate, listens, POLICY) for name, candidate in candidates.items()}


def _next_commands(out: Path, beside: dict[str, Path]) -> dict[str, str]:
    """Return command -> what it is for."""
    listens, reads = (f"{out}:{system}" for system in SYSTEMS)
    return {
        f"echat-eval show {out}": "every measure by task, with intervals",
        f"echat-eval gate {reads} --against {listens} --policy {beside['-gate.yaml']}": "the gate in full",
        f"echat-eval run {beside['.yaml']}": "the demo as an experiment file: add your system to it first",
    }
