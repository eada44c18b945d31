"""An audio file as a part of a chat message, in the two forms that servers take."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Literal

from echat_eval.errors import NotApplicable, Unavailable

if TYPE_CHECKING:
    from echat_eval.records import AudioRef

__all__ = ["AudioForm", "audio_bytes", "audio_part", "inline_audio"]

#: "input_audio" (OpenAI, vLLM), or "audio_url" (a data: URL, vLLM).
AudioForm = Literal["input_audio", "audio_url"]


def audio_part(audio: AudioRef, form: AudioForm, *, whose: str, option: str) -> dict[str, Any]:
    """Return a message's part with the bytes of an audio file.

    Args:
        audio: the file.
        form: of the part.
        whose: what the audio is, for messages, such as "the query".
        option: what chooses the other form, for messages, such as "set audio_in=audio_url".

    Raises:
        NotApplicable: the form does not take files of this kind.
        Unavailable: the file cannot be read.
    """
    extension = audio.path.suffix.lower().lstrip(".") or "wav"
    if form == "audio_url":
        url = f"data:audio/{extension};base64,{inline_audio(audio, whose)}"
        return {"type": "audio_url", "audio_url": {"url": url}}
    if extension not in ("wav", "mp3"):
        raise NotApplicable(f"input_audio takes wav and mp3, and {whose} is {extension}; {option}")
    return {
        "type": "input_audio",
        "input_audio": {"data": inline_audio(audio, whose), "format": extension},
    }


def inline_audio(audio: AudioRef, whose: str = "the query") -> str:
    """Return the bytes of an audio file as base64."""
    return base64.b64encode(audio_bytes(audio, whose)).decode()


def audio_bytes(audio: AudioRef, whose: str = "the query") -> bytes:
    """Return the bytes of an audio file of ours.

    Raises:
        Unavailable: it cannot be read, which is no fault of the system.
    """
    try:
        return audio.path.read_bytes()
    except OSError as error:
        raise Unavailable(f"{whose}'s audio cannot be read: {error.strerror or error}") from error
