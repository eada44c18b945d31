"""Splits of a task: which samples are in which part, frozen in the task's folder, and checked when used.

`splits/N.json` is version N. A file is never changed: another split is another version. It has the hash of
the task that it was drawn from, and its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData, UnknownName, UsageError
from echat_eval.io.files import write_atomically
from echat_eval.io.hashing import fingerprint_of
from echat_eval.io.schema import (
    SHA256,
    STRING,
    TEXT,
    Rule,
    Schema,
    is_text,
    list_of,
    mapping_of,
    one_of,
    whole,
)
from echat_eval.task.faults import display_path

if TYPE_CHECKING:
    from pathlib import Path

    from echat_eval.records import Sample

__all__ = [
    "FACTORS",
    "PART_NAME",
    "Split",
    "linking_keys",
    "part_samples",
    "read_split",
    "split_path",
    "split_versions",
    "with_version",
    "write_split",
]

#: The factors of which no level is in two parts.
FACTORS = ("speaker", "sentence")
PART_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_FOLDER = "splits"
_SPEC = re.compile(r"([a-z][a-z0-9_-]{0,31})(?:@(\d{1,6}))?")
_SPLIT = Schema(
    {
        "task": TEXT,
        "task_sha256": SHA256,
        "version": whole(1),
        "by": list_of(one_of(FACTORS), "a list of speaker and sentence"),
        "seed": whole(0),
        "parts": mapping_of(
            Rule(lambda v: isinstance(v, list) and all(is_text(e) for e in v), "a list of ids"),
            "a mapping of parts to ids",
        ),
        "left_out": mapping_of(STRING, "a mapping of ids to reasons"),
        "sha256": SHA256,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One version of a task's split.

    Attributes:
        task, task_sha256: name and hash of the task that it was drawn from.
        version: from 1.
        by: factors of which no level is in two parts.
        seed: of the draw.
        parts: name -> ids of its samples, in the order of the task.
        left_out: id -> reason.
    """

    task: str
    task_sha256: str
    version: int
    by: tuple[str, ...]
    seed: int
    parts: Mapping[str, tuple[str, ...]]
    left_out: Mapping[str, str]

    def content(self) -> dict[str, Any]:
        """Return the content of the file without its hash."""
        return {
            "task": self.task,
            "task_sha256": self.task_sha256,
            "version": self.version,
            "by": list(self.by),
            "seed": self.seed,
            "parts": {name: list(ids) for name, ids in self.parts.items()},
            "left_out": dict(self.left_out),
        }

    @property
    def sha256(self) -> str:
        """Return the hash of the content."""
        return fingerprint_of(self.content())

    def faults(self, samples: Sequence[Sample], task_sha256: str) -> list[str]:
        """Return why this is no split of a task; empty if it is one.

        Args:
            samples: all samples of the task.
            task_sha256: hash of the task.
        """
        if self.task_sha256 != task_sha256:
            return [
                f"version {self.version} was drawn from another state of the task (sha256 "
                f"{self.task_sha256[:12]}…, now {task_sha256[:12]}…); draw the next version with "
                "`echat-eval export split`"
            ]
        place = {ident: name for name, ids in self.parts.items() for ident in ids}
        listed = sum(map(len, self.parts.values())) + len(self.left_out)
        if listed != len(samples) or {*place, *self.left_out} != {sample.id for sample in samples}:
            return [f"version {self.version} does not have every sample in exactly one place"]
        found = []
        for factor in (*self.by, "contrast group"):
            parts_of: dict[object, set[str]] = {}
            for sample, key in zip(samples, linking_keys(samples, factor), strict=True):
                if key is not None and sample.id in place:
                    parts_of.setdefault(key, set()).add(place[sample.id])
            both = [key for key, parts in parts_of.items() if len(parts) > 1]
            if both:
                found.append(f"version {self.version} has {len(both)} of its {factor}s in several parts")
        return found


