"""`list`, `leaderboard` and `doctor`: what there is, what came of it, what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from echat_eval.errors import Exit

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["doctor", "leaderboard", "list_names"]

KINDS = ("tasks", "systems", "annotators", "scorers", "judges", "published")


@click.command("list", epilog="\b\nExamples:\n  echat-eval list\n  echat-eval list systems")
@click.argument("kind", required=False, type=click.Choice(KINDS))
def list_names(kind: str | None) -> None:
    """Names to use with --task, --system, --annotator, --rubric and --published."""
    for wanted in (kind,) if kind else KINDS:
        names = list(_names(wanted))
        if kind is None:
            click.echo(f"{wanted}: {', '.join(names) or 'none'}")
        else:
            for name in names:
                click.echo(f"{name:<18} {_about(wanted, name)}".rstrip())


def _names(kind: str) -> Iterable[str]:
    from echat_eval.baseline import published_names
    from echat_eval.judge import judge_names
    from echat_eval.plugins import known_names
    from echat_eval.task import known_tasks

    if kind == "tasks":
        return known_tasks()
    if kind == "judges":
        return judge_names()
    if kind == "published":
        return published_names()
    if kind == "systems":
        from echat_eval.systems import system_names

        return system_names()
    return known_names(kind.removesuffix("s"), _table(kind))


def _table(kind: str) -> dict[str, str]:
    from importlib import import_module

    table: dict[str, str] = getattr(import_module(f"echat_eval.{kind}"), kind.upper())
    return table


def _about(kind: str, name: str) -> str:
    """Return the first line of what is known of a name, without loading what it needs."""
    import ast
    from importlib.util import find_spec

    if kind == "tasks":
        from echat_eval.task import load_task

        task = load_task(name)
        return f"{len(task.samples)} samples, {'+'.join(task.languages)}: {task.title['en']}"
    if kind == "published":
        from echat_eval.baseline import published

        return published(name).title
    if kind == "judges":
        from echat_eval.judge import load_judge

        return load_judge(name).title
    path = _table(kind).get(name)
    if path is None and kind == "systems":
        from echat_eval.system_settings import system_settings, system_settings_names

        if name in system_settings_names():
            file = system_settings(name)
            return f"{file.title}, asked through {file.adapter}"
    if path is None:
        return "from another package"
    spec = find_spec(path.partition(":")[0])
    if spec is None or spec.origin is None:
        return ""
    text = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    return text.split("\n\n")[0].replace("\n", " ")


@click.command(
    epilog="""\b
Examples:
  echat-eval leaderboard runs/mine runs/floors
  echat-eval leaderboard old=runs/old:mine new=runs/new:mine
  echat-eval leaderboard runs/mine --published echat-automatic --out tables"""
)
@click.argument("runs", nargs=-1, required=True, metavar="RUNS...")
@click.option(
    "--published",
    "tables",
    multiple=True,
    metavar="NAME",
    help="Add a published table, set apart and never ranked; repeatable.",
)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Also write leaderboard.md, .csv, .png."
)
def leaderboard(runs: tuple[str, ...], tables: tuple[str, ...], out: Path | None) -> int:  # fmt: skip
    """The leaderboard of one or more runs.

    `runs/a` is every system of a run, `runs/a:mine` one of them, `new=runs/a:mine` the same as 'new'.
    """
    from echat_eval.baseline import published
    from echat_eval.cli.table import present
    from echat_eval.leaderboard import build_leaderboard
    from echat_eval.report.merged import open_run

    wanted = [published(name) for name in tables]
    folders = [open_run(name) for name in runs]
    present(build_leaderboard(folders), folders, out, wanted)
    return Exit.DONE


#: What is optional: module -> what it is for, and how to get it.
OPTIONAL = (
    ("faster_whisper", "hears replies; the cascade's ear", "pip install 'echat-eval[whisper]'"),
    ("xllamacpp", "the cascade's language model server", "pip install xllamacpp"),
    ("torch", "OSUM-EChat, FunASR, transformers", "pip install 'echat-eval[osum]'"),
    ("transformers", "OSUM-EChat, transformers annotators", "pip install 'echat-eval[osum]'"),
    ("funasr", "Paraformer, SenseVoice, emotion2vec+", "pip install 'echat-eval[funasr]'"),
    ("ray", "copies of systems and annotators on a cluster", "pip install 'echat-eval[ray]'"),
)


@click.command(epilog="\b\nExample:\n  echat-eval doctor")
def doctor() -> int:
    """What is installed, what is missing for what, and how to get it."""
    from importlib.util import find_spec

    from echat_eval.assets import ASSETS
    from echat_eval.manifest import environment

    facts = environment()
    click.echo(f"echat-eval {facts['echat_eval']}, Python {facts['python']}, {facts['platform']}")
    hardware = facts["hardware"]
    click.echo(f"{hardware['cores']} cores, {hardware['cpu']}; GPUs: {', '.join(hardware['gpus']) or 'none'}")
    parts = [(module, use, remedy) for module, use, remedy in OPTIONAL]
    parts += [(a.module, f"{a.purpose} ({a.licence})", a.how_to_get) for a in ASSETS.values()]
    lacking = [part for part in parts if find_spec(part[0]) is None]
    for part in parts:
        state = "missing" if part in lacking else "ok"
        click.echo(f"{state:<8} {part[0]:<22} {part[1]}{f'  ->  {part[2]}' if part in lacking else ''}")
    for kind in ("tasks", "judges"):
        click.echo(f"ok       {kind:<22} {', '.join(_names(kind))}")
    if lacking:
        click.echo(
            f"{len(lacking)} optional parts are missing; what needs them is printed as '-', never guessed"
        )
    return Exit.DONE
