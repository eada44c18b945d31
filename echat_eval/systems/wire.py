"""How a request and a reply look as JSON, the same for a program, a server and a file of replies.

A request: {"id", "audio", "language", "history": [{"role", "text", "audio"}], "instruction"}.
A reply: {"id", "text", "audio" or "audio_base64", "think", "perceived", "first_audio_seconds",
"finish_reason", "usage", "error"}, of which a voice or words are enough. What is left out is not known.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.errors import SystemFailure

if TYPE_CHECKING:
    from echat_eval.records import AudioRef, Reply, Request, Turn, Waveform

__all__ = [
    "MAX_AUDIO_BYTES",
    "REPLY_KEYS",
    "fault_of",
    "inline_audio",
    "reply_from",
    "request_row",
    "sound_of",
]

REPLY_KEYS = frozenset(
    {
        "id",
        "text",
        "audio",
        "audio_base64",
        "think",
        "perceived",
        "error",
        "first_audio_seconds",
        "finish_reason",
        "usage",
    }
)
#: Ten minutes of 48 kHz mono PCM are 58 MB.
MAX_AUDIO_BYTES = 64 * 2**20


def request_row(request: Request, *, inline: bool = False) -> dict[str, Any]:
    """Return a request as JSON.

    Args:
        inline: put the audio's bytes in, as `audio_base64`, instead of its path.
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


def inline_audio(audio: AudioRef) -> str:
    """Return a file's bytes as base64."""
    return base64.b64encode(audio.path.read_bytes()).decode()


def fault_of(row: Any) -> str | None:
    """Return what is wrong with a reply's JSON, or None."""
    if not isinstance(row, dict):
        return f"the reply is a {type(row).__name__}; expected an object"
    if unknown := sorted(set(row) - REPLY_KEYS):
        return f"unknown key '{str(unknown[0])[:60]}'; keys are {', '.join(sorted(REPLY_KEYS))}"
    for key in ("text", "think", "audio", "audio_base64", "error", "finish_reason"):
        if row.get(key) is not None and not isinstance(row[key], str):
            return f"'{key}' is a {type(row[key]).__name__}; expected text"
    seconds = row.get("first_audio_seconds")
    if seconds is not None and (
        isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 86_400
    ):
        return f"'first_audio_seconds' is {seconds!r}; expected seconds"
    perceived = row.get("perceived") or {}
    if not isinstance(perceived, dict) or not all(isinstance(label, str) for label in perceived.values()):
        return "'perceived' is not an object of cue: label"
    usage = row.get("usage") or {}
    if not isinstance(usage, dict) or not all(isinstance(n, int | float) for n in usage.values()):
        return "'usage' is not an object of name: number"
    return None


def reply_from(row: Mapping[str, Any], audio: AudioRef | Waveform | None) -> Reply:
    """Return the reply a sound row describes.

    Raises:
        SystemFailure: the row says that the system failed.
    """
    from echat_eval.records import Reply

    if row.get("error"):
        raise SystemFailure(f"the system said: {row['error']}")
    return Reply(
        text=row.get("text"),
        audio=audio,
        think=row.get("think"),
        perceived=row.get("perceived") or {},
        first_audio_seconds=row.get("first_audio_seconds"),
        finish_reason=row.get("finish_reason"),
        usage=row.get("usage") or {},
    )


def sound_of(content: bytes | str, folder: Path, name: str) -> AudioRef:
    """Return bytes (or base64) that claim to be sound, written to a file and read back.

    Raises:
        SystemFailure: they are no sound.
    """
    from echat_eval.errors import BadData
    from echat_eval.io.audio import audio_ref

    try:
        raw = base64.b64decode(content, validate=True) if isinstance(content, str) else content
    except (binascii.Error, ValueError) as error:
        raise SystemFailure(f"broken reply audio: not base64: {error}") from error
    if len(raw) > MAX_AUDIO_BYTES:
        raise SystemFailure(f"reply audio of {len(raw):,} bytes; the limit is {MAX_AUDIO_BYTES:,}")
    path = folder / f"{name}.wav"
    path.write_bytes(raw)
    try:
        return audio_ref(path)
    except BadData as error:
        raise SystemFailure(f"broken reply audio: {str(error).removeprefix(f'{path}: ')}") from error
