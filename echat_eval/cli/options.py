"""Options shared by several commands, as arguments of the API."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from echat_eval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["RunOptions", "TaskOptions", "run_options", "system_parts", "task_options", "with_options"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Values of the options that `run_options` adds."""

    annotators: tuple[str, ...]
    judge: str | None
    judge_url: str | None
    rubric: str
    judge_repeats: int
    judge_prose: bool
    judge_calls: int
    judge_timeout: float
    judge_set: tuple[str, ...]
    controls: int
    tries: int
    no_cache: bool
    prices: Path | None
    max_cost: str | None
    estimate: bool

    def arguments(self) -> dict[str, Any]:
        """Return these values as arguments of `api.evaluate`, `api.score` and `api.estimate`."""
        if self.judge is None and self.judge_url is not None:
            raise UsageError("--judge-url without --judge; name the model with --judge MODEL")
        if self.judge is None and self.controls:
            raise UsageError("--controls without --judge; name the model to test with --judge MODEL")
        from echat_eval.plugins import parse_setting

        if self.judge is None and self.judge_set:
            raise UsageError("--judge-set without --judge; name the model with --judge MODEL")
        judge = {
            "model": self.judge,
            "url": self.judge_url,
            "rubric": self.rubric,
            "repeats": self.judge_repeats,
            "prose": self.judge_prose,
            "calls": self.judge_calls,
            "timeout": self.judge_timeout,
            "settings": dict(map(parse_setting, self.judge_set)),
        }
        return {
            "annotators": list(self.annotators) or None,
            "judges": None if self.judge is None else judge,
            "controls": self.controls,
            "tries": self.tries,
            "cache": not self.no_cache,
            "prices": self.prices,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """Values of the options that `task_options` adds."""

    tasks: tuple[str, ...]
    data: Path | None
    languages: tuple[str, ...]
    limit: int | None
    ask: str | None

    def arguments(self) -> dict[str, Any]:
        """Return these values as arguments of `api.evaluate` and `api.estimate`."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def task_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that select tasks and samples; pass them on as `tasks`."""
    return with_options(
        command,
        TaskOptions,
        "tasks",
        [
            click.option(
                "--task",
                "tasks",
                multiple=True,
                metavar="NAME",
                help="Task to use; repeatable.  [default: all]",
            ),
            click.option(
                "--data",
                type=click.Path(path_type=Path, exists=True, file_okay=False),
                help="Folder of your tasks, to use instead of the demo split.",
            ),
            click.option(
                "--language",
                "languages",
                multiple=True,
                metavar="TAG",
                help="Language of the samples to use; repeatable.",
            ),
            click.option(
                "--limit",
                type=click.IntRange(2),
                help="Maximum samples per task; contrast groups stay whole.",
            ),
            click.option(
                "--ask",
                metavar="WHAT",
                help="Ask for a label instead of a reply: transcript, emotion, age, gender or event.",
            ),
        ],
    )


def with_options(
    command: Callable[..., Any], record: type, argument: str, options: Sequence[Callable[..., Any]]
) -> Callable[..., Any]:
    """Add options to a command, and pass their values on as one record.

    Args:
        command: the command's function.
        record: dataclass whose fields are the names of the options' values.
        argument: name of the command's argument that receives it.
        options: decorators, in the order of the help.
    """
    names = [field.name for field in fields(record)]

    @wraps(command)
    def decorated(**values: Any) -> Any:
        given = record(**{name: values.pop(name) for name in names})
        return command(**values, **{argument: given})

    for option in reversed(options):
        decorated = option(decorated)
    return decorated


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for annotators, judge, retries, cache and cost; pass them on as `options`."""
    decorators = [
        click.option(
            "--annotator",
            "annotators",
            multiple=True,
            metavar="NAME[:KEY=VALUE,...]",
            help="Annotator for the replies' audio; repeatable.  [default: whisper, acoustics]",
        ),
        click.option(
            "--judge",
            "judge",
            metavar="MODEL",
            help="LLM that judges the replies; `dated` is the dated model that the rubric names.",
        ),
        click.option(
            "--judge-url",
            metavar="URL",
            help="Base URL of the judge's OpenAI-compatible server, ending in /v1.",
        ),
        click.option(
            "--rubric",
            default="echat-r1",
            show_default=True,
            help="Rubric of the judge, a folder name in judges/.",
        ),
        click.option(
            "--judge-repeats",
            default=1,
            show_default=True,
            type=click.IntRange(1, 20),
            help="Verdicts per question; mean and variance are kept.",
        ),
        click.option(
            "--judge-prose",
            is_flag=True,
            help="Read the verdict from prose, for a server without JSON schema support.",
        ),
        click.option(
            "--judge-calls",
            default=4,
            show_default=True,
            type=click.IntRange(1, 256),
            help="Maximum concurrent calls to the judge; reduced when its server returns 429.",
        ),
        click.option(
            "--judge-timeout",
            default=60.0,
            show_default=True,
            type=click.FloatRange(1.0),
            metavar="SECONDS",
            help="Timeout of one call to the judge.",
        ),
        click.option(
            "--judge-set",
            multiple=True,
            metavar="KEY=VALUE",
            help="Parameter of the judge's requests: temperature, seed, max_tokens, token_parameter, schema, "
            "reasoning_effort; null leaves it out; repeatable.",
        ),
        click.option(
            "--controls",
            default=0,
            show_default="off",
            metavar="N",
            type=click.IntRange(0),
            help="Judge N replies again with shuffled, withheld and wrong labels; scores should fall.",
        ),
        click.option(
            "--tries",
            default=3,
            show_default=True,
            type=click.IntRange(1, 100),
            help="Maximum calls per row; after that it counts as failed or missing.",
        ),
        click.option(
            "--no-cache",
            is_flag=True,
            help="Do not read or write the cache that runs share.",
        ),
        click.option("--estimate", is_flag=True, help="Print the remaining calls and their cost, then exit."),
        click.option(
            "--max-cost",
            metavar="USD",
            help="Maximum cost of this command in US dollars; calls that could exceed it are not made.",
        ),
        click.option(
            "--prices",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Price table to use instead of baselines/prices.yaml (same format).",
        ),
    ]
    return with_options(command, RunOptions, "options", decorators)


def system_parts(specs: Sequence[str], settings: Sequence[str]) -> list[dict[str, Any]]:
    """Return the systems that `--system` names as `api.evaluate` takes them; `--set` goes to each of them."""
    from echat_eval.plugins import parse_setting

    parsed = dict(parse_setting(text) for text in settings)
    return [{"use": spec, **parsed} for spec in specs]
