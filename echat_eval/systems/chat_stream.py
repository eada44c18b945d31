"""Reads the answer of a chat server: one JSON object, or a stream of server-sent events."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from echat_eval.errors import SystemFailure, Unavailable
from echat_eval.io.jsonl import loads

__all__ = ["Collected", "collect"]


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
    pieces: list[str] = field(default_factory=list)
    finish_reason: str | None = None
    usage: dict[str, float] = field(default_factory=dict)
    first_audio_seconds: float | None = None

    @property
    def audio(self) -> bytes:
        """Return the audio: the bytes of a file, or the bare 16-bit samples of a stream.

        Some servers cut one base64 text into pieces; others encode every piece separately.
        """
        try:
            return base64.b64decode("".join(self.pieces), validate=True)
        except ValueError:
            return b"".join(map(_decoded, self.pieces))


async def collect(chunks: AsyncIterator[bytes], *, streaming: bool, begun: float) -> Collected:
    """Read an answer to its end.

    Args:
        streaming: the answer is server-sent events, not one object.
        begun: when the request was sent, on the monotonic clock.

    Raises:
        Unavailable: the stream broke off before its end.
        SystemFailure: the answer has an unexpected form, or reports an error.
    """
    answer = Collected()
    if not streaming:
        _take(_object(b"".join([chunk async for chunk in chunks])), answer, "message")
        return answer
    done = False
    async for event in _events(chunks):
        if event == b"[DONE]":
            done = True
            break
        _take(_object(event), answer, "delta")
        if answer.pieces and answer.first_audio_seconds is None:
            answer.first_audio_seconds = time.monotonic() - begun
    if not done and answer.finish_reason is None:
        raise Unavailable("the stream broke off before its end")
    return answer


def _object(raw: bytes) -> Mapping[str, Any]:
    try:
        value = loads(raw)
    except ValueError as error:
        raise SystemFailure(f"the server's answer is not strict JSON: {error}") from error
    if not isinstance(value, dict):
        raise SystemFailure(f"the server's answer is a {type(value).__name__}; expected an object")
    return value


async def _events(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the data of every server-sent event; chunks may be cut anywhere."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()
    if rest.startswith(b"data:"):
        yield rest[5:].strip()


def _take(value: Mapping[str, Any], answer: Collected, part: str) -> None:
    """Add one object to the answer; several choices may each hold one modality (vLLM-omni).

    Args:
        part: key of a choice's content: "message" or "delta".
    """
    if value.get("error"):
        raise SystemFailure(f"the server reported: {str(value['error'])[:300]}")
    choices = value.get("choices")
    if not isinstance(choices, list) or (part == "message" and not choices):
        raise SystemFailure("the server answered without a choice")
    for choice in choices:
        content = choice.get(part) if isinstance(choice, dict) else None
        if not isinstance(content, dict):
            continue
        answer.text += _text(content.get("content"))
        answer.think += _text(content.get("reasoning_content") or content.get("reasoning"))
        audio = content.get("audio")
        if isinstance(audio, dict):
            answer.transcript += _text(audio.get("transcript"))
            if piece := _text(audio.get("data")):
                answer.pieces.append(piece)
        if isinstance(choice.get("finish_reason"), str):
            answer.finish_reason = choice["finish_reason"]
    usage = value.get("usage")
    if isinstance(usage, dict):
        answer.usage = _counts(usage)


def _counts(usage: Mapping[str, Any]) -> dict[str, float]:
    """Return the token counts; audio tokens get separate names, such as `prompt_audio_tokens`."""
    counts = {k: v for k, v in usage.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    for side in ("prompt", "completion"):
        details = usage.get(f"{side}_tokens_details")
        audio_tokens = details.get("audio_tokens") if isinstance(details, Mapping) else None
        if isinstance(audio_tokens, int) and not isinstance(audio_tokens, bool):
            counts[f"{side}_audio_tokens"] = audio_tokens
    return counts


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _decoded(piece: str) -> bytes:
    try:
        return base64.b64decode(piece, validate=True)
    except ValueError as error:
        raise SystemFailure(f"broken reply audio: not base64: {error}") from error