def linking_keys(samples: Sequence[Sample], factor: str) -> list[object | None]:
    """Return each sample's speaker, sentence or contrast group, of which none may be in two parts."""
    if factor == "speaker":
        return [sample.speaker for sample in samples]
    if factor == "sentence":
        from echat_eval.stats.factors import units_of

        return [unit.sentence for unit in units_of(samples).values()]
    return [sample.contrast_group for sample in samples]


def split_versions(folder: Path) -> list[int]:
    """Return the versions of a task's split, in order; empty if it has none."""
    names = (path.stem for path in (folder / _FOLDER).glob("*.json"))
    return sorted(int(name) for name in names if name.isdigit())


def split_path(folder: Path, version: int) -> Path:
    """Return the file of a version of a task's split."""
    return folder / _FOLDER / f"{version}.json"


def write_split(folder: Path, split: Split) -> Path:
    """Write a version of a split; return its path.

    Raises:
        UsageError: the version exists already.
    """
    path = split_path(folder, split.version)
    if path.exists():
        raise UsageError(f"{path}: already exists, and a split is never changed; draw the next version")
    path.parent.mkdir(exist_ok=True)
    content = split.content() | {"sha256": split.sha256}
    write_atomically(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")
    return path


def read_split(folder: Path, version: int | None = None) -> Split:
    """Return a version of a task's split, by default the newest.

    Raises:
        BadData: no such version, a file of another form, or content that does not have its hash.
    """
    versions = split_versions(folder)
    if not versions or version not in (None, *versions):
        known = ", ".join(map(str, versions)) or "none"
        raise BadData(
            f"{display_path(folder)}: no split version {version or 'at all'} (versions: {known}); draw one "
            f"with `echat-eval export split {display_path(folder)} --part dev=0.5 --part test=0.5`"
        )
    path = split_path(folder, version or versions[-1])
    shown = display_path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadData(f"{shown}: cannot be read as JSON: {error}") from error
    _SPLIT.check(content, shown)
    stated = content.pop("sha256")
    if fingerprint_of(content) != stated or content["version"] != int(path.stem):
        raise BadData(
            f"{shown}: changed after it was drawn: its content does not have the sha256 {stated[:12]}…; "
            "restore the file, or draw the next version"
        )
    return Split(
        task=content["task"],
        task_sha256=content["task_sha256"],
        version=content["version"],
        by=tuple(content["by"]),
        seed=content["seed"],
        parts={name: tuple(ids) for name, ids in content["parts"].items()},
        left_out=content["left_out"],
    )


def with_version(folder: Path, spec: str) -> str:
    """Return the spec of a part with the version that it takes now.

    Args:
        folder: the task's folder, which has a split.
        spec: name of the part, or `name@version`.
    """
    return spec if "@" in spec else f"{spec}@{split_versions(folder)[-1]}"


def part_samples(
    folder: Path, spec: str, samples: Sequence[Sample], task_sha256: str
) -> tuple[tuple[Sample, ...], Split]:
    """Return the samples of a part, in their order, and the split.

    Args:
        folder: the task's folder.
        spec: name of the part, or `name@version`.
        samples: all samples of the task.
        task_sha256: hash of the task.

    Raises:
        UsageError: a spec of another form.
        UnknownName: the split has no such part.
        BadData: as `read_split`, or the split does not fit the task.
    """
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise UsageError(f"part '{spec[:60]}': expected a name, or name@version, such as test or test@1")
    split = read_split(folder, int(match[2]) if match[2] else None)
    if faults := split.faults(samples, task_sha256):
        raise BadData(f"{display_path(folder / _FOLDER)}: {faults[0]}")
    if match[1] not in split.parts:
        raise UnknownName(f"part of split version {split.version}", match[1], split.parts)
    ids = set(split.parts[match[1]])
    return tuple(sample for sample in samples if sample.id in ids), split
