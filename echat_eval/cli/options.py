"""Options that several commands share, and how their values become objects."""

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
    "Instruments",
    "greet_judge",
    "instruments",
    "load_tasks",
    "make_annotators",
    "make_scorers",
    "make_systems",
]

DEFAULT_ANNOTATORS = ("whisper", "acoustics")
#: `--judge dated`: the model the rubric itself names.
DATED = "dated"
DEFAULT_SCORERS = ("cue-contrast", "transcription", "outcome")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruments:
    """What the options of `instruments` chose."""

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

    def made(self, samples: Iterable[Sample], store: Path) -> tuple[list[Annotator], list[Scorer]]:
        """Return the annotators, and the scorers of the samples' families with the judge's.

        Args:
            samples: what is asked.
            store: where the judge's verdicts are kept.
        """
        return make_annotators(self.annotators), [*make_scorers(samples), *self._judged(store)]

    def _judged(self, store: Path) -> list[Scorer]:
        if self.judge is None:
            if self.judge_url is not None:
                raise UsageError("--judge-url without --judge; name the model to ask for with --judge MODEL")
            if self.controls:
                raise UsageError("--controls without --judge; name the model to control with --judge MODEL")
            return []
        from echat_eval.clients.chat import is_dated
        from echat_eval.scorers.judged import judged_scorers

        model = None if self.judge == DATED else self.judge
        if self.judge_url is None and model is not None and not is_dated(model):
            click.echo(f"note: '{model}' names no dated model; what it stands for may change", err=True)
        made = judged_scorers(
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
        return list(made)


def instruments(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose annotators, the judge and retry_policy; pass them as one `chosen`."""
    names = [field.name for field in fields(Instruments)]

    @wraps(command)
    def gathered(**given: Any) -> Any:
        chosen = Instruments(**{name: given.pop(name) for name in names})
        return command(**given, chosen=chosen)

    options = [
        click.option(
            "--annotator",
            "annotators",
            multiple=True,
            metavar="NAME[:KEY=VALUE,...]",
            help="Instrument that hears the replies; repeatable.  [default: whisper, acoustics]",
        ),
        click.option(
            "--judge",
            "judge",
            metavar="MODEL",
            help="Let this LLM judge the replies as well; `dated`: the rubric's own dated model.",
        ),
        click.option(
            "--judge-url",
            metavar="URL",
            help="Base URL of the judge's OpenAI-compatible server, ending in /v1.",
        ),
        click.option(
            "--rubric", default="echat-r1", show_default=True, help="Which of `judges/` the judge follows."
        ),
        click.option(
            "--judge-repeats",
            default=1,
            show_default=True,
            type=click.IntRange(1, 20),
            help="Verdicts per question; their spread is kept.",
        ),
        click.option(
            "--judge-prose",
            is_flag=True,
            help="The judge's server holds no JSON schema: read one verdict out of its prose.",
        ),
        click.option(
            "--judge-calls",
            default=4,
            show_default=True,
            type=click.IntRange(1, 256),
            help="Calls to the judge at once at most; fewer while its server says it is too many.",
        ),
        click.option(
            "--judge-timeout",
            default=60.0,
            show_default=True,
            type=click.FloatRange(1.0),
            metavar="SECONDS",
            help="A call to the judge that takes longer is given up.",
        ),
        click.option(
            "--controls",
            default=0,
            show_default="off",
            metavar="N",
            type=click.IntRange(0),
            help="Judge N replies again with labels shuffled, withheld, or misheard.",
        ),
        click.option(
            "--tries",
            default=3,
            show_default=True,
            type=click.IntRange(1, 100),
            help="Calls per row before it counts as failed or missing.",
        ),
        click.option(
            "--no-cache",
            is_flag=True,
            help="Take nothing from other runs and leave nothing to them; see `echat-eval cache`.",
        ),
        click.option(
            "--estimate", is_flag=True, help="Say what would be asked and what it may cost, and stop."
        ),
        click.option(
            "--max-cost",
            metavar="USD",
            help="Make no call that could take this command beyond so many US dollars.",
        ),
        click.option(
            "--prices",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Price table instead of baselines/prices.yaml, in the same form.",
        ),
    ]
    made: Callable[..., Any] = gathered
    for option in reversed(options):
        made = option(made)
    return made


def load_tasks(
    names: Sequence[str], data: Path | None, languages: Sequence[str], limit: int | None
) -> list[Task]:
    """Return the tasks of `--task`, all of them if none is named."""
    from dataclasses import replace

    from echat_eval.task import known_tasks, load_task

    known = known_tasks(data) if data is not None and not (data / "task.yaml").is_file() else known_tasks()
    if data is not None and not known:
        raise UsageError(f"{data}: holds no task; expected {data}/<task>/task.yaml and samples.jsonl")
    for name in names:
        if name not in known and (data is None or not (data / "task.yaml").is_file()):
            raise UnknownName("task", name, known)
    if data is not None and (data / "task.yaml").is_file() and len(names) != 1:
        raise UsageError(f"--data {data} is one task's folder; name that task with --task")
    try:
        tasks = [load_task(name, data=data, languages=languages or None) for name in (names or known)]
    except BadData as error:
        if data is None:
            raise
        raise BadData(f"{error}; `echat-eval check task FOLDER` tells every fault at once") from error
    if limit is not None:
        tasks = [replace(task, samples=_whole_groups(task.samples, limit)) for task in tasks]
    return tasks


def _whole_groups(samples: Sequence[Any], limit: int) -> tuple[Any, ...]:
    """Return at most `limit` samples, contrast groups kept whole, in their order."""
    kept: list[Any] = []
    groups = list(dict.fromkeys(s.contrast_group or s.id for s in samples))
    for group in groups:
        members = [s for s in samples if (s.contrast_group or s.id) == group]
        if len(kept) + len(members) > limit:
            break
        kept += members
    if not kept:
        raise UsageError(f"--limit {limit} is smaller than the first contrast group; give at least 2")
    chosen = {s.id for s in kept}
    return tuple(s for s in samples if s.id in chosen)


def make_systems(specs: Sequence[str], settings: Sequence[str]) -> list[System | Oracle]:
    """Return the systems of `--system`; `--set` settings go to every one of them."""
    from echat_eval.plugins import parse_setting
    from echat_eval.systems import build_system

    given = dict(parse_setting(text) for text in settings)
    return [build_system(spec, given) for spec in specs]


def make_annotators(names: Sequence[str]) -> list[Annotator]:
    """Return the annotators of `--annotator`.

    A default one whose package is missing is left out and said: its cells are not applicable.
    """
    from echat_eval.annotators import ANNOTATORS
    from echat_eval.plugins import construct, load_named, parse_setting

    made = []
    for spec in names or DEFAULT_ANNOTATORS:
        name, _, given = spec.partition(":")
        settings = dict(parse_setting(text) for text in given.split(",") if text)
        try:
            made.append(construct("annotator", name, load_named("annotator", name, ANNOTATORS), settings))
            made[-1].fingerprint()
            if licence := getattr(made[-1], "licence", None):
                click.echo(f"note: annotator '{name}' is licensed {licence}", err=True)
        except NotInstalled as error:
            if names:
                raise
            made = [m for m in made if m.name != name]
            click.echo(f"note: annotator '{name}' is left out: {error}", err=True)
    return made


def greet_judge(scorers: Iterable[Scorer]) -> None:
    """Learn who judges, so that a refused key or an unknown model is told before any system is asked."""
    for scorer in scorers:
        if (jury := getattr(scorer, "jury", None)) is None:
            continue
        jury.served()
        if jury.silence is not None:
            click.echo(
                f"note: the judge's server does not answer now ({jury.silence}); kept verdicts stand "
                "for whoever gave them, others will be missing unless it is back by then",
                err=True,
            )
        return


def make_scorers(samples: Iterable[Sample]) -> list[Scorer]:
    """Return the default scorers of the samples' families."""
    from echat_eval.plugins import construct, load_named
    from echat_eval.scorers import SCORERS

    made: list[Scorer] = []
    asked = {sample.asks is not None for sample in samples}
    names = [name for name in DEFAULT_SCORERS if asked != {True} or name == "outcome"]
    for name in ["understanding", *names] if True in asked else names:
        try:
            made.append(construct("scorer", name, load_named("scorer", name, SCORERS), {}))
            made[-1].fingerprint()
        except NotInstalled as error:
            made = [m for m in made if m.name != name]
            click.echo(f"note: scorer '{name}' is left out: {error}", err=True)
    return made
