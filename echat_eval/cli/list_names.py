"""`list`: names of tasks, systems, annotators, scorers, judges and published tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from echat_eval.cli.terminal import show, show_table
from echat_eval.errors import UnknownName, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.table import Table

    from echat_eval.plugins import DescribedSetting
    from echat_eval.systems.settings_files import SystemSettings

__all__ = ["NAME_KINDS", "list_names", "names_of", "print_names", "print_part", "print_stale", "stale_lines"]

NAME_KINDS = ("tasks", "systems", "annotators", "scorers", "judges", "published")
#: Kinds of parts that have settings.
WITH_SETTINGS = ("systems", "annotators", "scorers")


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


def print_part(kind: str, name: str) -> None:
    """Print what is known of one system, annotator or scorer, and its settings.

    Raises:
        UsageError: parts of this kind have no settings.
        UnknownName: no part has this name.
    """
    from echat_eval.plugins import described_settings, load_named

    if kind not in WITH_SETTINGS:
        raise UsageError(f"{kind} have no settings to show; of {', '.join(WITH_SETTINGS)} one can be named")
    known = list(names_of(kind))
    if name not in known:
        raise UnknownName(kind.removesuffix("s"), name, known)
    show(f"{name}: {_description(kind, name)}".removesuffix(": "))
    preset = _preset(name) if kind == "systems" else None
    if preset is not None:
        for key in ("served", "licence", "untested", "source", "date"):
            if value := getattr(preset, key):
                show(f"  {key}: {' '.join(value.split())}")
    adapter = name if preset is None else preset.adapter
    part = load_named(kind.removesuffix("s"), adapter, _table(kind))
    show("", f"Settings of {adapter}, given as --set NAME=VALUE or in the experiment file:")
    show_table(_settings_table(described_settings(part), {} if preset is None else preset.settings))


def _preset(name: str) -> SystemSettings | None:
    from echat_eval.systems.settings_files import system_settings, system_settings_names

    return system_settings(name) if name in system_settings_names() else None


def _settings_table(settings: Iterable[DescribedSetting], given: Mapping[str, Any]) -> Table:
    """Return the settings as a table; `given` holds the values of a settings file."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold", max_width=24)
    table.add_column("meaning", overflow="fold")
    for each in settings:
        value = str(given[each.name]) if each.name in given else each.default
        allowed = f" ({each.expected})" if each.expected else ""
        table.add_row(each.name, Text(value or "required"), Text(f"{each.meaning}{allowed}".strip()))
    return table


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
    if path is None and kind == "systems" and (file := _preset(name)) is not None:
        return f"{file.title}, through the adapter {file.adapter}"
    if path is None:
        return "from another package"
    spec = find_spec(path.partition(":")[0])
    if spec is None or spec.origin is None:
        return ""
    text = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    return text.split("\n\n")[0].replace("\n", " ")
