"""Identity of a rated reply: ratings hold for its words and its voice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.io.hashing import digest
from echat_eval.records import AudioRef

if TYPE_CHECKING:
    from echat_eval.records import Response

__all__ = ["reply_sha256"]


def reply_sha256(response: Response) -> str | None:
    """Return the hash of the words and the voice of a reply; None without a reply."""
    if response.reply is None:
        return None
    audio = response.reply.audio
    return digest("rated reply", [response.reply.text, audio.sha256 if isinstance(audio, AudioRef) else None])
