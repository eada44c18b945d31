"""The token counts of a reply, in the forms of both protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from echat_eval.records import Reply

__all__ = ["chat_usage", "realtime_usage"]


def _counts(reply: Reply) -> tuple[int, int, int]:
    """Return the tokens of the prompt, of the reply, and of its speech."""
    names = ("prompt_tokens", "completion_tokens", "speech_tokens")
    prompt, completion, speech = (int(reply.usage.get(name, 0)) for name in names)
    return prompt, completion, speech


def chat_usage(reply: Reply) -> dict[str, Any]:
    """Return `usage` of a chat completion."""
    prompt, completion, speech = _counts(reply)
    details = {"audio_tokens": speech, "text_tokens": completion - speech}
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "completion_tokens_details": details,
    }


def realtime_usage(reply: Reply) -> dict[str, Any]:
    """Return `usage` of a response."""
    prompt, completion, speech = _counts(reply)
    return {
        "total_tokens": prompt + completion,
        "input_tokens": prompt,
        "output_tokens": completion,
        "output_token_details": {"audio_tokens": speech, "text_tokens": completion - speech},
    }
