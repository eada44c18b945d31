"""Rebuild every table and figure of a paper with one command.

    python examples/paper/build.py --out runs/paper
    python examples/paper/build.py --out runs/trial --limit 4 --task emotion

It runs `experiment.yaml` beside this file, resumes where it was stopped, and writes the pack to `OUT/pack`
(tables, figures, methods paragraph, page) and Parquet files to `OUT/parquet`. Without `--served`, the judges
are scripted ones on this machine, which compare replies with those of people. Their numbers are no result.
"""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path

from judge import SimilarityJudge  # judge.py beside this file

import echat_eval as ev
from echat_eval.cli import run_program
from echat_eval.experiment import read_experiment
from echat_eval.experiment.record import days_of
from echat_eval.experiment.tasks import select_experiment_tasks
from echat_eval.io.unfinished import NewFolder
from echat_eval.report import PARTS, build_report
from echat_eval.report.choice import read_choice
from echat_eval.report.export_parquet import export_parquet
from echat_eval.testing import ScriptedChatServer

EXPERIMENT = Path(__file__).resolve().parent / "experiment.yaml"
#: Of the scripted judges. Verdicts are kept by the judge's address, so it is the same in every command.
PORT = 8871
#: System and its ablations; the judge swap is a second table by task.
ABLATION = ("listener", "think-off", "muted", "noisy", "words-only", "shuffled-labels", "label-parrot")


def scripted_judges(experiment: Path, *, port: int = PORT) -> ScriptedChatServer:
    """Return a server of judges of the samples of an experiment."""
    tasks = select_experiment_tasks(read_experiment(experiment))
    return ScriptedChatServer(SimilarityJudge(s for task in tasks for s in task.task.samples), port=port)


def build(
    out: Path,
    *,
    experiment: Path = EXPERIMENT,
    limit: int | None = None,
    tasks: list[str] | None = None,
    parts: tuple[str, ...] = PARTS,
    served: bool = False,
) -> list[Path]:
    """Run the experiment and write the pack; return the files to open first.

    Args:
        out: folder of the run, the pack and the Parquet files.
        experiment: with a section `tables:`.
        limit, tasks: as of `ev.evaluate`.
        parts: of the report.
        served: the judges of the experiment are served; otherwise they are scripted here.
    """
    with nullcontext() if served else scripted_judges(experiment):
        run = ev.evaluate(str(experiment), tasks=tasks, limit=limit, out=out / "run")
    made = build_report(
        [str(run.path)],
        out / "pack",
        progress=ev.api.Logged(),
        only=parts,
        ablation=ABLATION,
        choice=read_choice(experiment),
        dates={str(run.path): days_of(run.path)},
    )
    if not (out / "parquet").exists():
        with NewFolder(out / "parquet", "examples/paper") as folder:
            export_parquet(run.folder, folder)
    return [*made.paths, out / "parquet" / "README.md"]


def main() -> None:
    """Build what the command line asks for, and print the files to open first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/paper"))
    parser.add_argument("--experiment", type=Path, default=EXPERIMENT)
    parser.add_argument("--limit", type=int, help="samples of each task")
    parser.add_argument("--task", action="append", help="task to use; repeatable")
    parser.add_argument("--served", action="store_true", help="the judges of the experiment file are served")
    given = parser.parse_args()
    for path in build(
        given.out,
        experiment=given.experiment,
        limit=given.limit,
        tasks=given.task,
        served=given.served,
    ):
        print(path)


# One line and a code for every error and for Ctrl-C, as the command line has.
if __name__ == "__main__":
    run_program(main)
