"""The messages of live servers, in every dialect, as their documents show them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["FORMS", "Form"]

Message = dict[str, Any]
#: Messages of a reply, each with the seconds of voice in it.
Timed = list[tuple[Message, float]]
_USAGE = {
    "total_tokens": 30,
    "input_tokens": 10,
    "output_tokens": 20,
    "input_token_details": {"audio_tokens": 10, "text_tokens": 0},
    "output_token_details": {"audio_tokens": 15, "text_tokens": 5},
}


class Form:
    """The current form of OpenAI; the others derive from it.

    Attributes:
        input_rate: Hz that the server takes.
        binary: messages are sent as binary frames.
        has_ids: the events of a reply name it.
    """

    input_rate = 24_000
    binary = False
    has_ids = True
    audio_name, words_name = "response.output_audio", "response.output_audio_transcript"

    def greeting(self) -> list[Message]:
        """Return what the server sends first."""
        session = {"type": "realtime", "id": "sess_1", "object": "realtime.session", "audio": {}}
        return [{"type": "session.created", "event_id": "e1", "session": session}]

    def error(self, code: str, message: str) -> Message | None:
        """Return the event of an error; None if the dialect closes the connection instead."""
        error = {"type": "invalid_request_error", "code": code, "message": message, "param": None}
        return {"type": "error", "event_id": "e2", "error": error}

    def taken(self, message: Message) -> tuple[str, Any]:
        """Return what a client's message is: "set up", "audio", "end" or "other", and its content."""
        kind = message["type"]
        if kind == "session.update":
            session = message["session"]
            return "set up", self.turn_of(session) if "audio" in session or "modalities" in session else ""
        if kind == "input_audio_buffer.append":
            return "audio", message["audio"]
        return ("end" if kind == "response.create" else "other"), None

    def turn_of(self, session: Message) -> str:
        """Return the mode that a session asks for."""
        return "vad" if session["audio"]["input"]["turn_detection"] else "commit"

    def confirmed(self, message: Message, turn: str, rate: int) -> list[Message]:
        """Return the confirmation of the settings, which states them again."""
        session = dict(message["session"])
        audio = session.get("audio", {})
        detection = {"type": "server_vad"} if turn == "vad" else None
        session["audio"] = {
            "input": {**audio.get("input", {}), "turn_detection": detection},
            "output": {**audio.get("output", {}), "format": {"type": "audio/pcm", "rate": rate}},
        }
        return [{"type": "session.updated", "event_id": "e3", "session": session}]

    def speech(self) -> list[Message]:
        """Return the event of detected speech."""
        return [{"type": "input_audio_buffer.speech_started", "audio_start_ms": 0, "item_id": "i1"}]

    def started(self, name: str) -> list[Message]:
        """Return the beginning of a reply."""
        response = {"id": name, "object": "realtime.response", "status": "in_progress", "output": []}
        return [
            {"type": "response.created", "response": response},
            {"type": "response.output_item.added", "response_id": name, "item": {"id": "i2"}},
        ]

    def words(self, name: str, words: str) -> Message:
        """Return a piece of the words."""
        return {"type": f"{self.words_name}.delta", "response_id": name, "item_id": "i2", "delta": words}

    def audio(self, name: str, content: str, rate: int) -> Message:
        """Return a piece of the voice."""
        return {"type": f"{self.audio_name}.delta", "response_id": name, "item_id": "i2", "delta": content}

    def ended(self, name: str, words: str) -> list[Message]:
        """Return the end of a reply."""
        item = {"type": "message", "content": [{"type": "output_audio", "transcript": words}]}
        done = {"id": name, "status": "completed", "output": [item], "usage": _USAGE}
        return [
            {"type": f"{self.audio_name}.done", "response_id": name},
            {"type": f"{self.words_name}.done", "response_id": name, "transcript": words},
            {"type": "response.done", "response": done},
        ]

    def interrupted(self, name: str) -> list[Message]:
        """Return the end of a reply that was broken off."""
        details = {"type": "cancelled", "reason": "turn_detected"}
        response = {"id": name, "status": "cancelled", "status_details": details, "output": []}
        return [{"type": "response.done", "response": response}]

    def failed(self, name: str, code: str, message: str) -> list[Message]:
        """Return the end of a reply that failed."""
        error = {"type": "invalid_request_error", "code": code, "message": message}
        details = {"type": "failed", "error": error}
        response = {"id": name, "status": "failed", "status_details": details, "output": []}
        return [{"type": "response.done", "response": response}]

    def reordered(self, messages: Timed) -> Timed:
        """Return the messages of a reply in another order: its beginning late, its end early."""
        voice = [n for n, (_, seconds) in enumerate(messages) if seconds]
        begin, rest = messages[: voice[0]], messages[voice[0] :]
        last = rest.pop(voice[-1] - voice[0])
        audio_end = rest.pop(-3)
        return [rest[0], *begin, *rest[1:], last, audio_end]


