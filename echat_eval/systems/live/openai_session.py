"""The settings of a session in the forms of OpenAI's Realtime protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from echat_eval.systems.live.dialect import LiveSettings

__all__ = ["SESSIONS"]


def _current_session(settings: LiveSettings) -> dict[str, Any]:
    sent: dict[str, Any] = {
        "format": {"type": "audio/pcm", "rate": settings.input_rate},
        "turn_detection": _detection(settings),
    }
    session: dict[str, Any] = {
        "type": "realtime",
        "model": settings.model,
        "output_modalities": ["audio"] if settings.spoken else ["text"],
        "audio": {"input": sent},
    }
    if settings.spoken:
        received: dict[str, Any] = {"format": {"type": "audio/pcm", "rate": settings.output_rate}}
        session["audio"]["output"] = received | ({"voice": settings.voice} if settings.voice else {})
    return session | _optional(settings, "max_output_tokens")


def _beta_session(settings: LiveSettings) -> dict[str, Any]:
    session: dict[str, Any] = {
        "modalities": ["text", "audio"] if settings.spoken else ["text"],
        "input_audio_format": "pcm16",
        "output_audio_format": "pcm16",
        "turn_detection": _detection(settings),
    }
    if settings.voice:
        session["voice"] = settings.voice
    return session | _optional(settings, "max_response_output_tokens")


def _xai_session(settings: LiveSettings) -> dict[str, Any]:
    session: dict[str, Any] = {
        "audio": {
            "input": {"format": {"type": "audio/pcm", "rate": settings.input_rate}},
            "output": {"format": {"type": "audio/pcm", "rate": settings.output_rate}},
        },
        "turn_detection": _detection(settings) or {"type": None},
    }
    if settings.voice:
        session["voice"] = settings.voice
    return session | _optional(settings, "max_output_tokens")


def _detection(settings: LiveSettings) -> dict[str, Any] | None:
    return None if settings.turn == "commit" else {"type": settings.vad}


def _optional(settings: LiveSettings, limit: str) -> dict[str, Any]:
    effort = settings.reasoning_effort
    optional = {
        "instructions": settings.instructions,
        limit: settings.max_tokens,
        "reasoning": None if effort is None else {"effort": effort},
    }
    return {name: value for name, value in optional.items() if value is not None}


#: Form -> the function that states settings in it.
SESSIONS: Mapping[str, Callable[[LiveSettings], dict[str, Any]]] = {
    "current": _current_session,
    "beta": _beta_session,
    "xai": _xai_session,
}
