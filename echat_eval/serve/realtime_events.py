"""The events that a live server sends, in the current form of OpenAI's Realtime protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from echat_eval.serve.usage import realtime_usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from echat_eval.records import Reply
    from echat_eval.serve.api_error import ApiError

__all__ = ["Event", "ResponseEvents", "error_event", "item_events", "new_id", "user_item"]

Event = dict[str, Any]
_NAMES = {"audio": "response.output_audio_transcript", "text": "response.output_text"}


def new_id(prefix: str) -> str:
    """Return a new name."""
    return f"{prefix}_{uuid4().hex[:24]}"


def error_event(error: ApiError, cause: str | None) -> Event:
    """Return `error`.

    Args:
        cause: name of the client's event.
    """
    return {"type": "error", "error": {**error.body, "event_id": cause}}


def user_item(item_id: str) -> Event:
    """Return the item of a recording; its audio is not repeated."""
    content = [{"type": "input_audio", "transcript": None}]
    return _item(item_id, "user", content, "completed")


def item_events(item: Mapping[str, Any], after: str | None) -> list[Event]:
    """Return the events of a new item of the conversation."""
    return [
        {"type": "conversation.item.added", "previous_item_id": after, "item": item},
        {"type": "conversation.item.done", "previous_item_id": after, "item": item},
    ]


def _done(response: Event) -> Event:
    return {"type": "response.done", "response": response}


def _item(item_id: str, role: str, content: list[dict[str, Any]], status: str) -> Event:
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "status": status,
        "role": role,
        "content": content,
    }


class ResponseEvents:
    """The events of one reply.

    Args:
        modality: "audio" or "text".
        conversation: name of the conversation; None outside it.
        metadata: the client's.
        after: the item before the reply.
    """

    def __init__(
        self, modality: str, *, conversation: str | None, metadata: object, after: str | None
    ) -> None:
        self.id, self.item_id = new_id("resp"), new_id("item")
        self._modality, self._conversation, self._metadata = modality, conversation, metadata
        self._after, self._words = after, ""
        self._is_begun = self._is_ended = False
        self._place = {
            "response_id": self.id,
            "item_id": self.item_id,
            "output_index": 0,
            "content_index": 0,
        }

    def begin(self) -> list[Event]:
        """Return the events that announce it."""
        self._is_begun = True
        item = _item(self.item_id, "assistant", [], "in_progress")
        begun = [
            {"type": "response.created", "response": self._response("in_progress", [])},
            {"type": "response.output_item.added", **self._outer(), "item": item},
        ]
        if self._conversation is not None:
            begun.append({"type": "conversation.item.added", "previous_item_id": self._after, "item": item})
        return [*begun, {"type": "response.content_part.added", **self._place, "part": self._part("")}]

    def words(self, text: str) -> Event:
        """Return a piece of the words."""
        self._words += text
        return {"type": f"{_NAMES[self._modality]}.delta", **self._place, "delta": text}

    def sound(self, data: str) -> Event:
        """Return a piece of the voice."""
        return {"type": "response.output_audio.delta", **self._place, "delta": data}

    def end(self, reply: Reply) -> list[Event]:
        """Return the events of its end."""
        status = "incomplete" if reply.finish_reason == "length" else "completed"
        item = self._whole_item(reply.text or "", status)
        details = {"type": "incomplete", "reason": "max_output_tokens"} if status == "incomplete" else None
        response = self._response(status, [item], details) | {"usage": realtime_usage(reply)}
        extras = {
            "think": reply.think,
            "perceived": dict(reply.perceived) or None,
            "reply_emotion": reply.reply_emotion,
        }
        response |= {name: value for name, value in extras.items() if value is not None}
        return self._ended([*self._item_end(reply.text or "", item), _done(response)])

    def cancelled(self, reason: str) -> list[Event]:
        """Return the end of a reply that was given up; nothing if its end was sent."""
        details = {"type": "cancelled", "reason": reason}
        if not self._is_begun:
            created = {"type": "response.created", "response": self._response("in_progress", [])}
            return self._ended([created, _done(self._response("cancelled", [], details))])
        item = self._whole_item(self._words, "incomplete")
        done = _done(self._response("cancelled", [item], details))
        return self._ended([*self._item_end(self._words, item), done])

    def _item_end(self, words: str, item: Event) -> list[Event]:
        """Return the events that end its only item."""
        word_end = {"transcript": words} if self._modality == "audio" else {"text": words}
        events: list[Event] = []
        if self._modality == "audio":
            events.append({"type": "response.output_audio.done", **self._place})
        events += [
            {"type": f"{_NAMES[self._modality]}.done", **self._place, **word_end},
            {"type": "response.content_part.done", **self._place, "part": self._part(words)},
            {"type": "response.output_item.done", **self._outer(), "item": item},
        ]
        if self._conversation is not None:
            events.append({"type": "conversation.item.done", "previous_item_id": self._after, "item": item})
        return events

    def _ended(self, events: list[Event]) -> list[Event]:
        """Return the events of its end the first time, and nothing afterwards."""
        events, self._is_ended = [] if self._is_ended else events, True
        return events

    def failure(self, error: ApiError, cause: str | None) -> list[Event]:
        """Return the end of a reply that failed: an error if it had not begun.

        Args:
            cause: name of the client's event.
        """
        if not self._is_begun:
            return self._ended([error_event(error, cause)])
        shown = {"type": error.type, "code": error.code, "message": error.message}
        details = {"type": "failed", "error": shown}
        return self._ended([_done(self._response("failed", [], details))])

    def item(self, status: str) -> Event:
        """Return its item, with the words so far."""
        return self._whole_item(self._words, status)

    @property
    def said(self) -> str:
        """Return the words so far."""
        return self._words

    def _outer(self) -> Event:
        return {"response_id": self.id, "output_index": 0}

    def _part(self, words: str) -> Event:
        if self._modality == "audio":
            return {"type": "audio", "transcript": words}
        return {"type": "text", "text": words}

    def _whole_item(self, words: str, status: str) -> Event:
        part = (
            {"type": "output_audio", "transcript": words}
            if self._modality == "audio"
            else {"type": "output_text", "text": words}
        )
        return _item(self.item_id, "assistant", [part], status)

    def _response(self, status: str, output: list[Event], details: Event | None = None) -> Event:
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": details,
            "output": output,
            "conversation_id": self._conversation,
            "output_modalities": [self._modality],
            "metadata": self._metadata,
            "usage": None,
        }
