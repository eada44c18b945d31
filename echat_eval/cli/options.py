"""Options shared by several commands, and the objects built from them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from echat_eval.errors import BadData, NotInstalled, UnknownName, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from echat_eval.ports import Annotator, Oracle, Scorer, System
    from echat_eval.records import Sample
    from echat_eval.task import Task

__all__ = [
    "RunOptions",
    "identify_judge",
    "load_tasks",
    "make_annotators",
    "make_scorers",
    "make_systems",
    "run_options",
]

DEFAULT_ANNOTATORS = ("whisper", "acoustics")
#: `--judge dated` selects the dated model that the rubric names.
DATED = "dated"
DEFAULT_SCORERS = ("cue-contrast", "transcription", "outcome", "readability")


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
    controls: int
    tries: int
    no_cache: bool
    prices: Path | None
    max_cost: str | None
    estimate: bool

    def build(self, samples: Iterable[Sample], store: Path) -> tuple[list[Annotator], list[Scorer]]:
        """Return the annotators, and the scorers for these samples, the judge's included.

        Args:
            samples: samples of the run; their families (dialogue, understanding) select the scorers.
            store: file of the judge's verdicts.
        """
        return make_annotators(self.annotators), [*make_scorers(samples), *self._judge_scorers(store)]

    def _judge_scorers(self, store: Path) -> list[Scorer]:
        if self.judge is None:
            if self.judge_url is not None:
                raise UsageError("--judge-url without --judge; name the model with --judge MODEL")
            if self.controls:
                raise UsageError("--controls without --judge; name the model to test with --judge MODEL")
            return []
        from echat_eval.clients.chat import is_dated
        from echat_eval.scorers.judged import judged_scorers

        model = None if self.judge == DATED else self.judge
        if self.judge_url is None and model is not None and not is_dated(model):
            click.echo(f"note: '{model}' is not a dated model name; the model behind it may change", err=True)
        scorers = judged_scorers(
            model,
            self.judge_url,
            self.rubric,
            repeats=self.judge_repeats,
            schema=not self.judge_prose,
            calls_at_once=self.judge_calls,
            timeout=self.judge_timeout,
            store=store,
            tries=self.tries,
        )
        return list(scorers)


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for annotators, judge, retries, cache and cost; pass them on as `options`."""
    names = [field.name for field in fields(RunOptions)]

    @wraps(command)
    def with_options(**values: Any) -> Any:
        options = RunOptions(**{name: values.pop(name) for name in names})
        return command(**values, options=options)

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
    decorated: Callable[..., Any] = with_options
    for decorator in reversed(decorators):
        decorated = decorator(decorated)
    return decorated


def load_tasks(
    names: Sequence[str], data: Path | None, languages: Sequence[str], limit: int | None
) -> list[Task]:
    """Return the tasks that `--task` names; by default all of them."""
    from dataclasses import replace

    from echat_eval.task import known_tasks, load_task

    known = known_tasks(data) if data is not None and not (data / "task.yaml").is_file() else known_tasks()
    if data is not None and not known:
        raise UsageError(f"{data}: no task found; expected {data}/<task>/task.yaml and samples.jsonl")
    for name in names:
        if name not in known and (data is None or not (data / "task.yaml").is_file()):
            raise UnknownName("task", name, known)
    if data is not None and (data / "task.yaml").is_file() and len(names) != 1:
        raise UsageError(f"--data {data} is the folder of one task; name that task with --task")
    try:
        tasks = [load_task(name, data=data, languages=languages or None) for name in (names or known)]
    except BadData as error:
        if data is None:
            raise
        raise BadData(f"{error}; `echat-eval check task FOLDER` lists every fault") from error
    if limit is not None:
        tasks = [replace(task, samples=_whole_groups(task.samples, limit)) for task in tasks]
    return tasks


def _whole_groups(samples: Sequence[Any], limit: int) -> tuple[Any, ...]:
    """Return at most `limit` samples in their order, without splitting a contrast group."""
    kept: list[Any] = []
    groups = list(dict.fromkeys(s.contrast_group or s.id for s in samples))
    for group in groups:
        members = [s for s in samples if (s.contrast_group or s.id) == group]
        if len(kept) + len(members) > limit:
            break
        kept += members
    if not kept:
        raise UsageError(f"--limit {limit} is smaller than the first contrast group; give a larger --limit")
    kept_ids = {s.id for s in kept}
    return tuple(s for s in samples if s.id in kept_ids)


def make_systems(specs: Sequence[str], settings: Sequence[str]) -> list[System | Oracle]:
    """Return the systems that `--system` names; `--set` settings go to each of them."""
    from echat_eval.plugins import parse_setting
    from echat_eval.systems import build_system

    parsed = dict(parse_setting(text) for text in settings)
    return [build_system(spec, parsed) for spec in specs]


def make_annotators(names: Sequence[str]) -> list[Annotator]:
    """Return the annotators that `--annotator` names.

    A default annotator whose package is not installed is left out with a note; its cells are
    not applicable.
    """
    from echat_eval.annotators import ANNOTATORS
    from echat_eval.plugins import construct, load_named, parse_setting

    made = []
    for spec in names or DEFAULT_ANNOTATORS:
        name, _, assignments = spec.partition(":")
        settings = dict(parse_setting(text) for text in assignments.split(",") if text)
        try:
            made.append(construct("annotator", name, load_named("annotator", name, ANNOTATORS), settings))
            made[-1].fingerprint()
            if licence := getattr(made[-1], "licence", None):
                click.echo(f"note: annotator '{name}' has the licence {licence}", err=True)
        except NotInstalled as error:
            if names:
                raise
            made = [m for m in made if m.name != name]
            click.echo(f"note: annotator '{name}' is left out: {error}", err=True)
    return made


def identify_judge(scorers: Iterable[Scorer]) -> None:
    """Ask the judge's server which model it serves.

    A refused key or an unknown model then stops the command before any system is called.
    """
    for scorer in scorers:
        if (judge_client := getattr(scorer, "judge_client", None)) is None:
            continue
        judge_client.server_identity()
        if judge_client.identity_error is not None:
            click.echo(
                f"note: the judge's server does not answer now ({judge_client.identity_error}); "
                "stored verdicts are used, others will be missing unless the server is back by then",
                err=True,
            )
        return


def make_scorers(samples: Iterable[Sample]) -> list[Scorer]:
    """Return the default scorers for the families of these samples: dialogue, understanding."""
    from echat_eval.plugins import construct, load_named
    from echat_eval.scorers import SCORERS

    made: list[Scorer] = []
    families = {"dialogue" if sample.asks is None else "understanding" for sample in samples}
    names = [name for name in DEFAULT_SCORERS if families != {"understanding"} or name == "outcome"]
    for name in ["understanding", *names] if "understanding" in families else names:
        try:
            made.append(construct("scorer", name, load_named("scorer", name, SCORERS), {}))
            made[-1].fingerprint()
        except NotInstalled as error:
            made = [m for m in made if m.name != name]
            click.echo(f"note: scorer '{name}' is left out: {error}", err=True)
    return made
