"""Any server with OpenAI's chat protocol as a system: audio in, text and audio out.

Uses HTTP directly, so that the size of an answer is limited while it is read and audio never follows a
redirect to another host. The protocol is that of OpenAI's "Audio and speech" guide; vLLM-omni and Alibaba's
Qwen-Omni follow it with the differences that the settings name.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from echat_eval.clients.audio_part import audio_part
from echat_eval.clients.chat import OPENAI, is_dated, parameter_options, require_openai_model
from echat_eval.clients.faults import is_refusal
from echat_eval.clients.http import raise_for_status, read_body
from echat_eval.clients.keys import api_key
from echat_eval.clients.network import endpoint, without_query
from echat_eval.cost.meter import Account, metered_call
from echat_eval.cost.tokens import MessageSize
from echat_eval.errors import NotApplicable, SystemFailure, UsageError, scrub
from echat_eval.io.hashing import digest
from echat_eval.io.jsonl import dumps
from echat_eval.ports import Destination
from echat_eval.records import Reply, Request, Turn, Waveform
from echat_eval.systems.chat_stream import Collected, collect
from echat_eval.systems.server import ServerConnection, refuse_declared
from echat_eval.systems.shutdowns import note_listed_shutdown
from echat_eval.systems.wire import sound_of

if TYPE_CHECKING:
    from echat_eval.records import AudioRef

__all__ = ["OpenAIChat"]

#: Finish reason of an answer that may hold nothing -> its meaning.
NOTHING_LEFT = {
    "length": "the token limit ended it before a word; raise it with --set max_tokens=N",
    "content_filter": "the server's content filter stopped it",
}


class OpenAIChat:
    """A chat server with audio input and output.

    Args:
        model: the model's name on the server.
        url: base URL ending in /v1; OpenAI's own by default, for its models only.
        audio_in: "input_audio" (OpenAI, vLLM), "audio_url" (a data: URL, vLLM), or "none" for a text-only
            model. With "none" the model gets the instruction and earlier turns, but nothing of the current
            turn, and is a floor.
        audio_out: request audio.
        voice: the server's name of a voice.
        speaker: the same for a server that reads the parameter `speaker` (vLLM-omni); None leaves it out.
        stream: read the answer in pieces, which measures when the first audio arrives.
        stream_rate: sample rate in Hz of the 16-bit samples of a stream.
        system_prompt: the first message; none by default.
        temperature: 0 by default; None for the server's default.
        max_tokens: limit of the reply; None for the server's default.
        token_parameter: the server's name of that limit.
        modalities: "auto" asks for text, and for audio with `audio_out`; None leaves the parameter out.
        reasoning_effort: such as "low"; None leaves the parameter out.
        stream_usage: ask for the token counts of a stream.
        timeout: seconds per reply.
        calls_at_once: maximum number of requests in flight.
        name: the system's name in tables; by default the model's name.
    """

    def __init__(
        self,
        model: str,
        url: str | None = None,
        audio_in: Literal["input_audio", "audio_url", "none"] = "input_audio",
        audio_out: bool = False,
        voice: str = "alloy",
        stream: bool = False,
        stream_rate: int = 24_000,
        system_prompt: str | None = None,
        temperature: float | None = 0.0,
        max_tokens: int | None = None,
        seed: int | None = None,
        token_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_tokens",
        modalities: Literal["auto"] | None = "auto",
        reasoning_effort: str | None = None,
        stream_usage: bool = True,
        speaker: str | None = None,
        timeout: float = 120.0,
        calls_at_once: int = 4,
        name: str | None = None,
    ) -> None:
        if url is None:
            require_openai_model(model, "--set url=")
        url = (url or OPENAI).rstrip("/").removesuffix("/chat/completions")
        self._server = ServerConnection(url, timeout=timeout, calls_at_once=calls_at_once)
        self.url = self._server.url
        if audio_in not in ("input_audio", "audio_url", "none"):
            raise UsageError(f"audio_in={audio_in!r}: expected input_audio, audio_url or none")
        self.model, self.audio_in, self.audio_out, self.voice = model, audio_in, bool(audio_out), voice
        self.stream, self.stream_rate = bool(stream), int(stream_rate)
        self.system_prompt, self.temperature = system_prompt, temperature
        self.max_tokens, self.seed, self.token_parameter = max_tokens, seed, token_parameter
        self.modalities, self.reasoning_effort = modalities, reasoning_effort
        self.stream_usage, self.speaker = bool(stream_usage), speaker
        self.timeout, self.calls_at_once = self._server.timeout, self._server.calls_at_once
        self.name = name or model.rstrip("/").rpartition("/")[2].replace(":", "-")
        if audio_in == "none":
            self.role = "floor"
        # Another server, or a name without a date, may refer to different weights later.
        self.cached = self.url == OPENAI and is_dated(model)
        self._account: Account | None = None
        self._entry: Mapping[str, Any] | None = None

    def settings(self) -> Mapping[str, Any]:
        """Return all settings that determine the reply, without the key."""
        # Left out at their defaults, so that replies of earlier versions stay valid.
        later = {
            "token_parameter": (self.token_parameter, "max_tokens"),
            "modalities": (self.modalities, "auto"),
            "reasoning_effort": (self.reasoning_effort, None),
            "stream_usage": (self.stream_usage, True),
            "speaker": (self.speaker, None),
        }
        return {
            "model": self.model,
            "url": scrub(self.url),
            "audio_in": self.audio_in,
            "audio_out": self.audio_out,
            "voice": self.voice if self.audio_out else None,
            "stream": self.stream,
            "system_prompt": self.system_prompt,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "seed": self.seed,
            **{name: value for name, (value, default) in later.items() if value != default},
        }

    def fingerprint(self) -> str | None:
        """Return the hash of the server's list entry for the model, or None if there is none.

        The entry holds the name and properties such as a creation time, or the size that llama.cpp reports.
        It does not cover the weights: a hosted model may change behind its name.
        """
        entry = self._entry = self._server.listed_model(self.url, self._headers(), self.model)
        if entry is None:
            return None
        note_listed_shutdown(self.model, entry)
        # Local servers report the time of their start as the time of creation.
        # The date of a shutdown is no property of the weights.
        volatile = {"permission", "shutdown_date"} | (set() if self.url == OPENAI else {"created"})
        return digest("openai-chat", {k: v for k, v in entry.items() if k not in volatile})

    def attach_account(self, account: Account | None) -> None:
        """Count the cost of all further calls in an account; None: do not count it."""
        self._account = account

    @property
    def billed_client(self) -> OpenAIChat:
        """Return the client whose calls may cost money."""
        return self

    @property
    def base_url(self) -> str:
        """Return the base URL of the server."""
        return self.url

    def destinations(self) -> Sequence[Destination]:
        """Return the server."""
        audio = () if self.audio_in == "none" else ("query audio",)
        return [Destination(url=self.url, contents=(*audio, "earlier turns"))]

    def size_of(self, request: Request) -> MessageSize:
        """Return the size of the message for a request."""
        audios = [] if self.audio_in == "none" else [request.audio]
        texts = [self.system_prompt or "", request.instruction or ""]
        for turn in request.history:
            if turn.audio is not None and self._takes_audio(turn):
                audios.append(turn.audio)
            else:
                texts.append(turn.text or "")
        return MessageSize(
            texts=tuple(texts),
            audio_seconds=sum(audio.seconds for audio in audios),
            max_tokens=self.max_tokens,
            spoken_reply=self.audio_out,
        )

    def load(self) -> None:
        """Create the client and a folder for reply audio; connections open when needed."""
        self._headers()
        self._server.load()

    def close(self) -> None:
        """Close connections and delete the received audio."""
        self._server.close()

    def _headers(self) -> dict[str, str]:
        key = api_key()
        if key is None and self.url == OPENAI:
            raise UsageError("no API key: set ECHAT_EVAL_API_KEY or OPENAI_API_KEY, or give --set url=...")
        return {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})

    async def respond(self, request: Request) -> Reply:
        """Send one request.

        Raises:
            NotApplicable: an earlier turn cannot be sent, there is nothing to send, or the server rules this
                kind of request out.
            Unavailable, SystemFailure, UsageError: as `echat_eval.clients.http.raise_for_status`.
        """
        self.load()
        refuse_declared(self._entry, request)
        body = self._body(self._messages(request))
        url, options = endpoint(self.url, "chat/completions"), parameter_options("--set", body)
        size = self.size_of(request)
        async with (
            metered_call(self._account, size.upper_bound()) as call,
            self._server.slot(),
        ):
            begun = time.monotonic()
            async with self._server.post(
                url, headers=self._headers(), content=dumps(body).encode()
            ) as answer:
                if answer.status != 200:
                    if is_refusal(answer.status):
                        call.report_unbilled()
                    raise_for_status(await read_body(answer), url, options=options)
                collected = await collect(
                    answer.chunks,
                    streaming=self.stream,
                    begun=begun,
                    place=without_query(url),
                    options=options,
                )
            call.report_usage(size.used(collected.usage))
        text = scrub(collected.text or collected.transcript or collected.refusal)
        if not text and not collected.pieces and collected.finish_reason in NOTHING_LEFT:
            raise SystemFailure(
                f"the answer has no text and no audio: {NOTHING_LEFT[collected.finish_reason]} "
                f"(finish_reason {collected.finish_reason})"
            )
        return Reply(
            text=text or None,
            audio=self._audio(collected, request),
            think=scrub(collected.think) or None,
            first_audio_seconds=collected.first_audio_seconds,
            finish_reason=collected.finish_reason,
            usage=collected.usage,
        )

    def _body(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.model, "messages": messages, "stream": self.stream}
        if self.modalities is not None:
            body["modalities"] = ["text", "audio"] if self.audio_out else ["text"]
        if self.audio_out:
            body["audio"] = {
                "voice": self.voice,
                "format": "pcm16" if self.stream and self.url == OPENAI else "wav",
            }
        if self.stream and self.stream_usage:
            body["stream_options"] = {"include_usage": True}
        optional = {
            "temperature": self.temperature,
            self.token_parameter: self.max_tokens,
            "seed": self.seed,
            "reasoning_effort": self.reasoning_effort,
            "speaker": self.speaker if self.audio_out else None,
        }
        return body | {name: value for name, value in optional.items() if value is not None}

    def _messages(self, request: Request) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = []
        if self.system_prompt:
            messages.append({"role": "system", "content": self.system_prompt})
        messages += [self._turn(turn) for turn in request.history]
        content = [{"type": "text", "text": request.instruction}] if request.instruction else []
        if self.audio_in != "none":
            content.append(self._part(request.audio))
        if content:
            text_only = self.audio_in == "none"
            messages.append({"role": "user", "content": content[0]["text"] if text_only else content})
        if not messages or messages[-1]["role"] != "user":
            raise NotApplicable("a text-only model (audio_in=none) gets nothing of a turn that is audio")
        return messages

    def _turn(self, turn: Turn) -> dict[str, Any]:
        if turn.audio is not None and self._takes_audio(turn):
            return {"role": "user", "content": [self._part(turn.audio)]}
        if turn.text is None:
            raise NotApplicable(f"an earlier {turn.role} turn has no text, and it cannot be sent as audio")
        return {"role": turn.role, "content": turn.text}

    def _takes_audio(self, turn: Turn) -> bool:
        return turn.role == "user" and turn.audio is not None and self.audio_in != "none"

    def _part(self, audio: AudioRef) -> dict[str, Any]:
        assert self.audio_in != "none"
        return audio_part(audio, self.audio_in, whose="the query", option="set audio_in=audio_url")

    def _audio(self, collected: Collected, request: Request) -> AudioRef | Waveform | None:
        content = collected.audio
        if not content:
            return None
        if content.startswith(b"RIFF") or not self.stream:
            return sound_of(content, self._server.folder, request.id)
        import numpy as np

        if len(content) % 2:
            raise SystemFailure("broken reply audio: a stream of 16-bit samples has an odd number of bytes")
        samples = np.frombuffer(content, dtype="<i2").astype(np.float32) / 32768.0
        return Waveform(samples=samples, sample_rate=self.stream_rate)
