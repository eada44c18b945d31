"""Tasks: a task is a folder with two data files and audio, checked completely before use."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from echat_eval.errors import BadData, UnknownName, UsageError
from echat_eval.io.collector import collector_paused
from echat_eval.io.data_folder import data_folder
from echat_eval.io.hashing import digest
from echat_eval.io.schema import shorten
from echat_eval.languages import TAG_EXPECTED, language_tag, supports
from echat_eval.task.faults import FaultList, display_path
from echat_eval.task.folder import Contents, find_faults, read_contents

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from echat_eval.records import Cue, Sample

__all__ = ["Task", "find_faults", "folder_of", "known_tasks", "load_folder", "load_task"]

#: The benchmark's own tasks, in the order of the tables.
_BENCHMARK_TASKS = ("emotion", "age", "gender", "event", "multi")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task and its samples.

    Attributes:
        name: name on the command line.
        version: increased whenever a sample or label changes.
        cues: names of the task's cues.
        title: language -> title for tables; always has "en".
        description: content of the task and permitted use of its numbers.
        licence: licence of the samples and their audio.
        citation: how to cite the samples; None if not stated.
        redistributable: whether the audio may be passed on; None if not stated, which counts as no.
        private: whether the data go to named hosts only; if not stated, unless they may be passed on.
        consent: what the speakers agreed to; None if not stated.
        voices: whose voices they are, such as recorded people; None if not stated.
        own_cues: name -> cue that the task defines; None: only shipped ones.
        languages: languages of `samples`, sorted.
        samples: samples in the order of samples.jsonl.
        sha256: hash of the whole folder, even if `samples` holds only some of its languages; see `load_task`
            for a part.
        folder: the folder that was read.
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
    redistributable: bool | None = None
    private: bool = True
    consent: str | None = None
    voices: str | None = None
    own_cues: Mapping[str, Cue] | None = None


def known_tasks(data: Path | None = None) -> tuple[str, ...]:
    """Return the names of the shipped tasks, or of the tasks in a folder, the benchmark's five first.

    >>> known_tasks()[:5]
    ('emotion', 'age', 'gender', 'event', 'multi')
    """
    root = data_folder("tasks") if data is None else data
    names = {path.parent.name for path in root.glob("*/task.yaml")}
    return tuple(name for name in _BENCHMARK_TASKS if name in names) + tuple(
        sorted(names - set(_BENCHMARK_TASKS))
    )


def load_task(
    name: str,
    *,
    data: Path | None = None,
    languages: Iterable[str] | None = None,
    part: str | None = None,
) -> Task:
    """Return a task after checking every row and the header and hash of every audio file.

    Args:
        name: one of `known_tasks()`; with `data`, the name in its task.yaml.
        data: folder to read instead: the task's folder, or its parent.
        languages: keep only samples in these languages, "en" with "en-GB"; by default all.
        part: keep only the samples of a part of the task's split: "test", or "test@1" for version 1. The hash
            is then that of the task, the split and the part.

    Raises:
        UnknownName: no such task or part.
        UsageError: a language that is no BCP 47 tag, or a part of another form.
        BadData: the first fault, with file and line; `find_faults` lists all of them. Also a part of a split
            that is absent, was changed, or does not fit the task.
    """
    folder = _find_folder(name, data)
    with collector_paused():
        contents = read_contents(folder, FaultList(keep_going=False), decode=False)
    assert contents is not None  # without keep_going every fault raises
    samples = contents.samples
    if contents.settings["name"] != name:
        path = display_path(folder / "task.yaml")
        raise BadData(
            f"{path}: name is '{contents.settings['name']}', expected '{name}'; name the folder of that task"
        )
    sha256 = contents.sha256
    if part is not None:
        from echat_eval.task.split import part_samples

        samples, split = part_samples(folder, part, samples, sha256)
        sha256 = digest("part", [sha256, split.sha256, part.partition("@")[0]])
    if languages is not None:
        samples = _in_languages(samples, tuple(languages), name)
    return _task(contents, folder, samples, sha256)


def _task(contents: Contents, folder: Path, samples: tuple[Sample, ...], sha256: str) -> Task:
    settings = contents.settings
    return Task(
        name=settings["name"],
        version=settings["version"],
        cues=contents.cues,
        own_cues=contents.own_cues,
        title=MappingProxyType(dict(settings["title"])),
        description=settings["description"].strip(),
        licence=settings["licence"],
        citation=settings.get("citation"),
        languages=tuple(sorted({sample.language for sample in samples})),
        samples=samples,
        sha256=sha256,
        folder=folder,
        redistributable=settings.get("redistributable"),
        private=settings.get("private", settings.get("redistributable") is not True),
        consent=settings.get("consent"),
        voices=settings.get("voices"),
    )


def load_folder(folder: Path) -> Task:
    """Return the task in a folder, whatever its name is.

    Raises:
        BadData: as `load_task`.
    """
    contents = read_contents(folder, FaultList(keep_going=False), decode=False)
    assert contents is not None  # without keep_going every fault raises
    return _task(contents, folder, contents.samples, contents.sha256)


def folder_of(given: Path) -> Path:
    """Return the folder of a task that a user gives as a folder or as the name of a bundled task.

    Raises:
        UsageError: it is neither.
    """
    if given.is_dir():
        return given
    if str(given) in known_tasks():
        return data_folder("tasks") / given
    raise UsageError(
        f"{given}: no such folder; give a task's folder, with task.yaml and samples.jsonl, or a "
        f"bundled task: {', '.join(known_tasks())}"
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
        f"{display_path(data)}: no task.yaml there or in {name}/; expected a folder such as tasks/{name}"
    )


def _in_languages(samples: tuple[Sample, ...], languages: tuple[str, ...], task: str) -> tuple[Sample, ...]:
    tags = []
    for language in languages:
        tag = language_tag(language)
        if tag is None:
            raise UsageError(f"language {shorten(language)} is none; expected {TAG_EXPECTED}")
        tags.append(tag)
    kept = tuple(sample for sample in samples if supports(tags, sample.language))
    if not kept:
        present = ", ".join(sorted({sample.language for sample in samples}))
        raise BadData(f"task '{task}' has no sample in {' or '.join(tags)}; its languages: {present}")
    return kept
