"""Any server that speaks OpenAI's chat protocol: audio in, words and a voice out.

Asked over HTTP directly, because the answer is bounded while it is read and the audio must not follow
a redirect to another host. The form of the exchange: OpenAI's "Audio and speech" guide; vLLM-omni and
Alibaba's Qwen-Omni follow it with the differences named at the settings.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from echat_eval.clients.chat import api_key, is_dated
from echat_eval.clients.http import ask_once, check_url, open_client, refuse_status, streamed, whole
from echat_eval.concurrency import event_loop
from echat_eval.concurrency.limiter import endpoint
from echat_eval.cost.meter import Account, call_of
from echat_eval.cost.tokens import MessageSize
from echat_eval.errors import EChatError, NotApplicable, SystemFailure, UsageError
from echat_eval.io.hashing import digest
from echat_eval.io.jsonl import dumps, loads
from echat_eval.records import Reply, Request, Turn, Waveform
from echat_eval.systems.chat_stream import Collected, collect
from echat_eval.systems.wire import MAX_AUDIO_BYTES, inline_audio, sound_of

if TYPE_CHECKING:
    import httpx

    from echat_eval.records import AudioRef

__all__ = ["OpenAIChat"]

OPENAI = "https://api.openai.com/v1"
_MAX_BODY_BYTES = MAX_AUDIO_BYTES * 4 // 3 + 2**20


class OpenAIChat:
    """Asks a chat server.

    Args:
        model: as the server names it.
        url: base URL ending in /v1; OpenAI's own by default.
        audio_in: "input_audio" (OpenAI, vLLM), "audio_url" (a data: URL, vLLM), or "none": a model that
            gets words only: instruction and earlier turns, never this turn's words, a deaf floor.
        audio_out: whether a voice is asked for.
        voice: the server's name of a voice.
        stream: read the answer in pieces, which tells when the first sound came.
        stream_rate: Hz of the 16-bit samples that a stream brings.
        system_prompt: what the model is told first; nothing by default.
        temperature: 0 by default; None: the server's own.
        max_tokens: of the reply; None: the server's own.
        timeout: seconds per reply.
        calls_at_once: requests in flight.
        name: as in tables; by default the model's name.
    """

    def __init__(
        self,
        model: str,
        url: str = OPENAI,
        audio_in: Literal["input_audio", "audio_url", "none"] = "input_audio",
        audio_out: bool = False,
        voice: str = "alloy",
        stream: bool = False,
        stream_rate: int = 24_000,
        system_prompt: str | None = None,
        temperature: float | None = 0.0,
        max_tokens: int | None = None,
        seed: int | None = None,
        timeout: float = 120.0,
        calls_at_once: int = 4,
        name: str | None = None,
    ) -> None:
        self.url = check_url(url, "url").rstrip("/")
        if audio_in not in ("input_audio", "audio_url", "none"):
            raise UsageError(f"audio_in={audio_in!r}: expected input_audio, audio_url or none")
        self.model, self.audio_in, self.audio_out, self.voice = model, audio_in, bool(audio_out), voice
        self.stream, self.stream_rate = bool(stream), int(stream_rate)
        self.system_prompt, self.temperature = system_prompt, temperature
        self.max_tokens, self.seed = max_tokens, seed
        self.timeout, self.calls_at_once = float(timeout), int(calls_at_once)
        self.name = name or model.rstrip("/").rpartition("/")[2].replace(":", "-")
        if audio_in == "none":
            self.role = "floor"
        # Elsewhere, and without a date, other weights may be served under the same name.
        self.cached = self.url == OPENAI and is_dated(model)
        self.account: Account | None = None
        self._client: httpx.AsyncClient | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    def settings(self) -> Mapping[str, Any]:
        """Return everything that decides the answer; the key is not among it."""
        return {
            "model": self.model,
            "url": self.url,
            "audio_in": self.audio_in,
            "audio_out": self.audio_out,
            "voice": self.voice if self.audio_out else None,
            "stream": self.stream,
            "system_prompt": self.system_prompt,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "seed": self.seed,
        }

    def fingerprint(self) -> str | None:
        """Return the hash of what the server lists of its model, or None if it lists nothing.

        A hosted model may change behind its name: this is the name and what is listed with it (such as
        a creation time, or the size llama.cpp tells), not the weights.
        """
        limit = min(10.0, self.timeout)
        try:
            # This is asked before loading, and perhaps nothing is loaded after it.
            answer = event_loop.run(
                ask_once(f"{self.url}/models", headers=self._headers(), timeout=limit, max_bytes=2**22)
            )
            refuse_status(answer, self.url)
            listed = loads(answer.body)["data"]
            entry = next(e for e in listed if e.get("id") == self.model)
        except (EChatError, ValueError, KeyError, TypeError, AttributeError, StopIteration):
            return None
        # Local servers say the time they were started at as the time of creation.
        passing = {"permission"} if self.url == OPENAI else {"permission", "created"}
        return digest("openai-chat", {k: v for k, v in entry.items() if k not in passing})

    @property
    def billed_client(self) -> OpenAIChat:
        """Return who asks the server."""
        return self

    @property
    def base_url(self) -> str:
        """Return where it is served."""
        return self.url

    def size_of(self, request: Request) -> MessageSize:
        """Return how large the question of a request is."""
        sounds = [] if self.audio_in == "none" else [request.audio]
        texts = [self.system_prompt or "", request.instruction or ""]
        for turn in request.history:
            if turn.audio is not None and self._hears(turn):
                sounds.append(turn.audio)
            else:
                texts.append(turn.text or "")
        return MessageSize(
            texts=tuple(texts),
            heard_seconds=sum(sound.seconds for sound in sounds),
            max_tokens=self.max_tokens,
            speaks=self.audio_out,
        )

    def load(self) -> None:
        """Open connections as they are needed, and a folder for reply audio."""
        self._headers()
        self._open()
        if self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="echat-eval-")

    def close(self) -> None:
        """Close connections and remove what was received."""
        if self._client is not None:
            event_loop.run(self._client.aclose())
            self._client = None
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = open_client(self.url, self.timeout)
        return self._client

    def _headers(self) -> dict[str, str]:
        key = api_key()
        if key is None and self.url == OPENAI:
            raise UsageError("no API key: set ECHAT_EVAL_API_KEY or OPENAI_API_KEY, or give --set url=...")
        return {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})

    async def respond(self, request: Request) -> Reply:
        """Ask one request.

        Raises:
            NotApplicable: an earlier turn cannot be told, or nothing is left to tell.
            Unavailable, SystemFailure, UsageError: as `echat_eval.clients.http.refuse_status`.
        """
        self.load()
        body = dumps(self._body(self._messages(request))).encode()
        size = self.size_of(request)
        async with (
            call_of(self.account, size.most()) as paying,
            endpoint(self.url, self.calls_at_once).slot(),
        ):
            begun = time.monotonic()
            async with streamed(
                self._open(),
                "POST",
                f"{self.url}/chat/completions",
                headers=self._headers(),
                content=body,
                timeout=self.timeout,
                max_bytes=_MAX_BODY_BYTES,
            ) as answer:
                if answer.status != 200:
                    paying.free()
                    refuse_status(await whole(answer), self.url)
                found = await collect(answer.chunks, streaming=self.stream, begun=begun)
            paying.paid(size.used(found.usage))
        return Reply(
            text=found.text or found.transcript or None,
            audio=self._voice(found, request),
            think=found.think or None,
            first_audio_seconds=found.first_audio_seconds,
            finish_reason=found.finish_reason,
            usage=found.usage,
        )

    def _body(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.model, "messages": messages, "stream": self.stream}
        body["modalities"] = ["text", "audio"] if self.audio_out else ["text"]
        if self.audio_out:
            body["audio"] = {
                "voice": self.voice,
                "format": "pcm16" if self.stream and self.url == OPENAI else "wav",
            }
        if self.stream:
            body["stream_options"] = {"include_usage": True}
        for name in ("temperature", "max_tokens", "seed"):
            if getattr(self, name) is not None:
                body[name] = getattr(self, name)
        return body

    def _messages(self, request: Request) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = []
        if self.system_prompt:
            messages.append({"role": "system", "content": self.system_prompt})
        messages += [self._turn(turn) for turn in request.history]
        now = [{"type": "text", "text": request.instruction}] if request.instruction else []
        if self.audio_in != "none":
            now.append(self._part(request.audio))
        if now:
            messages.append({"role": "user", "content": now[0]["text"] if self.audio_in == "none" else now})
        if not messages or messages[-1]["role"] != "user":
            raise NotApplicable("nothing can be told to a model that gets words only: the turn is audio")
        return messages

    def _turn(self, turn: Turn) -> dict[str, Any]:
        if turn.audio is not None and self._hears(turn):
            return {"role": "user", "content": [self._part(turn.audio)]}
        if turn.text is None:
            raise NotApplicable(
                f"an earlier {turn.role} turn has no words, and this server takes none as audio"
            )
        return {"role": turn.role, "content": turn.text}

    def _hears(self, turn: Turn) -> bool:
        return turn.role == "user" and turn.audio is not None and self.audio_in != "none"

    def _part(self, audio: AudioRef) -> dict[str, Any]:
        ending = audio.path.suffix.lower().lstrip(".") or "wav"
        if self.audio_in == "audio_url":
            return {
                "type": "audio_url",
                "audio_url": {"url": f"data:audio/{ending};base64,{inline_audio(audio)}"},
            }
        if ending not in ("wav", "mp3"):
            raise NotApplicable(
                f"input_audio takes wav and mp3, the query is {ending}; set audio_in=audio_url"
            )
        return {"type": "input_audio", "input_audio": {"data": inline_audio(audio), "format": ending}}

    def _voice(self, found: Collected, request: Request) -> AudioRef | Waveform | None:
        content = found.audio
        if not content:
            return None
        assert self._scratch is not None
        if content.startswith(b"RIFF") or not self.stream:
            return sound_of(content, Path(self._scratch.name), request.id)
        import numpy as np

        if len(content) % 2:
            raise SystemFailure("broken reply audio: a stream of 16-bit samples with an odd number of bytes")
        samples = np.frombuffer(content, dtype="<i2").astype(np.float32) / 32768.0
        return Waveform(samples=samples, sample_rate=self.stream_rate)
