"""A task folder read whole: task.yaml, samples.jsonl, the audio, and what binds the rows together."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData
from echat_eval.io.jsonl import dumps, loads
from echat_eval.io.strict_yaml import YamlFile, read_yaml
from echat_eval.labels import CUES
from echat_eval.task.faults import Faults, shown
from echat_eval.task.row import LANGUAGES, RowReader, Rule, check_keys, is_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from echat_eval.records import Sample

__all__ = ["Contents", "find_faults", "read_contents"]

#: A longer samples.jsonl is refused unread; 1,400 rows take about 1 MB.
MAX_SAMPLES_BYTES = 64 * 2**20
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a task folder holds.

    Attributes:
        settings: task.yaml as read.
        samples: in the order of the file.
        sha256: hash of task.yaml's values and of every row and its audio; neither the folder,
            the names of the audio files nor the order of the rows changes it.
    """

    settings: Mapping[str, Any]
    samples: tuple[Sample, ...]
    sha256: str


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_title(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and "en" in value
        and all(tag in LANGUAGES and is_text(title) for tag, title in value.items())
    )


def _is_cue_list(value: Any) -> bool:
    return isinstance(value, list) and all(cue in CUES for cue in value) and len(set(value)) == len(value)


def _is_instruction(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(t in LANGUAGES and is_text(w) for t, w in value.items())
    )


_TASK_RULES: Mapping[str, Rule] = {
    "name": Rule(_is_name, "lower-case letters, digits, '-' and '_'"),
    "version": Rule(lambda v: type(v) is int and v >= 1, "a whole number from 1"),
    "title": Rule(_is_title, f"a title for 'en' and perhaps {', '.join(LANGUAGES[1:])}"),
    "description": Rule(is_text, "a text"),
    "cues": Rule(_is_cue_list, f"a list of cues out of {', '.join(CUES)}, each once"),
    "licence": Rule(is_text, "a text, such as 'CC BY 4.0'"),
    "citation": Rule(is_text, "a text", required=False),
    "asks": Rule(
        lambda v: v == "transcript" or v in CUES, f"transcript, {' or '.join(CUES)}", required=False
    ),
    "instruction": Rule(_is_instruction, "a question per language", required=False),
}


def find_faults(folder: Path) -> list[str]:
    """Return every fault of a task folder, one line each, `file:line: ...`; none means it is sound.

    Unlike loading, this decodes all audio to its last sample.
    """
    faults = Faults(keep_going=True)
    read_contents(folder, faults, decode=True)
    return faults.found


def read_contents(folder: Path, faults: Faults, *, decode: bool) -> Contents | None:
    """Return what a task folder holds, or None if task.yaml or samples.jsonl cannot be used.

    Args:
        folder: holds task.yaml, samples.jsonl and the audio.
        faults: takes what is wrong.
        decode: decode all audio instead of reading its headers.
    """
    before = len(faults.found)
    settings = _settings(folder, faults)
    file = folder / "samples.jsonl"
    named_cues = settings.get("cues") or []
    cues = tuple(named_cues) if _is_cue_list(named_cues) else ()
    reader = RowReader(folder, str(settings.get("name", folder.name)), cues, faults, decode=decode)
    asks, instruction = settings.get("asks"), settings.get("instruction") or {}
    ids: dict[str, int] = {}
    rows: list[Mapping[str, Any]] = []
    torn: set[str] = set()
    samples: list[tuple[int, Sample]] = []
    for line, row in _rows(file, faults):
        name = row.get("id")
        if isinstance(name, str):
            if name in ids:
                faults.add(file, line, f"id '{name[:60]}' is already on line {ids[name]}")
            ids.setdefault(name, line)
        sample = reader.read(line, row)
        if sample and asks is not None:
            if sample.language not in instruction:
                faults.add(file, line, f"task.yaml has no instruction in language '{sample.language}'")
            sample = replace(sample, asks=asks, instruction=instruction.get(sample.language))
        if sample:
            samples.append((line, sample))
            rows.append(row)
        else:
            torn.add(str(row.get("contrast_group")))
    if not ids and len(faults.found) == before:
        faults.add(file, None, "holds no samples")
    if cues:
        _check_groups(file, samples, cues, torn, faults)
    if len(faults.found) > before:
        return None
    return Contents(
        settings=settings,
        samples=tuple(sample for _, sample in samples),
        sha256=_content_hash(settings, rows),
    )


