"""Rows of samples.jsonl: the closed schema, the audio checks and the resulting Sample."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData
from echat_eval.io.audio import audio_ref, read_mono
from echat_eval.labels import check_label
from echat_eval.records import Sample, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from echat_eval.records import AudioRef
    from echat_eval.task.faults import FaultList

__all__ = ["LANGUAGES", "RowReader", "Rule", "check_keys", "is_text"]

#: BCP 47 primary tags of the languages supported by texts, judges and recognisers.
LANGUAGES: tuple[str, ...] = ("en", "zh")
MAX_TEXT_CHARACTERS = 20_000
MAX_ID_CHARACTERS = 200
_SURROGATE = re.compile("[\ud800-\udfff]")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Rule:
    """Constraint on the value of one key: a test and its description."""

    holds: Callable[[Any], bool]
    expected: str
    required: bool = True


def is_text(value: Any) -> bool:
    """Return whether a value is non-blank text of bounded length that UTF-8 can encode."""
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_TEXT_CHARACTERS:
        return False
    return value.isascii() or _SURROGATE.search(value) is None


def _is_id(value: Any) -> bool:
    return (
        is_text(value) and len(value) <= MAX_ID_CHARACTERS and value.isprintable() and value == value.strip()
    )


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _is_cues(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(label, str) for label in value.values())


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(is_text(entry) for entry in value)


def _is_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


_TEXT = f"text of 1 to {MAX_TEXT_CHARACTERS:,} characters"
_SHA256_TEXT = "64 lower-case hexadecimal digits"
_ROW_RULES: Mapping[str, Rule] = {
    "id": Rule(_is_id, f"printable text of 1 to {MAX_ID_CHARACTERS} characters"),
    "audio": Rule(is_text, "a path inside the task's folder"),
    "audio_sha256": Rule(_is_sha256, _SHA256_TEXT),
    "transcript": Rule(is_text, _TEXT),
    "cues": Rule(_is_cues, "an object of cue: label"),
    "language": Rule(lambda v: v in LANGUAGES, " or ".join(LANGUAGES)),
    "source": Rule(lambda v: v in ("real", "synthetic"), "real or synthetic"),
    "speaker": Rule(is_text, _TEXT, required=False),
    "contrast_group": Rule(is_text, _TEXT, required=False),
    "references": Rule(_is_texts, "a list of texts", required=False),
    "history": Rule(_is_objects, "a list of objects", required=False),
    "note": Rule(is_text, _TEXT, required=False),
}
_TURN_RULES: Mapping[str, Rule] = {
    "role": Rule(lambda v: v in ("user", "assistant"), "user or assistant"),
    "text": Rule(is_text, _TEXT, required=False),
    "audio": Rule(is_text, "a path inside the task's folder", required=False),
    "audio_sha256": Rule(_is_sha256, _SHA256_TEXT, required=False),
}


def check_keys(values: Mapping[str, Any], rules: Mapping[str, Rule], add: Callable[[str, str], None]) -> None:
    """Check a mapping against a closed schema; call `add(key, message)` for each fault."""
    for key in values:
        if key not in rules:
            add(key, f"unknown key '{_short(key)}'; keys are {', '.join(rules)}")
    for key, rule in rules.items():
        value = values.get(key)
        if value is None:
            if rule.required:
                add(key, f"key '{key}' is missing; expected {rule.expected}")
        elif not rule.holds(value):
            add(key, f"'{key}' is {_short(value)}, expected {rule.expected}")


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


class RowReader:
    """Converts the rows of one task folder to Samples.

    Args:
        folder: the task's folder; audio paths must stay inside it.
        task: name of the task.
        cues: cues of the task.
        faults: receives the faults.
        decode: decode all audio instead of reading only its headers.
    """

    def __init__(
        self, folder: Path, task: str, cues: tuple[str, ...], faults: FaultList, *, decode: bool
    ) -> None:
        self._folder = folder
        self._root = folder.resolve()
        self._inside_by_path: dict[Path, bool] = {}
        self._file = folder / "samples.jsonl"
        self._task = task
        self._cues = cues
        self._faults = faults
        self._decode = decode

    def read(self, line: int, row: Mapping[str, Any]) -> Sample | None:
        """Return the row's Sample, or None after adding its faults."""
        before = len(self._faults.found)
        check_keys(row, _ROW_RULES, lambda _, message: self._add(line, message))
        if _is_cues(row.get("cues")):
            self._check_cues(line, row["cues"])
        audio = self._audio(line, row.get("audio"), row.get("audio_sha256"))
        turns = row.get("history") or []
        history = self._history(line, turns) if _is_objects(turns) else ()
        if len(self._faults.found) > before or audio is None:
            return None
        return Sample(
            task=self._task,
            id=row["id"],
            audio=audio,
            transcript=row["transcript"],
            cues=MappingProxyType(dict(row["cues"])),
            language=row["language"],
            source=row["source"],
            speaker=row.get("speaker"),
            contrast_group=row.get("contrast_group"),
            references=tuple(row.get("references") or ()),
            history=history,
        )

    def _add(self, line: int, message: str) -> None:
        self._faults.add(self._file, line, message)

    def _check_cues(self, line: int, cues: Mapping[str, str]) -> None:
        for cue, label in cues.items():
            try:
                check_label(cue, label)
            except BadData as error:
                self._add(line, str(error))
        named = [cue for cue in self._cues if cue in cues]
        needed = min(2, len(self._cues))
        if len(named) < needed:
            task_cues = ", ".join(self._cues)
            self._add(
                line, f"names {len(named)} of the task's cues ({task_cues}), expected at least {needed}"
            )

    def _audio(self, line: int, name: Any, declared: Any) -> AudioRef | None:
        """Return the audio file, or None after adding a fault of its path, content or hash."""
        if not is_text(name) or not _is_sha256(declared):
            return None
        try:
            path = self._path_inside(name)
            audio = audio_ref(path)
            if self._decode:
                _check_decoded(path)
        except BadData as error:
            self._add(line, f"audio '{_short(name)}': {str(error).removeprefix(f'{self._folder / name}: ')}")
            return None
        if audio.sha256 != declared:
            self._add(
                line,
                f"audio '{_short(name)}': sha256 is {audio.sha256[:12]}..., the row has {declared[:12]}...; "
                "fetch the file again, or correct the hash",
            )
            return None
        return audio

    def _path_inside(self, name: str) -> Path:
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or "\0" in name:
            raise BadData("leaves the task's folder; expected a relative path without '..'")
        path = self._folder / name
        try:
            # Resolving the folder is enough unless the file is a link; each folder is resolved once.
            linked = stat.S_ISLNK(path.lstat().st_mode)
            inside = self._is_inside(path if linked else path.parent)
        except (OSError, RuntimeError) as error:
            raise BadData("no such file in the task's folder") from error
        if not inside:
            raise BadData("a link that leaves the task's folder; copy the file into it")
        return path

    def _is_inside(self, path: Path) -> bool:
        if path not in self._inside_by_path:
            self._inside_by_path[path] = path.resolve(strict=True).is_relative_to(self._root)
        return self._inside_by_path[path]

    def _history(self, line: int, turns: list[dict[str, Any]]) -> tuple[Turn, ...]:
        history = []
        for number, turn in enumerate(turns, 1):

            def add(_: str, message: str, number: int = number) -> None:
                self._add(line, f"history turn {number}: {message}")

            before = len(self._faults.found)
            check_keys(turn, _TURN_RULES, add)
            if ("audio" in turn) != ("audio_sha256" in turn):
                add("audio", "'audio' and 'audio_sha256' go together")
            if turn.get("text") is None and turn.get("audio") is None:
                add("text", "expected 'text', 'audio' or both")
            audio = self._audio(line, turn.get("audio"), turn.get("audio_sha256"))
            if len(self._faults.found) == before:
                history.append(Turn(role=turn["role"], text=turn.get("text"), audio=audio))
        return tuple(history)


def _check_decoded(path: Path) -> None:
    """Decode the whole file; raise BadData if it is truncated, not finite or silent."""
    samples, _ = read_mono(path, rate=None)
    if not samples.any():
        raise BadData("holds only zeros; expected speech")
