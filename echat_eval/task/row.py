"""Rows of samples.jsonl: the closed schema, the audio checks and the resulting Sample."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from echat_eval.errors import BadData
from echat_eval.io.audio import audio_ref, read_mono
from echat_eval.io.inside import Folder
from echat_eval.io.schema import (
    ANYTHING,
    SHA256,
    STRING,
    TEXT,
    Rule,
    Schema,
    is_text,
    list_of,
    mapping_of,
    one_of,
    shorten,
    text,
)
from echat_eval.labels import check_label
from echat_eval.languages import TAG_EXPECTED, language_tag
from echat_eval.records import Sample, Turn

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from echat_eval.records import AudioRef, Cue
    from echat_eval.task.faults import FaultList

__all__ = ["MAX_ID_CHARACTERS", "MAX_LIVE_TURNS", "RowReader", "is_id"]

MAX_ID_CHARACTERS = 200
#: Scripted turns before the last one. With the replies to them, a judge is shown twice as many.
MAX_LIVE_TURNS = 10


def is_id(value: Any) -> bool:
    """Return whether a value is printable text of at most `MAX_ID_CHARACTERS`, without outer spaces."""
    return (
        is_text(value) and len(value) <= MAX_ID_CHARACTERS and value.isprintable() and value == value.strip()
    )


_CUES = mapping_of(STRING, "an object of cue: label")
_TURNS = list_of(mapping_of(ANYTHING, "an object"), "a list of objects").optional()
_PATH = text("a path inside the task's folder")
_ROW = Schema(
    {
        "id": Rule(is_id, f"printable text of 1 to {MAX_ID_CHARACTERS} characters"),
        "audio": _PATH,
        "audio_sha256": SHA256,
        "transcript": TEXT,
        "cues": _CUES,
        "language": Rule(lambda v: language_tag(v) is not None, TAG_EXPECTED),
        "source": one_of(("real", "synthetic")),
        "speaker": TEXT.optional(),
        "contrast_group": TEXT.optional(),
        "references": list_of(TEXT, "a list of texts").optional(),
        "history": _TURNS,
        "turns": _TURNS,
        "expect": one_of(("same",)).optional(),
        "words_suggest": _CUES.optional(),
        "note": TEXT.optional(),
    }
)
_TURN = Schema(
    {
        "role": one_of(("user", "assistant")),
        "text": TEXT.optional(),
        "audio": _PATH.optional(),
        "audio_sha256": SHA256.optional(),
    }
)
_LIVE_TURN = Schema({"transcript": TEXT, "audio": _PATH, "audio_sha256": SHA256, "cues": _CUES.optional()})


class RowReader:
    """Converts the rows of one task folder to Samples.

    Args:
        folder: the task's folder; audio paths must stay inside it, or inside `audio_folder`.
        task: name of the task.
        cues: cues of the task.
        faults: receives the faults.
        decode: decode all audio instead of reading only its headers.
        own_cues: those of `cues` that the task defines.
        error_rate: as the task states it.
        audio_folder: folder of the audio, if it is not the task's.
    """

    def __init__(
        self,
        folder: Path,
        task: str,
        cues: tuple[str, ...],
        faults: FaultList,
        *,
        decode: bool,
        own_cues: Mapping[str, Cue] | None = None,
        error_rate: Literal["wer", "cer"] | None = None,
        audio_folder: Path | None = None,
    ) -> None:
        self._folder = audio_folder or folder
        self._files = Folder(self._folder, "the task's folder" if self._folder == folder else "audio_folder")
        self._file = folder / "samples.jsonl"
        self._task = task
        self._cues = cues
        self._own_cues = own_cues
        self._error_rate = error_rate
        self._faults = faults
        self._decode = decode

    def read(self, line: int, row: Mapping[str, Any]) -> Sample | None:
        """Return the row's Sample, or None after adding its faults."""
        before = len(self._faults.found)
        for _, message in _ROW.faults(row):
            self._add(line, message)
        if row.get("expect") is not None and row.get("contrast_group") is None:
            self._add(line, "'expect' without 'contrast_group': it states what the replies of a group share")
        if _CUES.holds(row.get("cues")):
            self._check_labels(line, row["cues"])
            self._check_named(line, row["cues"])
        if _CUES.holds(row.get("words_suggest")):
            self._check_suggested(line, row["words_suggest"], row.get("cues"))
        audio = self._audio(line, row.get("audio"), row.get("audio_sha256"))
        turns = row.get("history") or []
        history = self._history(line, turns) if _TURNS.holds(turns) else ()
        live = self._live_turns(line, row)
        if len(self._faults.found) > before or audio is None:
            return None
        return Sample(
            task=self._task,
            id=row["id"],
            audio=audio,
            transcript=row["transcript"],
            cues=MappingProxyType(dict(row["cues"])),
            language=str(language_tag(row["language"])),
            source=row["source"],
            speaker=row.get("speaker"),
            contrast_group=row.get("contrast_group"),
            references=tuple(row.get("references") or ()),
            history=history,
            expect=row.get("expect"),
            own_cues=self._own_cues,
            error_rate=self._error_rate,
            turns=live or None,
            words_suggest=MappingProxyType(dict(found)) if (found := row.get("words_suggest")) else None,
        )

    def _add(self, line: int, message: str) -> None:
        self._faults.add(self._file, line, message)

    def _check_labels(self, line: int, cues: Mapping[str, str], place: str = "") -> None:
        for cue, label in cues.items():
            try:
                check_label(cue, label, self._own_cues)
            except BadData as error:
                self._add(line, place + str(error))

    def _check_suggested(self, line: int, suggested: Mapping[str, str], cues: Any) -> None:
        self._check_labels(line, suggested, "words_suggest: ")
        for cue in suggested:
            if _CUES.holds(cues) and cue not in cues:
                self._add(
                    line,
                    f"'words_suggest' names '{cue}', and 'cues' does not; state the label of the voice, too",
                )

    def _check_named(self, line: int, cues: Mapping[str, str]) -> None:
        named = [cue for cue in self._cues if cue in cues]
        needed = min(2, len(self._cues))
        if len(named) < needed:
            task_cues = ", ".join(self._cues)
            self._add(
                line, f"names {len(named)} of the task's cues ({task_cues}), expected at least {needed}"
            )

    def _audio(self, line: int, name: Any, declared: Any) -> AudioRef | None:
        """Return the audio file, or None after adding a fault of its path, content or hash."""
        if not is_text(name) or not SHA256.holds(declared):
            return None
        try:
            path = self._files.file(name)
            audio = audio_ref(path)
            if self._decode:
                _check_decoded(path)
        except BadData as error:
            self._add(line, f"audio {shorten(name)}: {str(error).removeprefix(f'{self._folder / name}: ')}")
            return None
        if audio.sha256 != declared:
            self._add(
                line,
                f"audio {shorten(name)}: sha256 is {audio.sha256[:12]}..., the row has {declared[:12]}...; "
                "fetch the file again, or correct the hash",
            )
            return None
        return audio

    def _history(self, line: int, turns: list[dict[str, Any]]) -> tuple[Turn, ...]:
        history = []
        for number, turn in enumerate(turns, 1):
            before = len(self._faults.found)
            found = [message for _, message in _TURN.faults(turn)]
            if ("audio" in turn) != ("audio_sha256" in turn):
                found.append("'audio' and 'audio_sha256' go together")
            if turn.get("text") is None and turn.get("audio") is None:
                found.append("expected 'text', 'audio' or both")
            for message in found:
                self._add(line, f"history turn {number}: {message}")
            audio = self._audio(line, turn.get("audio"), turn.get("audio_sha256"))
            if len(self._faults.found) == before:
                history.append(Turn(role=turn["role"], text=turn.get("text"), audio=audio))
        return tuple(history)

    def _live_turns(self, line: int, row: Mapping[str, Any]) -> tuple[Turn, ...]:
        """Return the scripted turns of a live dialogue."""
        rows = row.get("turns") or []
        if not _TURNS.holds(rows):
            return ()
        if rows and row.get("history"):
            self._add(
                line,
                "'turns' beside 'history': expected one of them; in a live dialogue the earlier replies are "
                "the system's own, so leave out 'history'",
            )
        if len(rows) > MAX_LIVE_TURNS:
            self._add(
                line, f"'turns' has {len(rows)} turns, expected at most {MAX_LIVE_TURNS} before the last"
            )
        turns = []
        for number, turn in enumerate(rows, 1):
            before = len(self._faults.found)
            for _, message in _LIVE_TURN.faults(turn):
                self._add(line, f"turn {number}: {message}")
            cues = turn.get("cues")
            if _CUES.holds(cues):
                self._check_labels(line, cues, f"turn {number}: ")
            audio = self._audio(line, turn.get("audio"), turn.get("audio_sha256"))
            if len(self._faults.found) == before:
                labels = None if cues is None else MappingProxyType(dict(cues))
                turns.append(Turn(role="user", text=turn["transcript"], audio=audio, cues=labels))
        return tuple(turns)


def _check_decoded(path: Path) -> None:
    """Decode the whole file; raise BadData if it is truncated, not finite or silent."""
    samples, _ = read_mono(path, rate=None)
    if not samples.any():
        raise BadData("holds only zeros; expected speech")
