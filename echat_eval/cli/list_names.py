"""`list`: names of tasks, systems, annotators, scorers, judges and published tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from echat_eval.cli.terminal import show

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["NAME_KINDS", "list_names", "names_of", "print_names", "print_stale", "stale_lines"]

NAME_KINDS = ("tasks", "systems", "annotators", "scorers", "judges", "published")


@click.command("list", epilog="\b\nExamples:\n  echat-eval list\n  echat-eval list systems")
@click.argument("kind", required=False, type=click.Choice(NAME_KINDS))
def list_names(kind: str | None) -> None:
    """List the names for --task, --system, --annotator, --rubric and --published."""
    print_names(kind)


def print_names(kind: str | None) -> None:
    """Print the names of one kind with a line about each, or of all kinds."""
    if kind is not None:
        for name in names_of(kind):
            show(f"{name:<18} {_description(kind, name)}".rstrip())
        return
    for each in NAME_KINDS:
        show(f"{each}: {', '.join(names_of(each)) or 'none'}")


def print_stale() -> None:
    """Print the shipped systems and judges whose model has an announced shutdown."""
    from echat_eval.systems.shutdowns import shutdowns

    for line in stale_lines():
        show(line)
    read = max((found.read for found in shutdowns().values()), default=None)
    show(f"The table of announcements was read on {read}; later ones are not in it.")


def stale_lines() -> list[str]:
    """Return one line about each shipped system and judge whose model has an announced shutdown."""
    from datetime import UTC, datetime

    from echat_eval.judge import judge_names, load_judge
    from echat_eval.systems.shutdowns import shutdown_of, stale_systems

    today = datetime.now(UTC).date()
    lines = [f"system {name}: {found.line(today)}" for name, found in stale_systems().items()]
    for name in judge_names():
        if (found := shutdown_of(load_judge(name).model, None)) is not None:
            lines.append(f"judge {name}: {found.line(today)}; another: --judge MODEL")
    return lines


def names_of(kind: str) -> Iterable[str]:
    """Return the known names of one kind."""
    from echat_eval.judge import judge_names
    from echat_eval.leaderboard.published import published_names
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


def _description(kind: str, name: str) -> str:
    """Return one line about a name, without importing its module."""
    import ast
    from importlib.util import find_spec

    if kind == "tasks":
        from echat_eval.task import load_task

        task = load_task(name)
        return f"{len(task.samples)} samples, {'+'.join(task.languages)}: {task.title['en']}"
    if kind == "published":
        from echat_eval.leaderboard.published import published

        return published(name).title
    if kind == "judges":
        from echat_eval.judge import load_judge

        return load_judge(name).title
    path = _table(kind).get(name)
    if path is None and kind == "systems":
        from echat_eval.systems.settings_files import system_settings, system_settings_names

        if name in system_settings_names():
            file = system_settings(name)
            return f"{file.title}, through the adapter {file.adapter}"
    if path is None:
        return "from another package"
    spec = find_spec(path.partition(":")[0])
    if spec is None or spec.origin is None:
        return ""
    text = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    return text.split("\n\n")[0].replace("\n", " ")
