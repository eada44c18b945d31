"""WebSocket /v1/realtime: one session, in the current form of OpenAI's Realtime protocol."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from echat_eval.errors import did_you_mean
from echat_eval.io.jsonl import dumps, loads
from echat_eval.io.schema import shorten
from echat_eval.records import Reply
from echat_eval.serve.answerer import Question
from echat_eval.serve.api_error import ApiError, api_error_of
from echat_eval.serve.realtime_events import ResponseEvents, error_event, item_events, new_id, user_item
from echat_eval.serve.realtime_items import Conversation, Item, read_item
from echat_eval.serve.realtime_settings import SessionSettings, check_response
from echat_eval.serve.service import given_up_error
from echat_eval.serve.sound import SoundStream
from echat_eval.serve.uploads import Uploads, base64_bytes

if TYPE_CHECKING:
    from echat_eval.serve.service import Service

__all__ = ["RealtimeSession"]

logger = logging.getLogger(__name__)

#: Closing codes: the session is over; the server restarts.
_GOING_AWAY, _RESTART = 1001, 1012


class RealtimeSession:
    """One session: a task reads the client's events, and another sends the reply in progress."""

    def __init__(self, service: Service, socket: WebSocket) -> None:
        self.service, self._socket = service, socket
        self.facts, self._limits = service.answerer.facts, service.limits
        self._settings = SessionSettings(self.facts, new_id("sess"), self._limits.session_seconds)
        self._conversation = Conversation(new_id("conv"))
        self._buffer = bytearray()
        self._response: asyncio.Task[None] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._cancelled = False
        self._sending = asyncio.Lock()
        self._handlers: Mapping[str, Callable[[Mapping[str, Any]], Awaitable[None]]] = {
            "session.update": self._update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
            "conversation.item.create": self._create_item,
            "conversation.item.retrieve": self._retrieve_item,
            "conversation.item.delete": self._delete_item,
            "response.create": self._create_response,
            "response.cancel": self._cancel_response,
        }

    async def run(self) -> None:
        """Hold the session until either side ends it; its slot is free again when this returns."""
        offered = self._socket.scope.get("subprotocols", [])
        await self._socket.accept(subprotocol="realtime" if "realtime" in offered else None)
        with Uploads(self._limits) as uploads:
            await self._close(await self._held(uploads))

    async def _held(self, uploads: Uploads) -> int:
        """Hold the session, and return the code that closes it."""
        self._uploads, code = uploads, _GOING_AWAY
        self._reader = asyncio.ensure_future(self._read())
        self.service.on_drain.add(self._end_if_idle)
        try:
            async with asyncio.timeout(self._limits.session_seconds):
                await asyncio.wait({self._reader})
            if self._reader.cancelled():
                code = _RESTART
            else:
                self._reader.result()
        except TimeoutError:
            words = "the session has expired: nothing happened, or it lasted too long; open another"
            await self._tell([error_event(ApiError(408, words, code="session_expired"), None)])
        except WebSocketDisconnect:
            pass
        except asyncio.CancelledError:
            if not self.service.is_given_up:
                raise
            code = _RESTART
        finally:
            self.service.on_drain.discard(self._end_if_idle)
            await self._stop()
        return code

    async def _stop(self) -> None:
        tasks = [task for task in (self._reader, self._response) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _close(self, code: int) -> None:
        if self._socket.application_state is WebSocketState.CONNECTED:
            try:
                await self._socket.close(code)
            except (RuntimeError, WebSocketDisconnect, OSError):
                logger.debug("the client was gone already")

    def _end_if_idle(self) -> None:
        if self._response is None and self._reader is not None:
            self._reader.cancel()

    # -- messages --------------------------------------------------------------------

    async def _read(self) -> None:
        await self._send([{"type": "session.created", "session": self._settings.shown}])
        while True:
            try:
                async with asyncio.timeout(self._limits.idle_seconds):
                    message = await self._socket.receive()
            except TimeoutError:
                if self._response is None:
                    raise
                continue
            if message["type"] == "websocket.disconnect":
                return
            await self._take(message.get("text"))

    async def _take(self, text: str | None) -> None:
        cause: str | None = None
        try:
            event = _object(text)
            cause = event["event_id"][:64] if isinstance(event.get("event_id"), str) else None
            handler = self._handlers.get(str(event.get("type")))
            if handler is None:
                kind = str(event.get("type"))
                hint = did_you_mean(kind, self._handlers)
                raise ApiError(
                    400, f"unknown event {shorten(kind)}.{hint}", param="type", code="unknown_event"
                )
            await handler(event)
        except WebSocketDisconnect:
            raise
        except Exception as error:  # noqa: BLE001  every error becomes an event
            await self._refuse(api_error_of(error), cause)

    async def _send(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Send events: all of them, even if the reply that they belong to is cancelled meanwhile."""
        await asyncio.shield(asyncio.ensure_future(self._send_all(events)))

    async def _send_all(self, events: Iterable[Mapping[str, Any]]) -> None:
        async with self._sending:
            for event in events:
                try:
                    await self._socket.send_text(dumps({"event_id": new_id("event"), **event}))
                except (RuntimeError, OSError) as error:  # the connection is closed already
                    raise WebSocketDisconnect(1006) from error

    async def _tell(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Send last events, to a client that may have left."""
        with contextlib.suppress(WebSocketDisconnect):
            await self._send(events)

    async def _refuse(self, error: ApiError, cause: str | None) -> None:
        await self._send([error_event(error, cause)])

    # -- the client's events -----------------------------------------------------------

    async def _update(self, event: Mapping[str, Any]) -> None:
        self._settings.update(event.get("session"), keeps_rate=bool(self._buffer))
        await self._send([{"type": "session.updated", "session": self._settings.shown}])

    async def _append(self, event: Mapping[str, Any]) -> None:
        if not isinstance(audio := event.get("audio"), str):
            raise ApiError(400, "append needs audio in base64", param="audio")
        piece = base64_bytes(audio, "audio")
        limit = self._limits.audio_seconds
        if len(self._buffer) + len(piece) > 2 * self._settings.input_rate * limit:
            raise ApiError(
                400,
                f"more than {limit:g} s of audio in the buffer; this piece is dropped",
                param="audio",
                code="invalid_audio",
            )
        self._buffer += piece

    async def _commit(self, event: Mapping[str, Any]) -> None:
        if not self._buffer:
            raise ApiError(
                400, "the buffer is empty: append audio first", code="input_audio_buffer_commit_empty"
            )
        content, rate = bytes(self._buffer), self._settings.input_rate
        self._buffer.clear()
        if len(content) % 2:
            raise ApiError(
                400, "an odd number of bytes; expected 16-bit samples", param="audio", code="invalid_audio"
            )
        audio = await self.service.in_thread(lambda: self._uploads.samples(content, rate, "audio"))
        item_id, after = new_id("item"), self._conversation.last_id
        item = Item(id=item_id, role="user", audio=audio, shown=user_item(item_id))
        self._conversation.add(item)
        committed = {"type": "input_audio_buffer.committed", "previous_item_id": after, "item_id": item_id}
        await self._send([committed, *item_events(item.shown, after)])

    async def _clear(self, event: Mapping[str, Any]) -> None:
        self._buffer.clear()
        await self._send([{"type": "input_audio_buffer.cleared"}])

    async def _create_item(self, event: Mapping[str, Any]) -> None:
        given, after = event.get("item"), self._conversation.last_id
        if event.get("previous_item_id") not in (None, after):
            raise ApiError(400, "an item can only be added at the end", param="previous_item_id")
        named = given.get("id") if isinstance(given, dict) else None
        if named is not None and (not isinstance(named, str) or self._conversation.holds(named)):
            raise ApiError(400, f"the name {shorten(named)} is taken or no text", param="item.id")
        item_id, rate = named or new_id("item"), self._settings.input_rate
        item = await self.service.in_thread(lambda: read_item(given, item_id, self._uploads, rate))
        if item.role == "system" and not self.facts.takes_instruction:
            raise ApiError(
                400,
                f"mode {self.facts.mode!r} takes no instruction",
                param="item.role",
                code="unsupported_value",
            )
        self._conversation.add(item)
        await self._send(item_events(item.shown, after))

    async def _retrieve_item(self, event: Mapping[str, Any]) -> None:
        item = self._conversation.named(event.get("item_id"))
        await self._send([{"type": "conversation.item.retrieved", "item": item.shown}])

    async def _delete_item(self, event: Mapping[str, Any]) -> None:
        item = self._conversation.remove(event.get("item_id"))
        await self._send([{"type": "conversation.item.deleted", "item_id": item.id}])

    # -- replies -----------------------------------------------------------------------

    async def _create_response(self, event: Mapping[str, Any]) -> None:
        options = event.get("response") or {}
        if not isinstance(options, dict):
            raise ApiError(400, "'response' must be an object", param="response")
        check_response(options, self.facts)
        self.service.check_open()
        if self._response is not None:
            raise ApiError(
                400,
                "a reply is in progress: wait for response.done, or send response.cancel",
                code="conversation_already_has_active_response",
            )
        (modality,) = options.get("output_modalities") or self._settings.modalities
        limit = options.get("max_output_tokens") or self._settings.max_tokens
        instructions = options.get("instructions") or self._settings.instructions
        kept = options.get("conversation") != "none"
        events = ResponseEvents(
            modality,
            conversation=self._conversation.name if kept else None,
            metadata=options.get("metadata"),
            after=self._conversation.last_id,
        )
        question = Question(
            request=self._conversation.request(events.id, (instructions or "").strip() or None),
            spoken=modality == "audio",
            streamed=True,
            max_tokens=None if limit == "inf" else limit,
        )
        self._cancelled = False
        cause = event["event_id"] if isinstance(event.get("event_id"), str) else None
        self._response = asyncio.ensure_future(self._respond(question, events, kept=kept, cause=cause))
        # Its first step: a task that is cancelled before it never runs, and could not say that it ended.
        await asyncio.sleep(0)

    async def _cancel_response(self, event: Mapping[str, Any]) -> None:
        if self._response is None:
            raise ApiError(400, "no reply is in progress", code="response_cancel_not_active")
        self._cancelled = True
        self._response.cancel()

    async def _respond(
        self, question: Question, events: ResponseEvents, *, kept: bool, cause: str | None
    ) -> None:
        """Send one reply, whatever becomes of it."""
        accepted = False
        item = Item(id=events.item_id, role="assistant", text="", shown=events.item("in_progress"))
        try:
            async with asyncio.timeout(self._limits.reply_seconds), self.service.ask(question) as held:
                accepted = True
                if kept:
                    self._conversation.add(item)
                await self._send(events.begin())
                rate = self.facts.sample_rate if question.spoken else self._settings.output_rate
                voice = SoundStream(rate, "pcm16", self._settings.output_rate)
                async for piece in held.pieces():
                    if isinstance(piece, Reply):
                        await self._send([*_sound(events, voice.end()), *events.end(piece)])
                        continue
                    samples = piece.samples if question.spoken else None
                    sound = () if samples is None else _sound(events, voice.push(samples))
                    await self._send([*([events.words(piece.text)] if piece.text else []), *sound])
        except asyncio.CancelledError:
            if not self._cancelled and not self.service.is_given_up:
                raise
            if self._cancelled:
                await self._tell(events.cancelled("client_cancelled"))
            else:
                await self._tell(events.failure(given_up_error(), cause))
        except WebSocketDisconnect:
            return
        except Exception as error:  # noqa: BLE001  every error becomes an event
            self.service.note_failure(error)
            shown = api_error_of(error, decoding=accepted)
            if accepted and kept:
                self._conversation.remove(item.id)
            await self._tell(events.failure(shown, cause))
        finally:
            item.text, item.shown = events.said, events.item("incomplete" if self._cancelled else "completed")
            self._response = None
            if self.service.draining:
                self._end_if_idle()


def _sound(events: ResponseEvents, content: bytes) -> list[Mapping[str, Any]]:
    return [events.sound(base64.b64encode(content).decode())] if content else []


def _object(text: str | None) -> Mapping[str, Any]:
    if text is None:
        raise ApiError(400, "a binary message; expected JSON as text", code="invalid_json")
    try:
        event = loads(text)
    except ValueError as error:
        raise ApiError(400, f"the message is not strict JSON: {error}"[:300], code="invalid_json") from error
    if not isinstance(event, dict):
        raise ApiError(
            400, f"the message is a {type(event).__name__}; expected an object", code="invalid_json"
        )
    return event
