"""The record of a run folder: its experiment, and its commands with times, host and inputs.

runs/x/experiment.yaml   the resolved experiment of all commands on the folder
      commands.jsonl     one row when a command starts, one with the same id when it ends

Both are passed on with the folder: paths of data and prices are relative to it where they lie in the same
project, and only `commands.jsonl` has the host's name, which no report and no export reads.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData, scrub
from echat_eval.experiment.file import experiment_from
from echat_eval.experiment.resolved import leaves, merged
from echat_eval.io.files import write_atomically
from echat_eval.io.hashing import unchanged_file_sha256
from echat_eval.io.jsonl import Appender
from echat_eval.io.schema import (
    ANYTHING,
    STRING,
    Schema,
    is_text,
    list_of,
    mapping_of,
    read_schema_rows,
    whole,
)
from echat_eval.io.strict_yaml import read_yaml
from echat_eval.store.environment import environment
from echat_eval.store.manifest_file import to_json
from echat_eval.store.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echat_eval.experiment.experiment import Experiment
    from echat_eval.experiment.tasks import ExperimentTask
    from echat_eval.io.strict_yaml import YamlFile

__all__ = [
    "Command",
    "days_of",
    "read_commands",
    "read_recorded",
    "recorded_content",
    "recorded_tasks",
    "recorded_text",
    "recording",
    "stored_path",
]

_FILE = "experiment.yaml"
_HEADER = "# The resolved experiment of this run. `echat-eval run FOLDER` finishes it or scores it again.\n"
#: A larger file is named without its hash: the manifest has the fingerprints of weights.
_LARGEST_INPUT = 256 * 2**20
_SEPARATORS = re.compile(r"[\s:=]+")
_ROW = Schema(
    {
        "id": whole(0),
        "argv": list_of(STRING, "a list of words").optional(),
        "folder": STRING.optional(),
        "host": STRING.optional(),
        "started": STRING.optional(),
        "versions": ANYTHING.optional(),
        "inputs": mapping_of(STRING, "a mapping of inputs to hashes").optional(),
        "ended": STRING.optional(),
        "outcome": STRING.optional(),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command on a run folder.

    Attributes:
        argv: its words.
        folder: where it was given, relative to the run folder within the same project.
        started, ended: times in UTC; `ended` is None if it was killed or still runs.
        versions: of this package, Python and the packages that can change a number.
        inputs: task, file -> sha256.
        outcome: "done", or the kind of error; None if it was killed or still runs.
    """

    argv: tuple[str, ...] = ()
    folder: str = ""
    host: str = ""
    started: str = ""
    versions: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    ended: str | None = None
    outcome: str | None = None


def read_recorded(folder: Path) -> Experiment | None:
    """Return the experiment of a run folder; None if an older version wrote the folder.

    Raises:
        BadData: the file is damaged.
    """
    found = _recorded(folder)
    return None if found is None else experiment_from(found, str(folder / _FILE), resolved=True)


def recorded_tasks(folder: Path) -> dict[str, Mapping[str, Any]]:
    """Return the selections of the tasks of a run folder by name; empty if they are not recorded."""
    found = _recorded(folder)
    tasks = [] if found is None else found.content.get("tasks") or []
    return {task["name"]: task for task in tasks}


def recorded_content(folder: Path) -> Mapping[str, Any]:
    """Return the experiment of a run folder as its file has it; empty without one."""
    path = folder / _FILE
    return read_yaml(path).content if path.is_file() else {}


def _within(folder: Path, content: Mapping[str, Any], convert: Callable[[Path, str], str]) -> dict[str, Any]:
    """Return an experiment with the paths of its data and prices converted."""
    changed = dict(content)
    if content.get("tasks"):
        changed["tasks"] = [
            {**task, "data": convert(folder, task["data"])} if is_text(task.get("data")) else task
            for task in content["tasks"]
        ]
    if content.get("prices") is not None:
        changed["prices"] = convert(folder, content["prices"])
    return changed


def stored_path(folder: Path, path: str) -> str:
    """Return a path relative to a run folder, if both lie in one project; other paths are absolute.

    Folders that share the root or a home folder only are in no project: that path would not move with them.
    """
    place, base = Path(path).absolute(), folder.absolute()
    common, home = Path(os.path.commonpath([place, base])), Path(os.path.expanduser("~"))
    shared = common not in (home, *home.parents, Path(common.anchor))
    return os.path.relpath(place, base) if shared else str(place)


def _absolute(folder: Path, path: str) -> str:
    return os.path.normpath(folder.absolute() / path)


