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

__all__ = ["RunOptions", "TaskOptions", "headline_option", "run_options", "task_options", "with_options"]

#: `--headline`, which every command that prints or draws a leaderboard or a comparison has.
headline_option = click.option(
    "--headline",
    metavar="METRIC",
    help="Metric that leads and ranks.  [default: the run's choice, or else the best that applies]",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Values of the options that `run_options` adds; None or empty: not given."""

    annotators: tuple[str, ...]
    scorers: tuple[str, ...]
    metrics: tuple[str, ...]
    judges: tuple[str, ...]
    judge_url: str | None
    rubric: str | None
    judge_repeats: int | None
    judge_match: bool
    judge_prose: bool
    judge_calls: int | None
    judge_timeout: float | None
    judge_set: tuple[str, ...]
    headline: str | None
    settings: tuple[str, ...]
    controls: int | None
    link: str | None
    tries: int | None
    no_cache: bool
    prices: Path | None
    max_cost: str | None
    send_to: tuple[str, ...]
    estimate: bool

    def arguments(self) -> dict[str, Any]:
        """Return these values as arguments of `api.evaluate`, `api.score` and `api.estimate`."""
        return {
            "annotators": list(self.annotators) or None,
            "scorers": list(self.scorers) or None,
            "metrics": list(self.metrics) or None,
            "judges": list(self.judges) or None,
            "headline": self.headline,
            "controls": self.controls,
            "link": self.link,
            "tries": self.tries,
            "cache": False if self.no_cache else None,
            "prices": self.prices,
            "settings": {**self._judge_settings(), **parse_settings(self.settings)},
        }

    def _judge_settings(self) -> dict[str, Any]:
        """Return the options of the judge as settings of `--set`."""
        own = {
            "url": self.judge_url,
            "rubric": self.rubric,
            "repeats": self.judge_repeats,
            "match": self.judge_match or None,
            "prose": self.judge_prose or None,
            "calls": self.judge_calls,
            "timeout": self.judge_timeout,
        }
        given = {name: value for name, value in own.items() if value is not None}
        return {f"judge.{name}": value for name, value in (given | parse_settings(self.judge_set)).items()}

    def require_judge(self) -> None:
        """Raise UsageError for options of a judge without one; a file or a run folder may name one."""
        for option, value in (
            ("--judge-url", self.judge_url),
            ("--controls", self.controls),
            ("--judge-set", self.judge_set),
            ("--link", self.link),
        ):
            if value and not self.judges:
                what = {"--controls": "the model to test", "--link": "the new model"}.get(option, "the model")
                raise UsageError(f"{option} without --judge; name {what} with --judge MODEL")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """Values of the options that `task_options` adds."""

    tasks: tuple[str, ...]
    data: Path | None
    languages: tuple[str, ...]
    part: str | None
    limit: int | None
    ask: str | None

    def arguments(self) -> dict[str, Any]:
        """Return these values as arguments of `api.evaluate` and `api.estimate`; None: not given."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: None if value == () else value for name, value in values.items()}


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
                "--part",
                metavar="NAME[@VERSION]",
                help="Part of each task's split to use, such as test (see `export split`).",
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
    """Add the options for settings, instruments, retries, cache and cost; pass them on as `options`."""
    decorators = [
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="[NAME.]KEY=VALUE",
            help="Setting of every system, of the system NAME, or of judge, runner, executor; repeatable.",
        ),
        click.option(
            "--annotator",
            "annotators",
            multiple=True,
            metavar="NAME[:KEY=VALUE,...]",
            help="Annotator to use; repeatable.  [default: whisper and acoustics]",
        ),
        click.option(
            "--scorer",
            "scorers",
            multiple=True,
            metavar="NAME",
            help="Scorer to use, by name or FILE.py:NAME; 'defaults' keeps the default ones; repeatable.",
        ),
        click.option(
            "--metric",
            "metrics",
            multiple=True,
            metavar="FILE.py:NAME",
            help="Metric of your own to add, a function with @ev.metric; repeatable.",
        ),
        click.option(
            "--judge",
            "judges",
            multiple=True,
            metavar="[NAME=]MODEL",
            help="Model of a judge; 'dated' is the rubric's own; repeatable with names.  [default: none]",
        ),
        click.option(
            "--judge-url",
            metavar="URL",
            help="Base URL of the judge's OpenAI-compatible server, ending in /v1.",
        ),
        click.option("--rubric", help="Rubric of the judge, a folder name in judges/.  [default: echat-r1]"),
        click.option(
            "--judge-repeats",
            type=click.IntRange(1, 20),
            help="Verdicts per question; mean and variance are kept.  [default: 1]",
        ),
        click.option(
            "--judge-match",
            is_flag=True,
            help="Also ask the judge which of two voices each reply answers (12 questions per pair).",
        ),
        click.option(
            "--judge-prose",
            is_flag=True,
            help="Read the verdict from prose, for a server without JSON schema support.",
        ),
        click.option(
            "--judge-calls",
            type=click.IntRange(1, 256),
            help="Maximum concurrent calls to the judge; reduced when its server returns 429.  [default: 4]",
        ),
        click.option(
            "--judge-timeout",
            type=click.FloatRange(1.0),
            metavar="SECONDS",
            help="Timeout of one call to the judge.  [default: 60]",
        ),
        click.option(
            "--judge-set",
            multiple=True,
            metavar="KEY=VALUE",
            help="Parameter of the judge's requests: temperature, seed, max_tokens, token_parameter, schema, "
            "reasoning_effort; null leaves it out; repeatable.",
        ),
        headline_option,
        click.option(
            "--controls",
            metavar="N",
            type=click.IntRange(0),
            help="Judge N replies again with shuffled, withheld and wrong labels; scores should fall.",
        ),
        click.option(
            "--link",
            metavar="[NAME=]MODEL",
            help="Judge that --judge replaces; it grades 150 replies, for estimates on its scale.",
        ),
        click.option(
            "--tries",
            type=click.IntRange(1, 100),
            help="Maximum calls per row; after that it counts as failed or missing.  [default: 3]",
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
            "--send-to",
            "send_to",
            multiple=True,
            metavar="HOST",
            help="Host that may get data of private tasks; this machine always may; repeatable.",
        ),
        click.option(
            "--prices",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Price table to use instead of baselines/prices.yaml (same format).",
        ),
    ]
    return with_options(command, RunOptions, "options", decorators)


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Return name -> value of `--set` options."""
    from echat_eval.plugins import parse_setting

    return dict(parse_setting(text) for text in settings)
