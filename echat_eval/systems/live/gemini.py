"""Gemini Live: Google's own messages over a WebSocket.

Source: ai.google.dev, Live API, WebSockets reference and "get started" (2026).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from echat_eval.clients.faults import reported_fault
from echat_eval.errors import UsageError
from echat_eval.records import Turn
from echat_eval.systems.live.dialect import Event, LiveSettings, Message, PlainTurn, TurnMode, pcm_rate

__all__ = ["GEMINI", "GeminiDialect"]

_SERVICE = "google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
#: Google's names of token counts -> those of chat protocols.
_COUNTS = {
    "promptTokenCount": "prompt_tokens",
    "responseTokenCount": "completion_tokens",
    "totalTokenCount": "total_tokens",
}
#: Google's names of the counts by modality -> those of chat protocols.
_DETAILS = {
    "promptTokensDetails": "prompt_tokens_details",
    "responseTokensDetails": "completion_tokens_details",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GeminiDialect:
    """The dialect; see `echat_eval.systems.live.dialect.Dialect`."""

    name: str = "gemini"
    title: str = "Gemini Live"
    url: str | None = f"wss://generativelanguage.googleapis.com/ws/{_SERVICE}"
    key: tuple[str, ...] = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
    input_rate: int = 16_000
    output_rate: int = 24_000
    turns: tuple[TurnMode, ...] = ("commit", "vad")
    takes_history: bool = True
    takes_instructions: bool = True
    takes_voice: bool = True
    keeps_turns: bool = True
    greets: bool = False
    confirms: bool = True
    audio_end: str | None = None
    ends: tuple[frozenset[str], ...] = (frozenset({"turnComplete"}),)
    source: str = "ai.google.dev, Live API, WebSockets reference, 2026"

    def address(self, url: str, model: str) -> str:
        """Return the URL as it is; the first message names the model."""
        return url

    def headers(self, key: str | None) -> Mapping[str, str]:
        """Return the key in Google's header, so that no URL holds it."""
        return {"x-goog-api-key": key} if key else {}

    def set_up(self, settings: LiveSettings) -> Message:
        """Return `setup`."""
        generation: dict[str, Any] = {"responseModalities": ["AUDIO"] if settings.spoken else ["TEXT"]}
        if settings.max_tokens is not None:
            generation["maxOutputTokens"] = settings.max_tokens
        if settings.reasoning_effort is not None:
            generation["thinkingConfig"] = {"thinkingLevel": settings.reasoning_effort}
        if settings.spoken and settings.voice:
            voice = {"prebuiltVoiceConfig": {"voiceName": settings.voice}}
            generation["speechConfig"] = {"voiceConfig": voice}
        model = settings.model if "/" in settings.model else f"models/{settings.model}"
        setup: dict[str, Any] = {"model": model, "generationConfig": generation}
        if settings.spoken:
            setup["outputAudioTranscription"] = {}
        if settings.instructions:
            setup["systemInstruction"] = {"parts": [{"text": settings.instructions}]}
        if settings.turn == "commit":
            setup["realtimeInputConfig"] = {"automaticActivityDetection": {"disabled": True}}
        return {"setup": setup}

    def turn(self, turn: PlainTurn) -> Message:
        """Return `clientContent` that is not yet the user's whole turn."""
        role = "model" if turn.role == "assistant" else "user"
        turns = [{"role": role, "parts": [{"text": turn.text or ""}]}]
        return {"clientContent": {"turns": turns, "turnComplete": False}}

    def instruct(self, instructions: str) -> Message | None:
        """Return None: `setup` is the first message only."""
        return None

    def sends_turn(self, turn: Turn) -> bool:
        """Return False: earlier turns that are added to a session are text."""
        return False

    def begin(self, settings: LiveSettings) -> Sequence[Message]:
        """Return the start of the user's activity, which this client marks in the mode "commit"."""
        return [{"realtimeInput": {"activityStart": {}}}] if settings.turn == "commit" else []

    def append(self, samples: str, settings: LiveSettings) -> Message:
        """Return a piece of audio."""
        audio = {"data": samples, "mimeType": f"audio/pcm;rate={settings.input_rate}"}
        return {"realtimeInput": {"audio": audio}}

    def end(self, settings: LiveSettings) -> Sequence[Message]:
        """Return the end of the user's activity."""
        return [{"realtimeInput": {"activityEnd": {}}}]

    def read(self, message: Message, place: str) -> list[Event]:
        """Return the meaning of a message; see `Dialect.read`."""
        if message.get("error"):
            raise reported_fault(message, place=place, options={"voice": "--set voice=NAME"})
        if "setupComplete" in message:
            return [Event(kind="ready", name="setupComplete")]
        if str(message.get("type", "")).startswith(("session.", "response.", "conversation.")):
            raise UsageError(
                f"{place}: the server speaks another dialect than 'gemini': it sends {message['type']}; "
                "set --set dialect=openai, or beta"
            )
        content = message.get("serverContent")
        usage = _usage(message.get("usageMetadata"))
        if not isinstance(content, Mapping):
            return [Event(kind="other", name="usageMetadata", usage=usage)] if usage else []
        return _events_of(content, usage)


def _events_of(content: Message, usage: Message) -> list[Event]:
    events = []
    turn = content.get("modelTurn")
    parts = turn.get("parts") if isinstance(turn, Mapping) else None
    for part in parts if isinstance(parts, list) else []:
        if not isinstance(part, Mapping) or part.get("thought"):
            continue
        blob = part.get("inlineData")
        if isinstance(blob, Mapping) and isinstance(data := blob.get("data"), str):
            rate = pcm_rate(blob.get("mimeType"))
            events.append(Event(kind="audio", name="modelTurn", content=data, rate=rate))
        elif isinstance(text := part.get("text"), str):
            events.append(Event(kind="text", name="modelTurn", content=text))
    words = content.get("outputTranscription")
    if isinstance(words, Mapping) and isinstance(text := words.get("text"), str):
        events.append(Event(kind="words", name="outputTranscription", content=text))
    if content.get("interrupted"):
        events.append(Event(kind="interrupted", name="interrupted", usage=usage))
    elif content.get("turnComplete"):
        events.append(Event(kind="part done", name="turnComplete", finish="stop", usage=usage))
    elif usage:
        events.append(Event(kind="other", name="usageMetadata", usage=usage))
    return events


def _usage(value: object) -> dict[str, Any]:
    """Return Google's token counts under the names of chat protocols."""
    if not isinstance(value, Mapping):
        return {}
    counts: dict[str, Any] = {ours: value[theirs] for theirs, ours in _COUNTS.items() if theirs in value}
    for theirs, ours in _DETAILS.items():
        details = value.get(theirs)
        for detail in details if isinstance(details, list) else []:
            if isinstance(detail, Mapping) and detail.get("modality") == "AUDIO":
                counts[ours] = {"audio_tokens": detail.get("tokenCount")}
    return counts


GEMINI = GeminiDialect()