def recorded_text(folder: Path, target: Path, system: str, shown: str) -> str:
    """Return the file of a folder's experiment for a copy that has one of its systems; "" without one.

    Args:
        folder: the run folder.
        target: the folder of the copy, to which paths are relative.
        system, shown: name of the system here and in the copy.
    """
    found = _recorded(folder)
    if found is None:
        return ""
    systems = {shown: (found.content.get("systems") or {}).get(system) or {}}
    return _text({**_within(target, found.content, stored_path), "systems": systems, "out": str(target)})


def _recorded(folder: Path) -> YamlFile | None:
    """Return the content of a folder's experiment, checked; None without one."""
    path = folder / _FILE
    if not path.is_file():
        return None
    try:
        file = read_yaml(path)
        experiment_from(file, str(path), resolved=True)
    except BadData as error:
        raise BadData(f"{error}; restore the file, or delete it to record the next command alone") from error
    return replace(file, content=_within(folder, file.content, _absolute))


def days_of(folder: Path) -> str:
    """Return the days of the commands on a run folder, such as "2026-11-01 to 2026-11-30"; "" without any.

    Raises:
        BadData: a row is damaged.
    """
    days = sorted(command.started[:10] for command in read_commands(folder) if command.started)
    return " to ".join(dict.fromkeys((days[0], days[-1]))) if days else ""


def read_commands(folder: Path) -> list[Command]:
    """Return the commands on a run folder, the first one first.

    Raises:
        BadData: a row is damaged.
    """
    path = folder / "commands.jsonl"
    rows: dict[int, dict[str, Any]] = {}
    for _, row in read_schema_rows(path, _ROW) if path.is_file() else ():
        rows[row["id"]] = {**rows.get(row["id"], {}), **row}
    found = []
    for row in rows.values():
        values: dict[str, Any] = {key: value for key, value in row.items() if key != "id"}
        found.append(Command(**{**values, "argv": tuple(row.get("argv", ()))}))
    return found


@contextmanager
def recording(folder: Path, content: Mapping[str, Any], tasks: Sequence[ExperimentTask]) -> Iterator[None]:
    """Record the experiment and the start of a command in a run folder, and with the block its end.

    The folder's lock must be held.

    Args:
        content: the resolved experiment of the command; it is merged with that of earlier commands.
    """
    run = RunFolder(folder)
    if not (folder / "manifest.json").exists():
        run.write_manifest(run.manifest())  # marks the folder as a run
    old = _recorded(folder)
    whole = content if old is None else merged(old.content, content)
    _write(folder, _within(folder, whole, stored_path))
    path = folder / "commands.jsonl"
    number = len(read_commands(folder))
    row = {
        "id": number,
        "argv": [Path(sys.argv[0]).name, *(scrub(word) for word in sys.argv[1:])],
        "folder": stored_path(folder, os.getcwd()),
        "host": platform.node(),
        "started": _now(),
        "versions": {k: v for k, v in _mapping(to_json(environment())).items() if k != "hardware"},
        "inputs": _inputs(folder, content, tasks),
    }
    with Appender(path) as commands:
        commands.append(row)
    outcome = "interrupted"
    try:
        yield
        outcome = "done"
    except Exception as error:
        outcome = type(error).__name__
        raise
    finally:
        with Appender(path) as commands:
            commands.append({"id": number, "ended": _now(), "outcome": outcome})


def _write(folder: Path, content: Mapping[str, Any]) -> None:
    write_atomically(folder / _FILE, _text(content))


def _text(content: Mapping[str, Any]) -> str:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes a list that several tasks share as often as it occurs: anchors are refused when read."""

        def ignore_aliases(self, data: object) -> bool:
            return True

    text = yaml.dump(
        dict(content), Dumper=Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100
    )
    return _HEADER + str(text)


def _inputs(folder: Path, content: Mapping[str, Any], tasks: Sequence[ExperimentTask]) -> dict[str, str]:
    """Return the hash of every task, and of every file that a setting names."""
    found = {f"task {selected.task.name}": selected.task.sha256 for selected in tasks}
    for group in ("systems", "annotators", "scorers", "judges"):
        for text in leaves(content.get(group)):
            for word in {text, *_SEPARATORS.split(text)}:
                if digest := _file_digest(word):
                    found[word] = digest
    prices = content.get("prices")
    if prices is not None and (digest := _file_digest(prices)):
        found[stored_path(folder, prices)] = digest
    return found


def _file_digest(name: str) -> str | None:
    """Return the hash of a file, or its size if it is large; None if there is no such file."""
    try:
        path = Path(name)
        if not name or not path.is_file():
            return None
        size = path.stat().st_size
        return unchanged_file_sha256(path) if size <= _LARGEST_INPUT else f"{size} bytes, not hashed"
    except (OSError, ValueError):
        return None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
