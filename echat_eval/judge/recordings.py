"""Recordings in a question to a judge that listens: their limits, and the message that carries them."""

from __future__ import annotations

import base64
import io
import wave
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from echat_eval.clients.audio_part import audio_part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echat_eval.clients.audio_part import AudioForm
    from echat_eval.judge.rubric import Judge
    from echat_eval.records import AudioRef

__all__ = [
    "PROBE_SECONDS",
    "Recording",
    "content_with",
    "identity_content",
    "is_limit_fault",
    "limit_fault",
    "seconds_of",
]

#: Bytes of a recording; servers refuse messages of some tens of MB, and base64 adds a third.
MAX_BYTES = 16 * 2**20
#: Seconds of audio in the request for a server's identity.
PROBE_SECONDS = 0.2


#: Ends of the reasons why a recording is not sent.
_LIMITS = ("(max_audio_seconds of its rubric)", "(16 kHz mono is enough)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A recording in a question.

    Attributes:
        name: its name in the rubric: "reply", "query", "voice 1" or "voice 2".
        audio: the file.
    """

    name: str
    audio: AudioRef


def is_limit_fault(reason: str | None) -> bool:
    """Return whether the reason of a score is that a recording is over the limit of its judge."""
    return reason is not None and reason.endswith(_LIMITS)


def limit_fault(judge: Judge, recordings: Sequence[Recording]) -> str | None:
    """Return why a recording is not sent to a judge; None if all can be."""
    for recording in recordings:
        audio, limit = recording.audio, judge.max_audio_seconds
        if audio.seconds > limit:
            return (
                f"the {recording.name}'s audio is {audio.seconds:.1f} s long; judge '{judge.name}' listens "
                f"to at most {limit:g} s {_LIMITS[0]}"
            )
        if audio.path.is_file() and (size := audio.path.stat().st_size) > MAX_BYTES:
            return (
                f"the {recording.name}'s audio has {size:,} bytes; at most {MAX_BYTES:,} are sent to a judge "
                f"{_LIMITS[1]}"
            )
    return None


def seconds_of(recordings: Sequence[Recording]) -> float:
    """Return the duration of all recordings."""
    return sum(recording.audio.seconds for recording in recordings)


def content_with(text: str, recordings: Sequence[Recording], form: AudioForm) -> str | list[dict[str, Any]]:
    """Return the content of a message: a prompt, then each recording after its number.

    Raises:
        NotApplicable: the form does not take files of this kind.
        Unavailable: a file cannot be read.
    """
    if not recordings:
        return text
    content: list[dict[str, Any]] = [{"type": "text", "text": text}]
    for number, recording in enumerate(recordings, 1):
        content.append({"type": "text", "text": f"Recording {number}:"})
        content.append(
            audio_part(
                recording.audio,
                form,
                whose=f"the {recording.name}",
                option="set --judge-set audio_in=audio_url",
            )
        )
    return content


def identity_content(text: str, form: AudioForm) -> list[dict[str, Any]]:
    """Return a text with a short silence: models for audio refuse a message without any."""
    data = _silence()
    part = (
        {"type": "audio_url", "audio_url": {"url": f"data:audio/wav;base64,{data}"}}
        if form == "audio_url"
        else {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    )
    return [{"type": "text", "text": text}, part]


@cache
def _silence() -> str:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(2 * round(PROBE_SECONDS * 16_000)))
    return base64.b64encode(buffer.getvalue()).decode()
