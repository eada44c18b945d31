"""What is asked: a task is a folder of two data files and its audio, checked whole before use."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from echat_eval.errors import BadData, UnknownName
from echat_eval.io.data_folder import data_folder
from echat_eval.task.faults import Faults, shown
from echat_eval.task.folder import find_faults, read_contents
from echat_eval.task.row import LANGUAGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from echat_eval.records import Sample

__all__ = ["LANGUAGES", "Task", "find_faults", "known_tasks", "load_task"]

#: The benchmark's own tasks, in the order tables show them.
_FIRST = ("emotion", "age", "gender", "event", "multi")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task and its samples.

    Attributes:
        name: as on the command line.
        version: raised whenever a sample or label changes.
        cues: what the task is about, out of labels.CUES.
        title: language -> title for tables; "en" is always there.
        description: what is asked, and what the numbers may be used for.
        licence: of the samples and their audio.
        citation: how to cite the samples, if they are to be cited.
        languages: those of `samples`, sorted.
        samples: in the order of samples.jsonl.
        sha256: hash of the whole folder's content, also where `samples` is only a part of it.
        folder: where it was read.
    """

    name: str
    version: int
    cues: tuple[str, ...]
    title: Mapping[str, str]
    description: str
    licence: str
    citation: str | None
    languages: tuple[str, ...]
    samples: tuple[Sample, ...]
    sha256: str
    folder: Path


def known_tasks(data: Path | None = None) -> tuple[str, ...]:
    """Return the names of the shipped tasks, or of those in a user's folder, the benchmark's five first.

    >>> known_tasks()[:5]
    ('emotion', 'age', 'gender', 'event', 'multi')
    """
    root = data_folder("tasks") if data is None else data
    names = {path.parent.name for path in root.glob("*/task.yaml")}
    return tuple(name for name in _FIRST if name in names) + tuple(sorted(names - set(_FIRST)))


def load_task(name: str, *, data: Path | None = None, languages: Iterable[str] | None = None) -> Task:
    """Return a task, every row and every audio file's header and hash checked.

    Args:
        name: one of `known_tasks()`, or with `data` the name its task.yaml gives.
        data: read from this folder instead: the task's own, or one that holds `<name>/`.
        languages: keep only samples in these; all if left out.

    Raises:
        UnknownName: no such task or language.
        BadData: the first fault, with file and line; `find_faults` lists all.
    """
    folder = _find_folder(name, data)
    contents = read_contents(folder, Faults(keep_going=False), decode=False)
    assert contents is not None  # without keep_going every fault has raised
    settings, samples = contents.settings, contents.samples
    if settings["name"] != name:
        path = shown(folder / "task.yaml")
        raise BadData(f"{path}: name is '{settings['name']}', expected '{name}'; point at that task's folder")
    if languages is not None:
        samples = _in_languages(samples, tuple(languages), name)
    return Task(
        name=name,
        version=settings["version"],
        cues=tuple(settings["cues"]),
        title=MappingProxyType(dict(settings["title"])),
        description=settings["description"].strip(),
        licence=settings["licence"],
        citation=settings.get("citation"),
        languages=tuple(sorted({sample.language for sample in samples})),
        samples=samples,
        sha256=contents.sha256,
        folder=folder,
    )


def _find_folder(name: str, data: Path | None) -> Path:
    if data is None:
        if name not in known_tasks():
            raise UnknownName("task", name, known_tasks())
        return data_folder("tasks") / name
    for folder in (data, data / name):
        if (folder / "task.yaml").is_file():
            return folder
    raise BadData(
        f"{shown(data)}: no task.yaml there nor in {name}/; expected a folder of the form of tasks/{name}"
    )


def _in_languages(samples: tuple[Sample, ...], wanted: tuple[str, ...], task: str) -> tuple[Sample, ...]:
    for language in wanted:
        if language not in LANGUAGES:
            raise UnknownName("language", language, LANGUAGES)
    kept = tuple(sample for sample in samples if sample.language in wanted)
    if not kept:
        raise BadData(f"task '{task}' has no sample in {' or '.join(wanted)}")
    return kept
