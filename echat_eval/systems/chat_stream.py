"""Reads the answer of a chat server: one JSON object, or a stream of server-sent events."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from echat_eval.clients.chat_answer import message_parts, read_object, reports_error, token_counts
from echat_eval.clients.faults import reported_fault, shown, unreadable_fault
from echat_eval.errors import SystemFailure, Unavailable

__all__ = ["Collected", "collect"]

#: Characters of base64 that the header of a WAV takes; audio starts after it.
_HEADER_CHARACTERS = 60
#: How a WAV begins in base64.
_WAV = "UklGR"


@dataclass(slots=True, kw_only=True)
class Collected:
    """The parts of an answer.

    Attributes:
        text: the content.
        transcript: the server's transcript of the audio.
        pieces: the audio in pieces, base64.
        first_audio_seconds: from sending the request to the first audio; None unless the answer is a stream.
    """

    text: str = ""
    transcript: str = ""
    think: str = ""
    refusal: str = ""
    pieces: list[str] = field(default_factory=list)
    finish_reason: str | None = None
    usage: dict[str, float] = field(default_factory=dict)
    first_audio_seconds: float | None = None

    @property
    def has_samples(self) -> bool:
        """Return whether audio arrived: bare samples, or more of a WAV than its header."""
        if not self.pieces:
            return False
        header = _HEADER_CHARACTERS if self.pieces[0].startswith(_WAV) else 0
        return sum(map(len, self.pieces)) > header

    @property
    def audio(self) -> bytes:
        """Return the audio: the bytes of a file, of several WAVs in a row, or the bare 16-bit samples.

        Some servers cut one base64 text into pieces; others encode every piece separately, perhaps as a WAV
        of its own. `echat_eval.io.audio` joins WAVs in a row.
        """
        try:
            return base64.b64decode("".join(self.pieces), validate=True)
        except ValueError:
            return b"".join(map(_decoded, self.pieces))


async def collect(
    chunks: AsyncIterator[bytes],
    *,
    streaming: bool,
    begun: float,
    place: str = "the server",
    options: Mapping[str, str] | None = None,
) -> Collected:
    """Read an answer to its end.

    Args:
        streaming: the answer is server-sent events, not one object.
        begun: when the request was sent, on the monotonic clock.
        place, options: as `clients.faults.reported_fault`.

    Raises:
        Unavailable: the stream broke off before its end.
        SystemFailure: the answer has an unexpected form.
        EChatError: the answer reports an error; as `clients.faults.reported_fault`.
    """
    answer = Collected()
    if not streaming:
        value = _object(b"".join([chunk async for chunk in chunks]))
        _check(value, "", place, options)
        _take(value, answer, "message")
        return answer
    done = False
    async for kind, event in _events(chunks):
        if event == b"[DONE]":
            done = True
            break
        is_object = event.startswith(b"{") or kind in ("error", "object")
        value = _object(event) if is_object else _control(event)
        _check(value, kind, place, options)
        # A server that does not stream sends one object.
        whole = kind == "object" and not reports_error(value)
        _take(value, answer, "message" if whole else "delta")
        done = done or whole
        if answer.first_audio_seconds is None and answer.has_samples:
            answer.first_audio_seconds = time.monotonic() - begun
    if not done and answer.finish_reason is None:
        raise Unavailable("the stream broke off before its end")
    return answer


def _check(value: Mapping[str, Any], kind: str, place: str, options: Mapping[str, str] | None) -> None:
    """Raise the error that an object reports."""
    if kind == "error" or reports_error(value):
        raise reported_fault(value, place=place, options=options)


def _control(event: bytes) -> Mapping[str, Any]:
    """Return an empty object for a frame that holds no object, such as a ping."""
    try:
        read_object(event)
    except ValueError as error:
        raise SystemFailure(f"the server's answer is not strict JSON: {error}") from error
    return {}


def _object(raw: bytes) -> Mapping[str, Any]:
    try:
        value = read_object(raw)
    except ValueError as error:
        raise unreadable_fault(raw, error) from error
    if not isinstance(value, dict):
        raise SystemFailure(f"the server's answer is a {type(value).__name__}; expected an object")
    return value


async def _events(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[str, bytes]]:
    """Yield name and data of every server-sent event that has data; chunks may be cut anywhere.

    Lines end in LF, CRLF or CR. If nothing of the body is an event, the body is yielded as one "object".
    """
    rest, other, kind, data, found = b"", b"", "", b"", False
    async for chunk in _ended(chunks):
        *lines, rest = (rest + chunk).removeprefix(b"\xef\xbb\xbf").split(b"\n")
        for line in (part for ended in lines for part in ended.removesuffix(b"\r").split(b"\r")):
            if line.startswith(b"data:"):
                if _is_whole(data):  # some servers leave out the empty line between two events
                    yield kind, data
                    data = b""
                found = True
                data = (data + b"\n" + line[5:]).strip()
            elif line.startswith(b"event:"):
                kind = line[6:].strip().decode("utf-8", "replace").lower()
            elif not line.strip():
                if data:
                    yield kind, data
                kind, data = "", b""
            elif not found and not line.startswith((b":", b"id:", b"retry:")):
                other += line + b"\n"
    if not found and (other := other.strip()):
        yield "object", other


async def _ended(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the chunks, and the empty line that ends the last event."""
    async for chunk in chunks:
        yield chunk
    yield b"\n\n"


def _is_whole(data: bytes) -> bool:
    if data == b"[DONE]":
        return True
    if not (data.startswith(b"{") and data.endswith(b"}")):
        return False
    try:
        read_object(data)
    except ValueError:
        return False
    return True


def _take(value: Mapping[str, Any], answer: Collected, part: str) -> None:
    """Add one object to the answer; several choices may each hold one modality (vLLM-omni).

    In a stream vLLM-omni names the modality of each object, and sends the voice as its content. Content of
    a modality that is neither text nor audio is no part of a spoken reply.

    Args:
        part: key of a choice's content: "message" or "delta".
    """
    choices = value.get("choices")
    if part == "message" and (not isinstance(choices, list) or not choices):
        raise SystemFailure(f"the server answered without a choice: {shown(value)}")
    for choice in choices if isinstance(choices, list) else []:
        content = choice.get(part) if isinstance(choice, dict) else None
        if not isinstance(content, dict):
            continue
        modality = value.get("modality") or "text"
        if modality == "audio" and isinstance(piece := content.get("content"), str) and piece:
            answer.pieces.append(piece)
        elif modality == "text":
            words = message_parts(content)
            answer.text += words.text
            answer.think += words.think
            answer.refusal += words.refusal
        audio = content.get("audio")
        if isinstance(audio, dict):
            if isinstance(transcript := audio.get("transcript"), str):
                answer.transcript += transcript
            if isinstance(piece := audio.get("data"), str) and piece:
                answer.pieces.append(piece)
        if isinstance(choice.get("finish_reason"), str):
            answer.finish_reason = choice["finish_reason"]
    answer.usage = token_counts(value.get("usage")) or answer.usage


def _decoded(piece: str) -> bytes:
    try:
        return base64.b64decode(piece, validate=True)
    except ValueError as error:
        raise SystemFailure(f"broken reply audio: not base64: {error}") from error
