"""Changes of an experiment by a command: arguments, and single settings such as `NAME.key=value`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from echat_eval.errors import UnknownName, UsageError, did_you_mean
from echat_eval.experiment.file import RUNNER
from echat_eval.experiment.tasks import SELECTING
from echat_eval.plugins import parse_parts
from echat_eval.runner.destinations import send_to_hosts
from echat_eval.scorers.judge_settings import parse_judges
from echat_eval.scorers.link_settings import LinkSettings, number_of_anchors
from echat_eval.systems import split_name

if TYPE_CHECKING:
    from echat_eval.experiment.experiment import Experiment

__all__ = ["GROUPS", "with_arguments", "with_settings"]

#: First words of settings that are those of no system.
GROUPS = ("judge", "runner", "executor", "track", "link")


def with_arguments(
    experiment: Experiment, arguments: Mapping[str, Any], *, add_judges: bool = False
) -> Experiment:
    """Return an experiment with the arguments that are not None in place of its own.

    Metrics and hosts of `send_to` are added to those of the experiment. A selection of samples, such as a
    limit, holds for every task: it also replaces those of single tasks.

    Args:
        add_judges: keep the judges of the experiment beside new ones with other columns.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    if add_judges and "judges" in given:
        judges = {j.stem: j for j in (*parse_judges(experiment.judges), *parse_judges(given["judges"]))}
        given["judges"] = list(judges.values())
    if experiment.metrics is not None and "metrics" in given:
        own, new = (parse_parts("metric", value) for value in (experiment.metrics, given["metrics"]))
        given["metrics"] = [*own, *(part for part in new if part not in own)]
    if experiment.send_to is not None and "send_to" in given:
        hosts = (*send_to_hosts(experiment.send_to), *send_to_hosts(given["send_to"]))
        given["send_to"] = list(dict.fromkeys(hosts))
    changed = [name for name in SELECTING if name in given]
    tasks = experiment.tasks
    if changed and isinstance(tasks, list | tuple):
        tasks = [
            {name: value for name, value in task.items() if name not in changed}
            if isinstance(task, Mapping)
            else task
            for task in tasks
        ]
    return replace(experiment, **{"tasks": tasks, **given})


def with_settings(experiment: Experiment, settings: Mapping[str, object]) -> Experiment:
    """Return an experiment with single settings changed.

    Args:
        settings: `key` for every system; `NAME.key` for the system of that name; `judge.key` for every judge
            and `judge.NAME.key` for one; `runner.key`; `executor.key`; `track` for a tracker by name, and
            `track.key` for its settings; `link.key` for the old judge of a link, and its anchors.

    Raises:
        UnknownName, UsageError: no system, judge or group has this name, or it takes no settings.
    """
    for name, value in settings.items():
        group, dot, key = name.partition(".")
        if dot and group == "judge":
            experiment = replace(experiment, judges=_with_judge_setting(experiment.judges, key, value))
        elif dot and group == "runner":
            if key not in RUNNER.rules:
                raise UnknownName("setting of the runner:", key, RUNNER.rules)
            changed: dict[str, Any] = {key: value}
            RUNNER.check(changed, f"--set runner.{key}")
            experiment = replace(experiment, **changed)
        elif group == "track":
            experiment = replace(experiment, track=_with_tracker_setting(experiment.track, key, value))
        elif dot and group == "link":
            experiment = replace(experiment, link=_with_link_setting(experiment.link, key, value))
        elif dot and group == "executor":
            experiment = replace(experiment, executor={**_executor(experiment.executor), key: value})
        else:
            experiment = replace(experiment, systems=_with_system_setting(experiment.systems, name, value))
    return experiment


def _executor(given: object) -> dict[str, Any]:
    if given is None or isinstance(given, str):
        return {"name": given or "local"}
    if not isinstance(given, Mapping):
        raise UsageError(f"executor {type(given).__name__}: an object takes no settings")
    return dict(given)


def _with_link_setting(given: object, key: str, value: object) -> object:
    if given is None:
        raise UsageError(f"--set link.{key} without a link; name the old judge with --link MODEL")
    if isinstance(given, LinkSettings):
        if key == "anchors":
            return replace(given, anchors=number_of_anchors(value))
        _require_link_setting(key)
        return replace(given, judge=given.judge.with_setting(key, value))
    _require_link_setting(key)
    return {**(given if isinstance(given, Mapping) else {"model": given}), key: value}


def _require_link_setting(key: str) -> None:
    """Raise UnknownName for a misspelt number of anchors; other keys are settings of the judge."""
    if key != "anchors" and did_you_mean(key, ["anchors"]):
        raise UnknownName("setting of a link:", f"link.{key}", ["link.anchors", "link.KEY of the judge"])


def _with_tracker_setting(given: object, key: str, value: object) -> object:
    """Return trackers with one setting changed, or the tracker that a value names in their place."""
    if not key:
        return value
    if given is None:
        raise UsageError(f"--set track.{key} without a tracker; name it with --set track=wandb")
    parts = parse_parts("tracker", given)
    if any(not isinstance(part.part, str) for part in parts):
        raise UsageError(f"a tracker that is an object takes no settings; got {key}")
    return [
        {"use": part.part, **({"name": part.name} if part.name else {}), **part.settings, key: value}
        for part in parts
    ]


def _with_system_setting(given: object, name: str, value: object) -> object:
    """Return systems with one setting changed: of one system for `NAME.key`, of all for `key`."""
    parts = parse_parts("system", given)
    names = [_name_of(part.name or part.settings.get("name"), part.part) for part in parts]
    # The longest name first: names may hold dots.
    target = max((n for n in names if name.startswith(f"{n}.")), key=len, default=None)
    if target is None and "." in name:
        known = [*names, *GROUPS]
        raise UnknownName(f"name in '--set {name}':", name.rpartition(".")[0], known)
    key = name if target is None else name[len(target) + 1 :]
    changed: list[object] = []
    for part, own in zip(parts, names, strict=True):
        settings = dict(part.settings)
        if target in (None, own):
            if not isinstance(part.part, str):
                raise UsageError(f"system '{own}' is an object and takes no settings; got {key}")
            settings[key] = value
        changed.append({"use": part.part, **settings} if isinstance(part.part, str) else part.part)
    return (
        dict(zip(names, changed, strict=True))
        if isinstance(given, Mapping) and "use" not in given
        else changed
    )


def _name_of(name: object, part: Any) -> str:
    """Return the name of a system in the run, without building it."""
    if name is not None or not isinstance(part, str):
        return str(name or part.name)
    named, spec = split_name(part)
    return named or spec.partition(":")[0]


def _with_judge_setting(given: object, key: str, value: object) -> object:
    """Return judges with one setting changed: of one judge for `NAME.key`, of all for `key`."""
    judges = parse_judges(given)
    name, dot, rest = key.rpartition(".")
    if not judges:
        raise UsageError(f"--set judge.{key} without a judge; name the model with --judge MODEL")
    if dot and name not in {judge.name for judge in judges}:
        raise UnknownName("judge", name, (judge.name for judge in judges if judge.name))
    return [judge.with_setting(rest, value) if not dot or judge.name == name else judge for judge in judges]