def _settings(folder: Path, faults: Faults) -> Mapping[str, Any]:
    path = folder / "task.yaml"
    if not path.is_file():
        faults.add(path, None, "missing; a task is a folder with task.yaml, samples.jsonl and its audio")
        return {}
    try:
        file: YamlFile = read_yaml(path, shown=shown(path))
    except BadData as error:
        faults.take(str(error))
        return {}
    check_keys(
        file.content,
        _TASK_RULES,
        lambda key, message: faults.add(path, file.lines.get(key, 1), message),
    )
    for key, message in _family_faults(file.content):
        faults.add(path, file.lines.get(key, 1), message)
    return file.content


def _family_faults(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (key, fault) of what makes a task one of dialogue or one of understanding."""
    asks, cues = settings.get("asks"), settings.get("cues")
    if ("asks" in settings) != ("instruction" in settings):
        yield "asks", "'asks' and 'instruction' go together: what is wanted, and the question in words"
    if cues == [] and asks != "transcript":
        yield "cues", "'cues' is empty, which only a task that asks for the transcript may leave"
    if isinstance(cues, list) and isinstance(asks, str) and asks in CUES and asks not in cues:
        yield "asks", f"asks for '{asks}', which is not among the task's cues"


def _rows(path: Path, faults: Faults) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield (line number, object); what is no object becomes a fault and is passed over."""
    try:
        size = path.stat().st_size
        if size > MAX_SAMPLES_BYTES:
            faults.add(path, None, f"has {size:,} bytes, expected at most {MAX_SAMPLES_BYTES:,}")
            return
        raw = path.read_bytes()
    except OSError as error:
        faults.add(path, None, f"cannot be read: {error.strerror or error}")
        return
    torn = not raw.endswith(b"\n")
    lines = raw.removeprefix(b"\xef\xbb\xbf").splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = loads(line.decode())
        except ValueError as error:
            hint = "; the file ends in the middle of a row" if torn and number == len(lines) else ""
            faults.add(path, number, f"not strict JSON: {error}{hint}")
            continue
        if isinstance(row, dict):
            yield number, row
        else:
            faults.add(path, number, f"expected an object, got {type(row).__name__}")


def _check_groups(
    file: Path, samples: list[tuple[int, Sample]], cues: tuple[str, ...], torn: set[str], faults: Faults
) -> None:
    """Hold the sound rows of each group against each other; `torn` groups miss a row that had faults."""
    groups: dict[str, list[tuple[int, Sample]]] = defaultdict(list)
    for line, sample in samples:
        if sample.contrast_group is not None:
            groups[sample.contrast_group].append((line, sample))
    for name, members in groups.items():
        if len(members) == 1 and name not in torn:
            faults.add(file, members[0][0], f"contrast group '{name}' has one sample, expected at least two")
        for index, (line, sample) in enumerate(members):
            for other_line, other in members[:index]:
                if reason := _group_fault(sample, other, cues):
                    faults.add(file, line, f"contrast group '{name}': {reason} line {other_line}")
                    break


def _group_fault(sample: Sample, other: Sample, cues: tuple[str, ...]) -> str | None:
    """Return how two samples cannot be of one group, worded to be followed by the other's line."""
    if sample.language != other.language:
        return "another language than"
    if sample.transcript.encode() != other.transcript.encode():
        return "transcript differs from"
    own = {cue: sample.cues[cue] for cue in cues if cue in sample.cues}
    their = {cue: other.cues[cue] for cue in cues if cue in other.cues}
    if own.keys() != their.keys():
        return f"names the cues {', '.join(own)}, not those of"
    if own == their:
        return "every cue of the task is the same as on"
    if sample.audio.sha256 == other.audio.sha256:
        return "other cues, yet the very audio of"
    return None


def _content_hash(settings: Mapping[str, Any], rows: list[Mapping[str, Any]]) -> str:
    hashed = sorted((_without_paths(row) for row in rows), key=lambda row: str(row["id"]))
    return hashlib.sha256(dumps({"task": dict(settings), "samples": hashed}).encode()).hexdigest()


def _without_paths(row: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in row.items() if key != "audio" and value is not None}
    if "history" in kept:
        kept["history"] = [_without_paths(turn) for turn in kept["history"]]
    return kept
