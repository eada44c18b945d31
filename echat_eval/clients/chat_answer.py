"""The message of a chat server's answer, in every form that servers give it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from echat_eval.errors import scrub, writable
from echat_eval.io.hashing import sha256_of

__all__ = ["MessageParts", "message_parts", "read_object", "reported_name", "reports_error", "token_counts"]

#: Tokens of one answer; a larger count is no count.
MAX_COUNT = 10**9
#: Characters of a model's name or fingerprint.
MAX_NAME = 200
#: Digits of a whole number that are read; Python refuses those of thousands of digits.
MAX_DIGITS = 40
_COUNT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
#: Names of the same counts in other protocols.
_OTHER_NAMES = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens"}
#: Side -> name of its details in OpenAI's Realtime protocol.
_LIVE_DETAILS = {"prompt": "input_token_details", "completion": "output_token_details"}


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


def read_object(body: bytes | str) -> Any:
    """Return the JSON value of an answer that is paid for, also one that strict JSON would refuse.

    Numbers of any length, NaN and repeated keys are accepted: what is read of them is checked by itself.

    Raises:
        ValueError: not JSON.

    >>> read_object('{"a": NaN, "b": 1, "b": 2, "c": 1e999}')
    {'a': None, 'b': 2, 'c': inf}
    """
    try:
        return json.loads(body, parse_int=_whole, parse_constant=lambda token: None)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= MAX_DIGITS else float(digits)


def token_counts(usage: object) -> dict[str, float]:
    """Return the token counts; audio tokens get separate names, such as `prompt_audio_tokens`.

    A value that is no count, such as a negative or infinite one, counts as not reported.

    >>> token_counts({"prompt_tokens": "7", "completion_tokens": float("inf"), "total_tokens": None})
    {'prompt_tokens': 7}
    """
    if not isinstance(usage, Mapping):
        return {}
    counts: dict[str, float] = {}
    for name, value in usage.items():
        if _COUNT_NAME.fullmatch(name) and scrub(name) == name and (count := _count(value)) is not None:
            counts[name] = count
    for other, name in _OTHER_NAMES.items():
        if other in counts:
            counts.setdefault(name, counts[other])
    for side in ("prompt", "completion"):
        details = usage.get(f"{side}_tokens_details") or usage.get(_LIVE_DETAILS[side])
        audio_tokens = _count(details.get("audio_tokens")) if isinstance(details, Mapping) else None
        if audio_tokens is not None:
            counts[f"{side}_audio_tokens"] = audio_tokens
    return counts


def _count(value: object) -> float | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) and 0 <= value <= MAX_COUNT else None


def reported_name(value: object) -> str | None:
    """Return the model or fingerprint that a server reports, in any form; None if it reports none.

    >>> reported_name("fp_1"), reported_name({"b": 1, "a": None}), reported_name(""), reported_name(None)
    ('fp_1', '{"a": null, "b": 1}', None, None)
    """
    if value is None:
        return None
    try:
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = "of unknown form"
    text = writable(" ".join(scrub(text).split()))
    if len(text) > MAX_NAME:
        text = f"{text[: MAX_NAME - 17]} {sha256_of(text)[:16]}"
    return text or None


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        held = (
            value.get(name) for name in ("text", "thinking", "reasoning", "summary", "refusal", "content")
        )
        return next((text for text in map(_text, held) if text), "")
    if isinstance(value, list):
        return "".join(map(_text, value))
    return value if isinstance(value, str) else ""
