"""The JSON form of requests and replies, shared by programs, servers and files of replies.

A request: {"id", "audio", "language", "history": [{"role", "text", "audio"}], "instruction"}.
A reply: {"id", "text", "audio" or "audio_base64", "think", "perceived", "first_audio_seconds",
"finish_reason", "usage", "error"}. A reply needs text or audio; absent keys mean unknown values.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.clients.audio_part import inline_audio
from echat_eval.errors import SystemFailure, Unavailable
from echat_eval.io.schema import ANYTHING, STRING, Rule, Schema, is_number, mapping_of

if TYPE_CHECKING:
    from echat_eval.records import AudioRef, Reply, Request, Turn, Waveform

__all__ = [
    "MAX_AUDIO_BYTES",
    "MAX_REPLY_BYTES",
    "MAX_TEXT_BYTES",
    "ReplyFolder",
    "fault_of",
    "reply_from",
    "request_row",
    "sound_of",
]

_numbers = itertools.count()
_LABELS = mapping_of(STRING, "")
_COUNTS = mapping_of(Rule(lambda v: isinstance(v, int | float), ""), "")
_REPLY = Schema(
    {
        "id": ANYTHING.optional(),
        "text": STRING.optional(),
        "audio": STRING.optional(),
        "audio_base64": STRING.optional(),
        "think": STRING.optional(),
        "perceived": Rule(lambda v: not v or _LABELS.holds(v), "an object of cue: label", required=False),
        "error": STRING.optional(),
        "first_audio_seconds": Rule(
            lambda v: is_number(v, low=0, high=86_400), "seconds from 0 to 86,400", required=False
        ),
        "finish_reason": STRING.optional(),
        "usage": Rule(lambda v: not v or _COUNTS.holds(v), "an object of name: number", required=False),
    }
)
#: Ten minutes of 16-bit mono PCM at 48 kHz are 58 MB.
MAX_AUDIO_BYTES = 64 * 2**20
#: A reply in one piece, as an HTTP body or a line of a program: base64 encodes three bytes as four.
MAX_REPLY_BYTES = MAX_AUDIO_BYTES * 4 // 3 + 2**20
#: A reply that is text alone, as a file or the stdout of a program; the runner refuses much shorter ones.
MAX_TEXT_BYTES = 4 * 2**20


def request_row(request: Request, *, inline: bool = False) -> dict[str, Any]:
    """Return a request as JSON.

    Args:
        inline: include the audio as `audio_base64` instead of its path.
    """
    row: dict[str, Any] = {"id": request.id, "language": request.language, **_audio(request.audio, inline)}
    if request.instruction is not None:
        row["instruction"] = request.instruction
    if request.history:
        row["history"] = [_turn(turn, inline) for turn in request.history]
    return row


def _turn(turn: Turn, inline: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"role": turn.role}
    if turn.text is not None:
        row["text"] = turn.text
    return row | (_audio(turn.audio, inline) if turn.audio is not None else {})


def _audio(audio: AudioRef, inline: bool) -> dict[str, str]:
    return {"audio_base64": inline_audio(audio)} if inline else {"audio": str(audio.path.resolve())}


def fault_of(row: Any) -> str | None:
    """Return the first fault in a reply's JSON, or None."""
    return next((message for _, message in _REPLY.faults(row)), None)


def reply_from(row: Mapping[str, Any], audio: AudioRef | Waveform | None) -> Reply:
    """Return the reply of a row without faults.

    Raises:
        SystemFailure: the row reports an error of the system.
    """
    from echat_eval.records import Reply

    if row.get("error"):
        raise SystemFailure(f"the system reported: {row['error']}")
    return Reply(
        text=row.get("text"),
        audio=audio,
        think=row.get("think"),
        perceived=row.get("perceived") or {},
        first_audio_seconds=row.get("first_audio_seconds"),
        finish_reason=row.get("finish_reason"),
        usage=row.get("usage") or {},
    )


class ReplyFolder:
    """A temporary folder for reply audio, created by `open` and deleted by `close`."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def is_open(self) -> bool:
        """Return whether the folder exists."""
        return self._folder is not None

    @property
    def path(self) -> Path:
        """Return the folder, which is created if necessary."""
        self.open()
        assert self._folder is not None
        return Path(self._folder.name)

    def path_for(self, request_id: str) -> Path:
        """Return a new path for a reply's audio: calls for the same request may run at once."""
        return _new_path(self.path, request_id)

    def open(self) -> None:
        """Create the folder, unless it exists."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="echat-eval-")

    def close(self) -> None:
        """Delete the folder, if there is one."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def sound_of(content: bytes | str, folder: Path, name: str) -> AudioRef:
    """Write audio bytes (or base64) to a new file in a folder and return a reference to it.

    Raises:
        SystemFailure: the bytes are not audio, or too many.
        Unavailable: they cannot be written, which is no fault of the system.
    """
    from echat_eval.errors import BadData
    from echat_eval.io.audio import audio_ref

    try:
        raw = base64.b64decode(content, validate=True) if isinstance(content, str) else content
    except (binascii.Error, ValueError) as error:
        raise SystemFailure(f"broken reply audio: not base64: {error}") from error
    if len(raw) > MAX_AUDIO_BYTES:
        raise SystemFailure(f"reply audio of {len(raw):,} bytes; the limit is {MAX_AUDIO_BYTES:,}")
    path = _new_path(folder, name)
    try:
        path.write_bytes(raw)
    except OSError as error:
        raise Unavailable(f"the reply's audio cannot be written: {error.strerror or error}") from error
    try:
        return audio_ref(path)
    except BadData as error:
        raise SystemFailure(f"broken reply audio: {str(error).removeprefix(f'{path}: ')}") from error


def _new_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.{next(_numbers)}.wav"
