"""A scripted server with the chat protocol of vLLM-omni and SGLang-omni: words and voice in one answer."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from echat_eval.testing.servers import Exchange, ScriptedServer

__all__ = ["ScriptedOmniServer"]


class ScriptedOmniServer(ScriptedServer):
    """A server on loopback that sends words and voice, whole or as a stream, in the form of a real server.

    Args:
        form: "vllm-omni" names the modality of each chunk and sends the voice as its content;
            "sglang-omni" sends it as the delta's audio.
        words: pieces of text.
        voice: pieces of audio: a WAV each, or bare samples.
        order: "text" and "audio" in the order in which a stream sends the pieces; every piece is sent once.
        pause: seconds before each piece of a stream.

    Attributes:
        url: base URL, "http://127.0.0.1:PORT/v1".
        requests: JSON bodies of all chat requests, in order.
        first_audio_seconds: time from the last request to its first piece of audio, on the server's clock.
    """

    def __init__(
        self,
        form: Literal["vllm-omni", "sglang-omni"] = "vllm-omni",
        *,
        words: Sequence[str] = (),
        voice: Sequence[bytes] = (),
        order: Sequence[Literal["text", "audio"]] = (),
        pause: float = 0.0,
    ) -> None:
        self.form, self.words, self.voice = form, tuple(words), tuple(voice)
        self.order, self.pause = tuple(order), pause
        self.requests: list[dict[str, Any]] = []
        self.first_audio_seconds: float | None = None
        super().__init__(self._exchange)
        self.url = f"{self.url}/v1"

    def _exchange(self, exchange: Exchange) -> None:
        if exchange.command == "GET" and exchange.path == "/v1/models":
            exchange.reply_json({"object": "list", "data": [{"id": "omni", "object": "model"}]})
        elif exchange.command != "POST" or exchange.path != "/v1/chat/completions":
            exchange.reply("not found", status=404)
        else:
            request = json.loads(exchange.body)
            self.requests.append(request)
            spoken = "audio" in request.get("modalities", ["text"])
            if request.get("stream"):
                self._stream(exchange, spoken)
            else:
                exchange.reply_json(self._whole(spoken))

    def _whole(self, spoken: bool) -> dict[str, Any]:
        messages: list[Mapping[str, Any]] = [{"content": "".join(self.words) or None}]
        if spoken and self.voice:
            audio = {"id": "audio-1", "data": _base64(b"".join(self.voice)), "transcript": ""}
            if self.form == "vllm-omni":
                messages.append({"content": None, "audio": audio})
            else:
                messages = [{**messages[0], "audio": audio}]
        choices = [
            {"index": n, "finish_reason": "stop", "message": {"role": "assistant", **message}}
            for n, message in enumerate(messages)
        ]
        return {
            "id": "x",
            "object": "chat.completion",
            "choices": choices,
            "usage": {"completion_tokens": 5},
        }

    def _stream(self, exchange: Exchange, spoken: bool) -> None:
        begun = time.monotonic()
        exchange.send_response(200)
        exchange.send_header("content-type", "text/event-stream")
        exchange.send_header("transfer-encoding", "chunked")
        exchange.end_headers()
        words, voice = iter(self.words), iter(self.voice)
        self._send(exchange, self._chunk("text", {"role": "assistant", "content": ""}))
        for modality in self.order:
            time.sleep(self.pause)
            if modality == "text":
                self._send(exchange, self._chunk("text", {"content": next(words)}))
            elif spoken:
                piece = _base64(next(voice))
                if self.first_audio_seconds is None:
                    self.first_audio_seconds = time.monotonic() - begun
                delta = {"content": piece} if self.form == "vllm-omni" else {"audio": {"data": piece}}
                self._send(exchange, self._chunk("audio", delta))
        self._send(exchange, self._chunk("text", {"content": ""}, finish_reason="stop"))
        self._send(exchange, {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 5}})
        exchange.chunk(b"data: [DONE]\n\n")
        exchange.chunk(b"")

    def _chunk(self, modality: str, delta: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        named = {"modality": modality} if self.form == "vllm-omni" else {}
        choice = {"index": int(modality == "audio"), "delta": dict(delta), "finish_reason": None, **more}
        return {"id": "x", "object": "chat.completion.chunk", "choices": [choice], **named}

    def _send(self, exchange: Exchange, value: Mapping[str, Any]) -> None:
        exchange.chunk(b"data: " + json.dumps(value).encode() + b"\n\n")


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
