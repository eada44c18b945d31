"""The message of a chat server's answer, in every form that servers give it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["MessageParts", "message_parts", "reports_error", "token_counts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageParts:
    """The words of a message, or of a piece of one.

    Attributes:
        think: text that the server marks as reasoning.
        refusal: text that the server marks as a refusal.
    """

    text: str = ""
    think: str = ""
    refusal: str = ""


def message_parts(message: Mapping[str, Any]) -> MessageParts:
    """Return the words of a message whose content is text or a list of parts.

    >>> message_parts({"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Hi"}]})
    MessageParts(text='Hi', think='hm', refusal='')
    """
    content = message.get("content")
    parts = content if isinstance(content, list) else [content]
    texts, thoughts, refusals = [], [], [_text(message.get("refusal"))]
    for part in parts:
        kind = str(part.get("type", "text")) if isinstance(part, Mapping) else "text"
        if "think" in kind or "reason" in kind:
            thoughts.append(_text(part))
        elif kind == "refusal":
            refusals.append(_text(part))
        elif kind in ("text", "output_text"):
            texts.append(_text(part))
    thoughts.append(_text(message.get("reasoning_content") or message.get("reasoning")))
    return MessageParts(text="".join(texts), think="".join(thoughts), refusal="".join(refusals))


def reports_error(value: Mapping[str, Any]) -> bool:
    """Return whether an object reports an error instead of an answer.

    >>> reports_error({"error": {"code": 429}}), reports_error({"choices": [], "error": None})
    (True, False)
    """
    return bool(value.get("error")) or "error" in (value.get("object"), value.get("type"))


def token_counts(usage: object) -> dict[str, float]:
    """Return the token counts; audio tokens get separate names, such as `prompt_audio_tokens`."""
    if not isinstance(usage, Mapping):
        return {}
    counts = {k: v for k, v in usage.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    for side in ("prompt", "completion"):
        details = usage.get(f"{side}_tokens_details")
        audio_tokens = details.get("audio_tokens") if isinstance(details, Mapping) else None
        if isinstance(audio_tokens, int) and not isinstance(audio_tokens, bool):
            counts[f"{side}_audio_tokens"] = audio_tokens
    return counts


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        held = (
            value.get(name) for name in ("text", "thinking", "reasoning", "summary", "refusal", "content")
        )
        return next((text for text in map(_text, held) if text), "")
    if isinstance(value, list):
        return "".join(map(_text, value))
    return value if isinstance(value, str) else ""
