"""Reading of a task folder: task.yaml, samples.jsonl, the audio, ids and contrast groups."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData
from echat_eval.io.hashing import fingerprint_of
from echat_eval.io.jsonl import scan_rows
from echat_eval.io.schema import Rule, Schema, is_text, one_of, text, whole
from echat_eval.io.strict_yaml import YamlFile, read_yaml
from echat_eval.labels.declared import DECLARATION, declaration_faults, declared_cues
from echat_eval.languages import ERROR_RATES, language_tag, lookup
from echat_eval.task.faults import FaultList, display_path
from echat_eval.task.row import RowReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from echat_eval.records import Cue, Sample

__all__ = ["FACT_RULES", "Contents", "find_faults", "read_contents"]

#: A larger samples.jsonl is refused unread; 1,400 rows take about 1 MB.
MAX_SAMPLES_BYTES = 64 * 2**20
#: Keys of task.yaml that change no result, and so not the hash of the task.
_NO_RESULT = frozenset(("audio_folder", "redistributable", "private", "consent", "voices"))
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Content of a task folder.

    Attributes:
        settings: content of task.yaml.
        samples: samples in the order of the file.
        cues, own_cues: names of the task's cues, and its own definitions; None: it has none.
        sha256: hash of task.yaml's values and of every row and its audio; it does not depend on the
            folder, the names of the audio files or the order of the rows.
    """

    settings: Mapping[str, Any]
    samples: tuple[Sample, ...]
    cues: tuple[str, ...]
    own_cues: Mapping[str, Cue] | None
    sha256: str


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_title(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and "en" in value
        and all(language_tag(tag) and is_text(title) for tag, title in value.items())
    )


def _is_instruction(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(language_tag(tag) and is_text(question) for tag, question in value.items())
    )


#: Rules for facts about a task that its rows do not state; an import gets them from a mapping.
FACT_RULES: Mapping[str, Rule] = {
    "version": whole(1),
    "description": text("a text"),
    "licence": text("a text, such as 'CC BY 4.0'"),
    "citation": text("a text"),
    "redistributable": Rule(
        lambda v: isinstance(v, bool), "true or false: whether the audio may be passed on"
    ),
    "private": Rule(
        lambda v: isinstance(v, bool), "true or false: whether the data stay on this machine unless allowed"
    ),
    "consent": text("a text: what the speakers agreed to, and where that is recorded"),
    "voices": text("a text, such as 'recorded people', 'synthetic' or 'cloned with consent'"),
}
_OPTIONAL_FACTS = ("citation", "redistributable", "private", "consent", "voices")
_TASK = Schema(
    {
        "name": Rule(_is_name, "lower-case letters, digits, '-' and '_'"),
        "version": FACT_RULES["version"],
        "title": Rule(_is_title, "a title for 'en' and perhaps other BCP 47 tags"),
        "description": FACT_RULES["description"],
        "cues": Rule(lambda v: isinstance(v, list | dict), DECLARATION),
        "licence": FACT_RULES["licence"],
        **{key: FACT_RULES[key].optional() for key in _OPTIONAL_FACTS},
        "audio_folder": text("a path: the folder of the audio, if it is not this one").optional(),
        "error_rate": one_of(ERROR_RATES).optional(),
        "asks": text("transcript or a cue of the task").optional(),
        "instruction": Rule(_is_instruction, "a question per language", required=False),
    }
)


def find_faults(folder: Path) -> list[str]:
    """Return every fault of a task folder, one line each, `file:line: ...`.

    Unlike loading, this decodes all audio completely.
    """
    faults = FaultList(keep_going=True)
    read_contents(folder, faults, decode=True)
    return faults.found


def read_contents(folder: Path, faults: FaultList, *, decode: bool) -> Contents | None:
    """Return the content of a task folder, or None if it has faults.

    Args:
        folder: folder with task.yaml, samples.jsonl and the audio.
        faults: receives the faults.
        decode: decode all audio instead of reading only its headers.
    """
    before = len(faults.found)
    settings = _settings(folder, faults)
    file = folder / "samples.jsonl"
    declared = settings.get("cues")
    cues, own = ((), None) if any(declaration_faults(declared)) else declared_cues(declared)
    audio = _audio_folder(folder, settings.get("audio_folder"), faults)
    if audio is None:
        return None
    name = str(settings.get("name", folder.name))
    rate = settings.get("error_rate") if settings.get("error_rate") in ERROR_RATES else None
    reader = RowReader(
        folder, name, cues, faults, decode=decode, audio_folder=audio, own_cues=own, error_rate=rate
    )
    asks, instruction = settings.get("asks"), _by_tag(settings.get("instruction"))
    ids: dict[str, int] = {}
    rows: list[Mapping[str, Any]] = []
    incomplete: set[str] = set()  # contrast groups with a faulty row
    samples: list[tuple[int, Sample]] = []
    for line, row in _rows(file, faults):
        sample_id = row.get("id")
        if isinstance(sample_id, str):
            if sample_id in ids:
                faults.add(file, line, f"id '{sample_id[:60]}' is already on line {ids[sample_id]}")
            ids.setdefault(sample_id, line)
        sample = reader.read(line, row)
        if sample and asks is not None:
            tag = lookup(sample.language, instruction)
            if tag is None:
                faults.add(file, line, f"task.yaml has no instruction in language '{sample.language}'")
            sample = replace(sample, asks=asks, instruction=instruction.get(tag))
        if sample:
            samples.append((line, sample))
            rows.append(row)
        else:
            incomplete.add(str(row.get("contrast_group")))
    if not ids and len(faults.found) == before:
        faults.add(file, None, "holds no samples")
    if cues:
        _check_groups(file, samples, cues, incomplete, faults)
    if len(faults.found) > before:
        return None
    return Contents(
        settings=settings,
        samples=tuple(sample for _, sample in samples),
        cues=cues,
        own_cues=own,
        sha256=_content_hash(settings, rows),
    )


