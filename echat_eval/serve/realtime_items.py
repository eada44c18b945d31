"""The conversation of a live session: its turns, as the model reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from echat_eval.io.schema import shorten
from echat_eval.records import Request, Turn
from echat_eval.serve.api_error import ApiError
from echat_eval.serve.uploads import base64_bytes

if TYPE_CHECKING:
    from echat_eval.records import AudioRef
    from echat_eval.serve.uploads import Uploads

__all__ = ["Conversation", "Item", "read_item"]

#: Items that are kept; the model reads the last five exchanges.
_MAX_ITEMS = 24
#: Characters of one text.
_MAX_TEXT = 20_000


@dataclass(slots=True, kw_only=True, eq=False)
class Item:
    """One item.

    Attributes:
        role: "user", "assistant" or "system".
        shown: as events state it; audio is not repeated.
    """

    id: str
    role: str
    text: str | None = None
    audio: AudioRef | None = None
    shown: Mapping[str, Any]


class Conversation:
    """The items of a session, the oldest of which are forgotten."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._items: list[Item] = []

    @property
    def last_id(self) -> str | None:
        """Return the name of the last item."""
        return self._items[-1].id if self._items else None

    def add(self, item: Item) -> None:
        """Append an item."""
        self._items.append(item)
        while len(self._items) > _MAX_ITEMS:
            self._forget(self._items.pop(0))

    def remove(self, name: object) -> Item:
        """Remove an item.

        Raises:
            ApiError: there is none of this name.
        """
        item = self.named(name)
        self._items.remove(item)
        self._forget(item)
        return item

    def named(self, name: object) -> Item:
        """Return an item.

        Raises:
            ApiError: there is none of this name.
        """
        for item in self._items:
            if item.id == name:
                return item
        raise ApiError(400, f"no item {shorten(name)}", param="item_id", code="item_not_found")

    def holds(self, name: object) -> bool:
        """Return whether there is an item of this name."""
        return any(item.id == name for item in self._items)

    def request(self, name: str, instructions: str | None) -> Request:
        """Return the request for a reply to the last turn.

        Raises:
            ApiError: the last turn is not the user's, or not spoken.
        """
        turns = [item for item in self._items if item.role != "system"]
        last = turns.pop() if turns else None
        if last is None or last.role != "user" or last.audio is None:
            raise ApiError(
                400,
                "nothing to reply to: the last turn must be the user's voice; send input_audio_buffer.append "
                "and commit first",
                code="no_user_audio",
            )
        first = next((n for n, item in enumerate(turns) if item.role == "user"), len(turns))
        history = [
            Turn(role="user" if item.role == "user" else "assistant", text=item.text, audio=item.audio)
            for item in turns[first:]
        ]
        system = [item.text for item in self._items if item.role == "system"]
        instruction = "\n\n".join(filter(None, [instructions, *system, last.text]))
        return Request(
            id=name,
            audio=last.audio,
            language="und",
            history=tuple(history),
            instruction=instruction or None,
        )

    @staticmethod
    def _forget(item: Item) -> None:
        if item.audio is not None:
            item.audio.path.unlink(missing_ok=True)


def read_item(item: object, item_id: str, uploads: Uploads, rate: int) -> Item:
    """Return the item of `conversation.item.create`, with its audio stored.

    Raises:
        ApiError: it is no message, or its audio is unusable.
    """
    if not isinstance(item, dict) or item.get("type") != "message":
        raise ApiError(400, "an item must be an object of type message", param="item.type")
    role, content = item.get("role"), item.get("content")
    if role not in ("user", "assistant", "system"):
        raise ApiError(
            400, f"'role' is {shorten(role)}; expected user, assistant or system", param="item.role"
        )
    if not isinstance(content, list) or not content:
        raise ApiError(400, "the content is empty; expected a list of parts", param="item.content")
    texts: list[str] = []
    audio: AudioRef | None = None
    for number, part in enumerate(content):
        param = f"item.content[{number}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if role == "user" and kind == "input_audio" and isinstance(part.get("audio"), str) and audio is None:
            audio = uploads.samples(base64_bytes(part["audio"], param), rate, param)
        elif text := _text_of(part, kind, role):
            texts.append(text)
        else:
            raise ApiError(400, f"a part of kind {shorten(kind)} in a message of the {role}", param=param)
    parts = [{name: value for name, value in part.items() if name != "audio"} for part in content]
    shown = {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "status": "completed",
        "role": role,
        "content": parts,
    }
    return Item(id=item_id, role=role, text="\n\n".join(texts) or None, audio=audio, shown=shown)


def _text_of(part: Mapping[str, Any], kind: object, role: str) -> str:
    kinds = ("output_text", "text", "output_audio") if role == "assistant" else ("input_text", "text")
    if kind not in kinds:
        return ""
    text = part.get("transcript" if kind == "output_audio" else "text")
    return text if isinstance(text, str) and len(text) <= _MAX_TEXT else ""