class BetaForm(Form):
    """OpenAI's beta form, as Qwen, StepFun and SGLang-omni speak it."""

    audio_name, words_name = "response.audio", "response.audio_transcript"

    def greeting(self) -> list[Message]:
        """Return a session with the fields of the beta form."""
        session = {"id": "sess_1", "modalities": ["text", "audio"], "input_audio_format": "pcm16"}
        return [{"type": "session.created", "session": session}]

    def turn_of(self, session: Message) -> str:
        """Return the mode that a session asks for."""
        return "vad" if session["turn_detection"] else "commit"

    def confirmed(self, message: Message, turn: str, rate: int) -> list[Message]:
        """Return the session, which states no rates."""
        detection = {"type": "server_vad", "threshold": 0.5} if turn == "vad" else None
        session = {**message["session"], "turn_detection": detection}
        return [{"type": "session.updated", "session": session}]


class XaiForm(Form):
    """xAI's form: the detection of turns stands beside the audio."""

    def greeting(self) -> list[Message]:
        """Return the beginning of a conversation."""
        return [{"type": "conversation.created", "conversation": {"id": "conv_1"}}]

    def turn_of(self, session: Message) -> str:
        """Return the mode that a session asks for."""
        return "vad" if session["turn_detection"]["type"] else "commit"

    def confirmed(self, message: Message, turn: str, rate: int) -> list[Message]:
        """Return the session as it was sent, with the detection that holds."""
        detection = {"type": "server_vad" if turn == "vad" else None}
        audio = message["session"]["audio"]
        audio = {**audio, "output": {"format": {"type": "audio/pcm", "rate": rate}}}
        return [
            {
                "type": "session.updated",
                "session": {**message["session"], "audio": audio, "turn_detection": detection},
            }
        ]


class VllmForm(Form):
    """vLLM-omni's turn-based form: a model, two commits, words as a transcription."""

    input_rate = 16_000
    has_ids = False

    def greeting(self) -> list[Message]:
        """Return the beginning of a session."""
        return [{"type": "session.created", "id": "sess-1", "created": 0}]

    def error(self, code: str, message: str) -> Message | None:
        """Return an error that is text."""
        return {"type": "error", "error": message, "code": code}

    def taken(self, message: Message) -> tuple[str, Any]:
        """Return what a client's message is; the final commit ends a turn."""
        kind = message["type"]
        if kind == "session.update":
            return "set up", "commit"
        if kind == "input_audio_buffer.append":
            return "audio", message["audio"]
        return ("end" if message.get("final") else "other"), None

    def confirmed(self, message: Message, turn: str, rate: int) -> list[Message]:
        """Return nothing."""
        return []

    def started(self, name: str) -> list[Message]:
        """Return nothing."""
        return []

    def words(self, name: str, words: str) -> Message:
        """Return a piece of the words."""
        return {"type": "transcription.delta", "delta": words}

    def audio(self, name: str, content: str, rate: int) -> Message:
        """Return a piece of the voice with its rate."""
        return {"type": "response.audio.delta", "audio": content, "sample_rate_hz": rate}

    def ended(self, name: str, words: str) -> list[Message]:
        """Return the end of the words and of the voice."""
        usage = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
        return [
            {"type": "transcription.done", "text": words, "usage": usage},
            {"type": "response.audio.done", "has_audio": True},
        ]

    def reordered(self, messages: Timed) -> Timed:
        """Return the voice first, and the words after it."""
        voice = [pair for pair in messages[:-2] if pair[1]]
        words = [pair for pair in messages[:-2] if not pair[1]]
        return [*voice, messages[-1], *words, messages[-2]]


