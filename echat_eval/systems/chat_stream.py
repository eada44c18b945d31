"""What a chat server's answer says: whole JSON, or a stream of server-sent events."""

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
    """What was said.

    Attributes:
        text: the content.
        transcript: the words of the voice, as the server wrote them.
        pieces: of the voice, base64.
        first_audio_seconds: since the request was sent; only a stream tells it.
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
        """Return the voice: a file, or bare 16-bit samples of a stream.

        Some servers cut one base64 text into pieces, others encode every piece.
        """
        try:
            return base64.b64decode("".join(self.pieces), validate=True)
        except ValueError:
            return b"".join(map(_decoded, self.pieces))


async def collect(chunks: AsyncIterator[bytes], *, streaming: bool, begun: float) -> Collected:
    """Read an answer to its end.

    Args:
        streaming: server-sent events, or one object.
        begun: when the request was sent, on the monotonic clock.

    Raises:
        Unavailable: a stream that breaks off before it says that it is done.
        SystemFailure: not in the agreed form, or an error told in a stream.
    """
    found = Collected()
    if not streaming:
        _take(_object(b"".join([chunk async for chunk in chunks])), found, "message")
        return found
    done = False
    async for event in _events(chunks):
        if event == b"[DONE]":
            done = True
            break
        _take(_object(event), found, "delta")
        if found.pieces and found.first_audio_seconds is None:
            found.first_audio_seconds = time.monotonic() - begun
    if not done and found.finish_reason is None:
        raise Unavailable("the stream broke off before it was done")
    return found


def _object(raw: bytes) -> Mapping[str, Any]:
    try:
        value = loads(raw)
    except ValueError as error:
        raise SystemFailure(f"the server's answer is not strict JSON: {error}") from error
    if not isinstance(value, dict):
        raise SystemFailure(f"the server's answer is a {type(value).__name__}; expected an object")
    return value


async def _events(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the data of every server-sent event, wherever the chunks were cut."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()
    if rest.startswith(b"data:"):
        yield rest[5:].strip()


def _take(value: Mapping[str, Any], found: Collected, where: str) -> None:
    """Add what one object says; several choices may each hold one modality (vLLM-omni)."""
    if value.get("error"):
        raise SystemFailure(f"the server said: {str(value['error'])[:300]}")
    choices = value.get("choices")
    if not isinstance(choices, list) or (where == "message" and not choices):
        raise SystemFailure("the server answered without a choice")
    for choice in choices:
        said = choice.get(where) if isinstance(choice, dict) else None
        if not isinstance(said, dict):
            continue
        found.text += _text(said.get("content"))
        found.think += _text(said.get("reasoning_content") or said.get("reasoning"))
        voice = said.get("audio")
        if isinstance(voice, dict):
            found.transcript += _text(voice.get("transcript"))
            if piece := _text(voice.get("data")):
                found.pieces.append(piece)
        if isinstance(choice.get("finish_reason"), str):
            found.finish_reason = choice["finish_reason"]
    usage = value.get("usage")
    if isinstance(usage, dict):
        found.usage = _counts(usage)


def _counts(usage: Mapping[str, Any]) -> dict[str, float]:
    """Return what was counted, the share of sound among it under names of its own."""
    counts = {k: v for k, v in usage.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    for side in ("prompt", "completion"):
        details = usage.get(f"{side}_tokens_details")
        sound = details.get("audio_tokens") if isinstance(details, Mapping) else None
        if isinstance(sound, int) and not isinstance(sound, bool):
            counts[f"{side}_audio_tokens"] = sound
    return counts


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _decoded(piece: str) -> bytes:
    try:
        return base64.b64decode(piece, validate=True)
    except ValueError as error:
        raise SystemFailure(f"broken reply audio: not base64: {error}") from error