def _by_tag(instruction: Any) -> dict[str | None, str]:
    if not _is_instruction(instruction):
        return {}
    return {language_tag(tag): question for tag, question in instruction.items()}


def _settings(folder: Path, faults: FaultList) -> Mapping[str, Any]:
    path = folder / "task.yaml"
    if not path.is_file():
        faults.add(path, None, "missing; a task is a folder with task.yaml, samples.jsonl and its audio")
        return {}
    try:
        file: YamlFile = read_yaml(path, shown=display_path(path))
    except BadData as error:
        faults.add_line(str(error))
        return {}
    for key, message in (*_TASK.faults(file.content), *_family_faults(file.content)):
        faults.add(path, file.lines.get(key, 1), message)
    return file.content


def _audio_folder(folder: Path, declared: Any, faults: FaultList) -> Path | None:
    """Return the folder of the audio: the task's own, or another that task.yaml names; None after a fault.

    A file outside the task's folder is only read if the row has the hash of its content.
    """
    if not isinstance(declared, str) or not is_text(declared):
        return folder
    audio = folder / declared
    if not audio.is_dir():
        faults.add(
            folder / "task.yaml",
            None,
            f"audio_folder '{declared[:200]}' is no folder on this machine; correct the path",
        )
        return None
    return audio


def _family_faults(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (key, fault) for keys that contradict each other in dialogue and understanding tasks."""
    asks, cues = settings.get("asks"), settings.get("cues")
    if isinstance(cues, list | dict):
        yield from (("cues", fault) for fault in declaration_faults(cues))
    if ("asks" in settings) != ("instruction" in settings):
        yield "asks", "'asks' and 'instruction' go together: the requested fact and the question in words"
    if isinstance(cues, list | dict) and not cues and asks != "transcript":
        yield "cues", "'cues' is empty, which only a task that asks for the transcript may have"
    if isinstance(cues, list | dict) and asks not in (None, "transcript", *cues):
        yield "asks", f"asks for '{asks}', which is not among the task's cues"


def _rows(path: Path, faults: FaultList) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield (line number, object); add a fault for lines that are no object and skip them."""
    try:
        size = path.stat().st_size
        if size > MAX_SAMPLES_BYTES:
            faults.add(path, None, f"has {size:,} bytes, expected at most {MAX_SAMPLES_BYTES:,}")
            return
        for number, row in scan_rows(path):
            if isinstance(row, str):
                faults.add(path, number, row)
            else:
                yield number, row
    except OSError as error:
        faults.add(path, None, f"cannot be read: {error.strerror or error}")


def _check_groups(
    file: Path,
    samples: list[tuple[int, Sample]],
    cues: tuple[str, ...],
    incomplete: set[str],
    faults: FaultList,
) -> None:
    """Compare the valid rows of each contrast group; `incomplete` groups lack a row that has faults."""
    groups: dict[str, list[tuple[int, Sample]]] = defaultdict(list)
    for line, sample in samples:
        if sample.contrast_group is not None:
            groups[sample.contrast_group].append((line, sample))
    for name, members in groups.items():
        if len(members) == 1 and name not in incomplete:
            faults.add(file, members[0][0], f"contrast group '{name}' has one sample, expected at least two")
        for index, (line, sample) in enumerate(members):
            for other_line, other in members[:index]:
                if reason := _group_fault(sample, other, cues):
                    faults.add(file, line, f"contrast group '{name}': {reason} line {other_line}")
                    break


def _group_fault(sample: Sample, other: Sample, cues: tuple[str, ...]) -> str | None:
    """Return why two samples cannot share a group; the caller appends the other sample's line."""
    if sample.language != other.language:
        return "language differs from"
    if sample.transcript.encode() != other.transcript.encode():
        return "transcript differs from"
    if _sounds_of_turns(sample) != _sounds_of_turns(other):
        return "the audio of 'turns' differs from"
    labels = {cue: sample.cues[cue] for cue in cues if cue in sample.cues}
    other_labels = {cue: other.cues[cue] for cue in cues if cue in other.cues}
    if labels.keys() != other_labels.keys():
        return f"names the cues {', '.join(labels)}, not those of"
    if labels == other_labels:
        return "every cue of the task is the same as on"
    if sample.expect != other.expect:
        return f"'expect' is {sample.expect or 'not stated'}, unlike"
    if sample.expect == "same" and set(sample.references) != set(other.references):
        return "'expect: same' needs the same references for every voice; they differ from"
    if sample.words_suggest != other.words_suggest:
        return "the words are the same, and 'words_suggest' differs from"
    if sample.audio.sha256 == other.audio.sha256:
        return "cues differ, but the audio is the same as on"
    return None


def _sounds_of_turns(sample: Sample) -> list[str | None]:
    return [turn.audio.sha256 if turn.audio is not None else None for turn in sample.turns or ()]


def _content_hash(settings: Mapping[str, Any], rows: list[Mapping[str, Any]]) -> str:
    hashed = sorted((_without_paths(row) for row in rows), key=lambda row: str(row["id"]))
    facts = {key: value for key, value in settings.items() if key not in _NO_RESULT}
    return fingerprint_of({"task": facts, "samples": hashed})


def _without_paths(row: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in row.items() if key != "audio" and value is not None}
    for name in ("history", "turns"):
        if name in kept:
            kept[name] = [_without_paths(turn) for turn in kept[name]]
    return kept