class VllmOpenAIForm(VllmForm):
    """vLLM-omni's subset of OpenAI's form."""

    def taken(self, message: Message) -> tuple[str, Any]:
        """Return what a client's message is; the commit ends a turn."""
        kind = message["type"]
        if kind == "session.update":
            return "set up", Form.turn_of(self, message["session"])
        if kind == "input_audio_buffer.append":
            return "audio", message["audio"]
        return ("end" if kind == "input_audio_buffer.commit" else "other"), None

    def audio(self, name: str, content: str, rate: int) -> Message:
        """Return a piece of the voice with its rate."""
        return {"type": "response.output_audio.delta", "delta": content, "sample_rate_hz": rate}

    def ended(self, name: str, words: str) -> list[Message]:
        """Return the end of the words and of the voice."""
        first, _ = super().ended(name, words)
        return [first, {"type": "response.output_audio.done", "has_audio": True}]


class DynamoForm(Form):
    """NVIDIA Dynamo's subset of OpenAI's form, with audio at 16 kHz."""

    input_rate = 16_000

    def confirmed(self, message: Message, turn: str, rate: int) -> list[Message]:
        """Return nothing."""
        return []


class GeminiForm(Form):
    """Gemini Live, whose messages are JSON in binary frames."""

    input_rate = 16_000
    binary = True
    has_ids = False

    def greeting(self) -> list[Message]:
        """Return nothing: the client speaks first."""
        return []

    def error(self, code: str, message: str) -> Message | None:
        """Return None: an error closes the connection."""
        return None

    def taken(self, message: Message) -> tuple[str, Any]:
        """Return what a client's message is."""
        if "setup" in message:
            config = message["setup"].get("realtimeInputConfig", {})
            disabled = config.get("automaticActivityDetection", {}).get("disabled")
            return "set up", "commit" if disabled else "vad"
        received = message.get("realtimeInput", {})
        if "audio" in received:
            return "audio", received["audio"]["data"]
        return ("end" if "activityEnd" in received else "other"), None

    def confirmed(self, message: Message, turn: str, rate: int) -> list[Message]:
        """Return the confirmation, which states nothing."""
        return [{"setupComplete": {}}]

    def speech(self) -> list[Message]:
        """Return nothing."""
        return []

    def started(self, name: str) -> list[Message]:
        """Return nothing."""
        return []

    def words(self, name: str, words: str) -> Message:
        """Return a piece of the words."""
        return {"serverContent": {"outputTranscription": {"text": words}}}

    def audio(self, name: str, content: str, rate: int) -> Message:
        """Return a piece of the voice with its rate."""
        blob = {"data": content, "mimeType": f"audio/pcm;rate={rate}"}
        return {"serverContent": {"modelTurn": {"parts": [{"inlineData": blob}]}}}

    def ended(self, name: str, words: str) -> list[Message]:
        """Return the end of the reply and of the turn, and the counts."""
        usage = {
            "promptTokenCount": 10,
            "responseTokenCount": 20,
            "totalTokenCount": 30,
            "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 15}],
        }
        return [
            {"serverContent": {"generationComplete": True}},
            {"serverContent": {"turnComplete": True}, "usageMetadata": usage},
        ]

    def interrupted(self, name: str) -> list[Message]:
        """Return the mark of an interruption."""
        return [{"serverContent": {"interrupted": True}}]

    def failed(self, name: str, code: str, message: str) -> list[Message]:
        """Return nothing: a failure closes the connection."""
        return []

    def reordered(self, messages: Timed) -> Timed:
        """Return the voice first, and the words after it."""
        voice = [pair for pair in messages[:-2] if pair[1]]
        words = [pair for pair in messages[:-2] if not pair[1]]
        return [*voice, messages[-2], *words, messages[-1]]


#: Name of a dialect -> its form.
FORMS: Mapping[str, Callable[[], Form]] = {
    "openai": Form,
    "beta": BetaForm,
    "xai": XaiForm,
    "vllm-omni": VllmForm,
    "vllm-omni-openai": VllmOpenAIForm,
    "dynamo": DynamoForm,
    "gemini": GeminiForm,
}
