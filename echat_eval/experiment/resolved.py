"""The resolved experiment: what a run used, as plain data that a file can hold and that runs again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.errors import scrub
from echat_eval.experiment.file import RUNNER
from echat_eval.judge.scorer import JudgingScorer
from echat_eval.plugins import DEFAULTS, parse_parts
from echat_eval.scorers.judge_settings import JudgeSettings, parse_judges
from echat_eval.systems import split_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from echat_eval.experiment.experiment import Experiment
    from echat_eval.experiment.tasks import ExperimentTask
    from echat_eval.plugins import PartSpec
    from echat_eval.runner.plan import Plan

__all__ = ["OBJECT", "leaves", "merged", "resolved"]

#: Key of a part that was an object in Python, which no file can make again; its value names the class.
OBJECT = "object"
#: Settings of the runner that hold for one command.
_ONCE = ("retry_failed",)


def resolved(experiment: Experiment, plan: Plan, tasks: Sequence[ExperimentTask]) -> dict[str, Any]:
    """Return an experiment with every name written out: tasks, instruments and settings that were used.

    Args:
        plan: the objects that were made from the experiment.
        tasks: the tasks that were selected; empty if existing replies are scored.
    """
    judges = parse_judges(experiment.judges)
    clients = set(map(id, plan.judges))
    own_scorers = [
        scorer
        for scorer in plan.scorers
        if not (isinstance(scorer, JudgingScorer) and id(scorer.judge_client) in clients)
    ]
    content: dict[str, Any] = {
        "tasks": [dict(task.selection) for task in tasks],
        "systems": _named("system", experiment.systems, [system.name for system in plan.systems]),
        "annotators": _named("annotator", experiment.annotators, [a.name for a in plan.annotators]),
        "scorers": _named("scorer", experiment.every_scorer, [scorer.name for scorer in own_scorers]),
        "judges": [_judge(judge) for judge in judges],
        "metrics": {} if experiment.headline is None else {"headline": experiment.headline},
        "runner": {key: _plain(getattr(experiment, key)) for key in RUNNER.rules if key not in _ONCE},
        "executor": _plain(experiment.executor),
        "send_to": list(plan.send_to),
        "track": _trackers(experiment.track),
        "prices": None if experiment.prices is None else str(Path(experiment.prices).absolute()),
        "out": str(experiment.out),
    }
    content["runner"] = {key: value for key, value in content["runner"].items() if value is not None}
    return _without_empty(content)


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the experiment of a folder after a further command: parts are added, or replaced by name."""
    content = {**old, **new}
    for kind in ("systems", "annotators", "scorers"):
        content[kind] = {**(old.get(kind) or {}), **(new.get(kind) or {})}
    tasks = {task["name"]: task for task in (*(old.get("tasks") or ()), *(new.get("tasks") or ()))}
    judges = {judge.stem: judge for given in (old, new) for judge in parse_judges(given.get("judges"))}
    content |= {"tasks": list(tasks.values()), "judges": [_judge(judge) for judge in judges.values()]}
    return _without_empty(content)


def _without_empty(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return an experiment without empty groups; an empty group of instruments stands for none."""
    kept = ("annotators", "scorers")
    return {key: value for key, value in content.items() if key in kept or value not in (None, {}, [])}


def _named(kind: str, given: object, names: Sequence[str]) -> dict[str, Any]:
    """Return name -> `use` and settings of the parts that a caller described and that were made.

    The default instruments come first; the others keep their order.
    """
    if given is None and kind == "system":
        return {}
    specs = [
        spec for spec in parse_parts(kind, DEFAULTS if given is None else given) if spec.part != DEFAULTS
    ]
    defaults = names[: len(names) - len(specs)]
    own = zip(names[len(defaults) :], specs, strict=True)
    return {**{name: {} for name in defaults}, **{name: _part(kind, name, spec) for name, spec in own}}


def _part(kind: str, name: str, spec: PartSpec) -> dict[str, Any]:
    if not isinstance(spec.part, str):
        return {OBJECT: f"{type(spec.part).__module__}.{type(spec.part).__qualname__}"}
    use = split_name(spec.part)[1] if kind == "system" else spec.part
    settings = {key: value for key, value in spec.settings.items() if key != "name" or kind != "system"}
    return {**({} if use == name else {"use": scrub(use)}), **{k: _plain(v) for k, v in settings.items()}}


def _trackers(given: object) -> list[dict[str, Any]]:
    """Return trackers with their settings; those that are objects in Python are left out."""
    parts = [] if given is None else parse_parts("tracker", given)
    return [
        {"use": scrub(part.part), **({"name": part.name} if part.name else {}), **_plain(part.settings)}
        for part in parts
        if isinstance(part.part, str)
    ]


def _judge(judge: JudgeSettings) -> dict[str, Any]:
    """Return the settings of a judge that are not the default; the model always."""
    changed = {}
    for setting in fields(JudgeSettings):
        value = getattr(judge, setting.name)
        default = setting.default if setting.default is not MISSING else {}
        if setting.name == "model" or value != default:
            changed[setting.name] = _plain(value)
    return changed


def _plain(value: Any) -> Any:
    """Return a value of a file: plain, without secrets; an object is named by its class."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str | Path):
        return scrub(str(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return f"{type(value).__module__}.{type(value).__qualname__}"


def leaves(value: Any) -> Iterator[str]:
    """Yield every text in plain data."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner)
