"""POST /v1/chat/completions: a whole reply, or a stream of server-sent events."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from echat_eval.io.jsonl import dumps
from echat_eval.records import Reply, Waveform
from echat_eval.serve.api_error import ApiError, api_error_of
from echat_eval.serve.chat_request import ChatRequest, read_body, read_chat
from echat_eval.serve.http_body import read_content, unless_gone
from echat_eval.serve.service import given_up_error
from echat_eval.serve.sound import SoundStream, encoded
from echat_eval.serve.uploads import Uploads
from echat_eval.serve.usage import chat_usage

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from echat_eval.serve.exchange import Exchange
    from echat_eval.serve.service import Service

__all__ = ["ChatEndpoint", "error_response"]

logger = logging.getLogger(__name__)

#: Seconds for the error that a client gets when the server gives its reply up.
_LAST_SECONDS = 1.0
_STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


def error_response(error: ApiError) -> JSONResponse:
    """Return an error in OpenAI's form."""
    return JSONResponse({"error": error.body}, status_code=error.status, headers=error.headers)


class ChatEndpoint:
    """The endpoint, as an ASGI application."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; its slot is free again when this returns, whatever happens."""
        request, exchange = Request(scope, receive), _ChatExchange(self.service, send)
        try:
            with self.service.admitted():
                await exchange.answer(request)
        except ClientDisconnect:
            logger.info("a client left before its reply was whole")
        except asyncio.CancelledError:
            if not self.service.is_given_up:
                raise
            with contextlib.suppress(TimeoutError):  # a client that does not read is not waited for
                async with asyncio.timeout(_LAST_SECONDS):
                    await exchange.fail(given_up_error(), scope, receive)
        except Exception as error:  # noqa: BLE001  every error becomes an answer
            self.service.note_failure(error)
            await exchange.fail(api_error_of(error, decoding=exchange.is_asked), scope, receive)


class _ChatExchange:
    """One request.

    Attributes:
        is_asked: the model has accepted the question.
    """

    def __init__(self, service: Service, send: Send) -> None:
        self.service, self._send = service, send
        self.facts = service.answerer.facts
        self.id, self.created = f"chatcmpl-{uuid4().hex}", int(time.time())
        self.is_asked = self._is_streaming = False

    async def answer(self, request: Request) -> None:
        content = await read_content(request, self.service.limits)
        with Uploads(self.service.limits) as uploads:

            def read() -> ChatRequest:
                return read_chat(read_body(content), self.facts, uploads, self.id)

            chat = await self.service.in_thread(read)
            await unless_gone(request.receive, self._ask(chat, request))

    async def _ask(self, chat: ChatRequest, request: Request) -> None:
        async with (
            asyncio.timeout(self.service.limits.reply_seconds),
            self.service.ask(chat.question) as held,
        ):
            self.is_asked = True
            if chat.stream:
                await self._stream(held, chat)
                return
            async for piece in held.pieces():
                if isinstance(piece, Reply):
                    reply = piece
            response = JSONResponse(await self.service.in_thread(lambda: self._whole(reply, chat)))
            await response(request.scope, request.receive, self._send)

    async def fail(self, error: ApiError, scope: Scope, receive: Receive) -> None:
        """Send an error: as a status, or as an event in a stream that has begun."""
        if self._is_streaming:
            await self._event({"error": error.body}, more=False)
        else:
            await error_response(error)(scope, receive, self._send)

    # -- a whole reply ---------------------------------------------------------------

    def _whole(self, reply: Reply, chat: ChatRequest) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": reply.text, "refusal": None}
        if chat.form is not None and isinstance(reply.audio, Waveform):
            message["content"] = None
            message["audio"] = {
                "id": f"audio-{self.id}",
                "data": base64.b64encode(encoded(reply.audio, chat.form)).decode(),
                "expires_at": self.created,
                "transcript": reply.text or "",
            }
        if reply.think is not None:
            message["reasoning_content"] = reply.think
        choice = {
            "index": 0,
            "message": message | _extras(reply),
            "finish_reason": reply.finish_reason,
            "logprobs": None,
        }
        return self._object("chat.completion", [choice]) | {"usage": chat_usage(reply)}

    def _object(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.facts.name,
            "system_fingerprint": self.facts.fingerprint,
            "choices": choices,
        }

    # -- a stream --------------------------------------------------------------------

    async def _stream(self, held: Exchange, chat: ChatRequest) -> None:
        voice = None if chat.form is None else SoundStream(self.facts.sample_rate, chat.form)
        await self._send({"type": "http.response.start", "status": 200, "headers": _STREAM_HEADERS})
        self._is_streaming = True
        await self._delta({"role": "assistant", "content": ""})
        async for piece in held.pieces():
            if isinstance(piece, Reply):
                await self._sound(b"" if voice is None else voice.end())
                await self._delta(_extras(piece), piece.finish_reason or "stop")
                if chat.stream_usage:
                    await self._event(
                        self._object("chat.completion.chunk", []) | {"usage": chat_usage(piece)}
                    )
                continue
            if piece.think:
                await self._delta({"reasoning_content": piece.think})
            if piece.text:
                spoken = {"audio": {"id": f"audio-{self.id}", "transcript": piece.text}}
                await self._delta({"content": piece.text} if voice is None else spoken)
            if piece.samples is not None and voice is not None:
                await self._sound(voice.push(piece.samples))
        await self._send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    async def _sound(self, content: bytes) -> None:
        if content:
            data = base64.b64encode(content).decode()
            await self._delta({"audio": {"id": f"audio-{self.id}", "data": data}})

    async def _delta(self, delta: dict[str, Any], finish_reason: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        await self._event(self._object("chat.completion.chunk", [choice]))

    async def _event(self, value: dict[str, Any], *, more: bool = True) -> None:
        content = f"data: {dumps(value)}\n\n".encode()
        await self._send({"type": "http.response.body", "body": content, "more_body": more})


def _extras(reply: Reply) -> dict[str, Any]:
    """Return what OpenAI's form has no place for: the cues that the model claims to perceive."""
    extras: dict[str, Any] = {}
    if reply.perceived:
        extras["perceived"] = dict(reply.perceived)
    if reply.reply_emotion is not None:
        extras["reply_emotion"] = reply.reply_emotion
    return extras
