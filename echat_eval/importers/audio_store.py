"""The audio of an imported task: copied into it under its hash, or left where it is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from echat_eval.errors import BadData
from echat_eval.io.audio import audio_ref, read_mono
from echat_eval.io.hashing import sha256_of
from echat_eval.io.unfinished import NewFolder

__all__ = ["AudioByReference", "AudioCopies", "AudioStore"]


class AudioStore(Protocol):
    """Where the audio of a task is."""

    def store(self, audio: Path | bytes, suffix: str) -> tuple[str, str]:
        """Return name and hash; raise BadData if the audio cannot be decoded or is silent."""

    def finish(self, samples: Sequence[dict[str, Any]]) -> str | None:
        """Settle the audio of the samples; return the audio_folder of task.yaml, if it is not the task's."""


class AudioCopies:
    """Copies audio unchanged into the task's folder, under its hash."""

    def __init__(self, folder: NewFolder) -> None:
        self._folder = folder

    def store(self, audio: Path | bytes, suffix: str) -> tuple[str, str]:
        """Copy audio; return the copy's name and its hash."""
        try:
            content = audio if isinstance(audio, bytes) else audio.read_bytes()
        except OSError as error:
            raise BadData(f"cannot be read: {error.strerror or error}") from error
        suffix = suffix if isinstance(audio, bytes) else audio.suffix.lower()
        sha256 = sha256_of(content)
        name = f"audio/{sha256}{suffix}"
        if name not in self._folder:
            self._folder.write(name, content, durable=False)
        path = self._folder.folder / name
        try:
            _check_audible(path)
        except BadData:
            self._folder.remove(name)
            raise
        return name, sha256

    def finish(self, samples: Sequence[dict[str, Any]]) -> str | None:
        """Remove copies that no sample has."""
        used = {row["audio"] for row in _rows_with_audio(samples)}
        for name in set(self._folder.names) - used:
            self._folder.remove(name)
        return None


class AudioByReference:
    """Leaves audio files where they are; the task names the folder that holds all of them."""

    def store(self, audio: Path | bytes, suffix: str) -> tuple[str, str]:
        """Return the file's path and hash."""
        if isinstance(audio, bytes):
            raise BadData("is embedded in the table and cannot stay there; leave out --by-reference")
        path = audio.resolve()
        return str(path), _check_audible(path)

    def finish(self, samples: Sequence[dict[str, Any]]) -> str | None:
        """Name the files from the folder that holds all of them; return that folder."""
        rows = list(_rows_with_audio(samples))
        folder = Path(os.path.commonpath([Path(row["audio"]).parent for row in rows]))
        for row in rows:
            row["audio"] = Path(row["audio"]).relative_to(folder).as_posix()
        return str(folder)


def _rows_with_audio(samples: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the samples and those of their earlier turns that have audio."""
    for row in samples:
        yield row
        yield from (turn for turn in (*row.get("history", ()), *row.get("turns", ())) if "audio" in turn)


def _check_audible(path: Path) -> str:
    """Return the hash of an audio file; raise BadData if it cannot be decoded or is silent."""
    try:
        sha256 = audio_ref(path).sha256
        sound, _ = read_mono(path, rate=None)
        if not sound.any():
            raise BadData(f"{path}: holds only zeros; expected speech")
    except BadData as error:
        raise BadData(str(error).removeprefix(f"{path}: ")) from error
    return sha256
